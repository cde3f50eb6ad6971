"""The kinds of durable things, by the places where they are kept. The tests have these spellings of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping

JOBS_ITEMS = {
    "run": r"JOB#[^#]+ RUN#\d{4}",
    "live_progress": r"JOB#[^#]+ RUN#\d{4}#LIVE#\d{8}",
    "ended_chunks": r"JOB#[^#]+ RUN#\d{4}#ENDED#\d{6}",
    "gate": r"JOB#[^#]+ RUN#\d{4}#GATE#\d{2}",
    "drained_chunk": r"JOB#[^#]+ RUN#\d{4}#DRAINED#\d{8}",
    "run_window": r"JOB#[^#]+ RUN#\d{4}#WINDOW",
    "queued_run": r"QUEUED (FEW|MANY)#.+",
    "first_drop": r"DUPLICATE#.+#[0-9a-f]{64} FIRST",
    "pause": r"SWITCH PAUSED#.+",
    "claim": r"UNIT#.+ CLAIM",
    "intents": r"UNIT#.+ INTENTS#\d{6}#\d{8}",
    "budget": r"BUDGET#.+ STATE",
    "limit_group": r"LIMIT#.+ STATE",
    "seal_key": r"SEAL COPIES",
}
CHARGES_ITEMS = {
    "narrowing": r"(JOB#[^#]+|REQUESTS#[^#]+#[^#]+) NARROWING#.+",
    "job_charge": r"JOB#[^#]+ \d+\.\d+#\d{6}#.+",
    "request_charge": r"REQUESTS#[^#]+#\d{4}-\d\d-\d\d [0-9a-f]{64}#\d{6}#.+",
    "day_total": r"DAY#\d{4}-\d\d-\d\d .+#.+#.+#\d",
}
OBJECTS = {
    "dropped_file": r"inbox/.+",
    "request_body": r"requests/.+",
    "limits": r"recipes/_limits\.yaml",
    "recipe": r"recipes/.+\.yaml",
    "manifest": r"work/[^/]+/\d{4}/manifest\.json",
    "ranges": r"work/[^/]+/ranges/[^/]+/\d{6}",
    "staged_file": r"work/[^/]+/staged\.\w+",
    "chunk_result": r"work/[^/]+/\d{4}/chunks/\d{8}",
    "chunk_journal": r"work/[^/]+/\d{4}/journals/\d{8}/\d{6}/\d{6}",
    "request_journal": r"work/requests/[^/]+/[0-9a-f]{2}/[0-9a-f]{64}/\d{6}/\d{6}",
    "segment_totals": r"work/[^/]+/\d{4}/joined/\d+/totals/\d{6}",
    "segment_part": r"work/[^/]+/\d{4}/joined/\d+/(results|errors|attempts)/\d{6}",
    "answer": r"answers/[^/]+/[0-9a-f]{2}/[0-9a-f]{64}\.json",
    "status": r"results/.+/status\.json",
    "summary": r"results/.+/summary\.json",
    "report": r"results/.+/report\.html",
    "attempts": r"results/.+/attempts\.jsonl",
    "errors": r"results/.+/errors\.\w+",
    "results": r"results/.+/results\.\w+",
}
MESSAGES = {
    "plan_message": "uploads",
    "chunk_message": "chunks",
    "finish_message": "finish",
    "request_message": "requests",
    "reply": "replies",
}
TABLES = {"jobs": JOBS_ITEMS, "charges": CHARGES_ITEMS}
UNKNOWN = "unknown"


def kind_at(place: str, patterns: Mapping[str, str]) -> str:
    """Return the kind of what is kept at a place; ``UNKNOWN`` means that a key is spelt as no sample is."""
    return next((kind for kind, pattern in patterns.items() if re.fullmatch(pattern, place)), UNKNOWN)


def unit_of(kind: str, place: str) -> str:
    """Return the unit that an item or object belongs to, "" if it belongs to none."""
    parts = place.split("/")
    match kind:
        case "claim" | "intents":
            return place.removeprefix("UNIT#").partition(" ")[0]
        case "chunk_journal":
            return f"{parts[1]}.{int(parts[2])}.{int(parts[4])}"
        case "chunk_result":
            return f"{parts[1]}.{int(parts[2])}.{int(parts[4])}"
        case "request_journal":
            return f"request.{parts[2]}.{parts[4]}"
        case "answer":
            return f"request.{parts[1]}.{parts[3].removesuffix('.json')}"
        case _:
            return ""
