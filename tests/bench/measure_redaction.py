"""Runs the redaction engine over labelled texts: ``python tests/bench/measure_redaction.py GOLD_DIRECTORY OUT_DIRECTORY``.

GOLD holds ``*.jsonl`` (or ``.jsonl.gz``) of ``{"id", "text"}``; OUT gets ``{"id", "spans"}`` for a scorer, and the
speed on one core (CPU time) is printed, start-up apart.
"""

from __future__ import annotations

import gzip
import sys
import time
from pathlib import Path

import msgspec

from promptmill.domain.redaction.spans import Span
from promptmill.domain.redaction.structured import StructuredEngine

_SCORED_AS = {"us_ssn": "US_SSN", "card": "CREDIT_CARD", "url_credentials": "SECRET", "api_key": "SECRET"}


class Labelled(msgspec.Struct):
    id: str
    text: str


def main(gold: Path, out: Path) -> None:
    engine = StructuredEngine()
    started = time.process_time()
    engine.find("start-up: a@example.com 10.0.0.1")
    sys.stdout.write(f"first text: {(time.process_time() - started) * 1000:.0f} ms\n")
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(gold.glob("*.jsonl*")):
        _measure(engine, path, out / path.name.removesuffix(".gz"))


def _measure(engine: StructuredEngine, path: Path, out: Path) -> None:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    records = [msgspec.json.decode(line, type=Labelled) for line in raw.splitlines()]
    started = time.process_time()
    found = [engine.find(record.text) for record in records]
    seconds = time.process_time() - started
    size = sum(len(record.text.encode()) for record in records)
    sys.stdout.write(f"{path.name}: {len(records)} texts, {size / 1e6 / seconds:.1f} MB/s\n")
    out.write_bytes(b"".join(map(_line, records, found)))


def _line(record: Labelled, spans: list[Span]) -> bytes:
    scored = [{"start": s.start, "end": s.end, "type": _SCORED_AS.get(s.type, s.type.upper())} for s in spans]
    return msgspec.json.encode({"id": record.id, "spans": scored}) + b"\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
