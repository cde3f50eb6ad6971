"""Today's code spells what it stores as the samples do: keys, names of fields, and words such as ``RUNNING``."""

from __future__ import annotations

import pytest

from tests.durable.kinds import CHARGES_ITEMS, JOBS_ITEMS, MESSAGES, OBJECTS
from tests.durable.samples import all_samples
from tests.durable.spellings import Spellings, spellings_of
from tests.durable.state import State

ADDED: set[str] = {
    "seal_key.key.S: text",
    "seal_key.pk.S: SEAL",
    "seal_key.sk.S: COPIES",
    *(f"request_message.attributes.promptmill_{n}.DataType: text" for n in ("seal", "sender", "since")),
    *(f"request_message.attributes.promptmill_{n}.StringValue: text" for n in ("seal", "sender", "since")),
    "claim.held.S: text",
    "claim.lines.L",
    "claim.lines.L[].S: text",
    "intents.models.L[].S: text",
    *(f"{message}.json.v" for message in ("chunk_message", "finish_message", "plan_message")),
    "manifest.json.v",
    "manifest.json.answers_kept",
    "run.answers_kept.N: text",
    "status.indented.answers_kept",
    "status.indented.notes",
    "manifest.json.recipe.unknown_fields: text",
    "manifest.json.recipe.overflow: yes or no",
    "manifest.json.recipe.lane: text",
    "manifest.json.recipe.deadline_h",
    "drained_chunk.pk.S: JOB#<job>",
    "drained_chunk.sk.S: RUN#9999#DRAINED#99999999",
    "drained_chunk.ttl.N: text",
    *(f"queued_run.{name}.N: text" for name in ("chunk", "run", "ttl")),
    *(f"queued_run.{name}.S: text" for name in ("job_id", "since")),
    "queued_run.is_small.BOOL: yes or no",
    "queued_run.pk.S: QUEUED",
    "queued_run.sk.S: FEW#9999-99-99T99:99:99.999Z#<job>#9999",
    "run.planners.N: text",
    "run.planning.SS[]: text",
    "run.swept_at.S: text",
    "run_window.taker9.S: text",
    "run_window.taker99.S: text",
    *(
        f"{journal}_journal.packed[1][].usage.{name}"
        for journal in ("chunk", "request")
        for name in ("hosted", "input_audio", "output_audio", "output_image", "place: text")
    ),
    *(f"{journal}_journal.packed[3][][{place}" for journal in ("chunk", "request") for place in ("10]", "11]: text")),
    *(f"chunk_result.sections.index[][0][{place}" for place in ("10]", "11]: text")),
    *(
        f"chunk_result.sections.header.figures.failed.{code}.{name}"
        for code in ("cancelled", "content_filter")
        for name in ("examples[].id: text", "examples[].line", "kind: text")
    ),
    *(
        f"{place}.figures.{name}"
        for place in ("chunk_result.sections.header", "segment_totals.json.totals")
        for name in (
            *(f"latencies.openai/gpt-9-{model}.bins[][{n}]" for model in ("luna", "sol") for n in (0, 1)),
            *(f"timeline.{name}[][{n}]" for name in ("answers", "nano_usd") for n in (0, 1)),
            "timeline.step_s",
        )
    ),
    *(
        f"segment_totals.json.totals.routes.openai/gpt-9-luna.{name}"
        for name in ("cache_read_tokens", "high_nano_usd", "input_tokens", "output_tokens", "unbounded")
    ),
    "report.content_type: text",
    "report.key: results/<file>/<job>/report.html",
    "report.key: results/<file>/<job>/run-9/report.html",
    "report.lines[]: text",
    "run.files.M.report.S: text",
    "status.indented.files.report: text",
    "summary.indented.files.report: text",
    *(f"{item}.v.N: text" for item in ("claim", "job_charge", "narrowing", "request_charge", "run")),
}
"""Names that later code stores as well, as ``test_no_name_is_new`` prints them. Code that reads one must do without it,
since jobs under way do not have it."""

LATER_KINDS = {"drained_chunk", "queued_run", "report", "seal_key"}
"""Kinds of items and files that the code of the samples did not write yet."""


@pytest.fixture(scope="module")
def today(rewritten: list[State]) -> Spellings:
    return spellings_of(*rewritten)


@pytest.fixture(scope="module")
def before() -> Spellings:
    return spellings_of(*all_samples().values())


def test_there_is_a_sample_of_every_kind() -> None:
    found = {kind for state in all_samples().values() for kind in state}
    assert found == {*JOBS_ITEMS, *CHARGES_ITEMS, *OBJECTS, *MESSAGES, "event"} - LATER_KINDS


def test_every_name_is_still_stored(today: Spellings, before: Spellings) -> None:
    assert sorted(before.names - today.names) == []


def test_no_name_is_new(today: Spellings, before: Spellings) -> None:
    assert sorted(today.names - before.names - ADDED) == []


def test_every_word_is_still_stored(today: Spellings, before: Spellings) -> None:
    """New words are allowed: no job that older code began holds them."""
    assert sorted(before.words - today.words) == []
