"""What batch services take: the document says it as the table does, and a live call imports none of it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from promptmill.domain.errors import RecordError
from promptmill.ports.batch_service import RefusalKind
from promptmill.wire.batches.terms import MB, TERMS, BatchTerms, refuse_unbatchable

DOCUMENT = Path(__file__).parents[2] / "docs" / "batch-services.md"
PROOFS = {"label": "its label", "upload": "its upload", "none": "its results only"}


def row(terms: BatchTerms) -> list[str]:
    hours = {terms.min_window_h, terms.max_window_h}
    return [
        terms.label,
        f"{terms.max_lines:,}",
        f"{terms.max_bytes // MB:,}",
        str(terms.min_lines),
        " to ".join(map(str, sorted(hours))),
        PROOFS[terms.proof],
        terms.not_batched,
    ]


def test_the_document_has_a_row_for_each_service() -> None:
    rows = re.findall(r"^\| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)[1:]
    cells = [re.split(r" \| ", each) for each in rows]

    assert [[first, *rest] for first, _provider, *rest in cells] == [row(terms) for terms in TERMS.values()]


def test_the_document_names_each_kind_of_refusal() -> None:
    text = DOCUMENT.read_text()
    assert [kind for kind in get_args(RefusalKind) if f"`{kind}`" not in text] == []


def test_a_field_for_live_calls_only_is_refused_unless_it_asks_for_nothing() -> None:
    terms = TERMS["openai"]
    for nothing in (None, False, list[str](), dict[str, str]()):
        refuse_unbatchable({"stream": nothing, "model": "m"}, terms)
    with pytest.raises(RecordError) as caught:
        refuse_unbatchable({"stream": True}, terms)
    assert (caught.value.code, caught.value.field) == ("unsupported_field", "stream")


def test_the_window_is_as_near_as_the_service_allows() -> None:
    assert [TERMS["openai"].window_h(hours) for hours in (1, 24, 72)] == [24, 24, 24]


LIVE = """
import sys
import msgspec
import promptmill.wiring, promptmill.calls.call_routes, promptmill.jobs.run_chunk
from promptmill.domain.recipe import Route
from promptmill.providers.registry import HttpModelProviders
from promptmill.settings import Settings
from promptmill.system_clock import SystemClock
names = {field.name: field.name for field in msgspec.structs.fields(Settings) if field.required}
settings = msgspec.convert({**names, "stage": "dev", "region": "eu-west-1"}, Settings)
providers = HttpModelProviders(settings=settings, secrets=None, clock=SystemClock(), make_aws_session=None)
for name in ("openai", "anthropic", "bedrock", "vertex", "gemini"):
    providers.provider_for(Route("r", name, "m"))
print(sorted(name for name in sys.modules if name.startswith("promptmill.") and ("batches" in name or "batch_service" in name)))
"""


def test_a_live_call_imports_nothing_of_batches() -> None:
    run = subprocess.run([sys.executable, "-c", LIVE], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
