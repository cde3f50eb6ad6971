"""A chunk's result: read as it was written, and the same bytes whoever writes it."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.record import LOST, RecordResult
from promptmill.domain.units import Intent, IntentGroup
from promptmill.engine import journal
from promptmill.engine.history import History, fold_history
from promptmill.engine.journal import Page
from promptmill.jobs import chunk_result
from tests.fakes.recipes import ROUTE
from tests.unit.engine.parts import DAY, UNIT, attempt, result

RESULTS = st.lists(
    st.builds(
        RecordResult,
        record=st.integers(0, 2**40),
        line=st.binary(max_size=20),
        error=st.binary(max_size=20),
        kind=st.sampled_from(["answered", "record", "provider", "stopped", "worker"]),
        code=st.sampled_from(["", "invalid_json"]),
        asked=st.text(max_size=5),
        answered_by=st.text(max_size=5),
        redacted=st.dictionaries(st.text(max_size=5), st.integers(0, 99), max_size=2),
    ),
    max_size=8,
)


@given(results=RESULTS)
def test_every_record_is_found_again_as_it_was(results: list[RecordResult]) -> None:
    written = chunk_result.encode(chunk_result.chunk_result(3, results, History()))
    read = chunk_result.decode(written)
    assert list(chunk_result.split_results(read)) == results
    assert read.results == b"".join(one.line for one in results)
    assert read.errors == b"".join(one.error for one in results)
    assert chunk_result.encode(read) == written


def history(groups: list[IntentGroup], pages: dict[int, list[Page]]) -> History:
    return fold_history(UNIT, groups, pages)


def durable() -> tuple[list[IntentGroup], dict[int, list[Page]]]:
    """Two epochs: one record is answered in each, one call is lost, one was never sent."""
    groups = [
        IntentGroup(1, DAY, (Intent(0, 0, ROUTE.id, 500), Intent(1, 1, ROUTE.id, 500), Intent(2, 1, ROUTE.id, None))),
        IntentGroup(2, "2026-11-23", (Intent(0, 1, ROUTE.id, 500),)),
    ]
    pages = {
        1: [Page((attempt(0),), (1,), (result(0),))],
        2: [Page((attempt(0, epoch=2, record=1),), (), (result(1),))],
    }
    return groups, pages


def test_two_closers_write_equal_bytes() -> None:
    """Whatever order the stores gave them what is durable in, and although each read it on its own."""
    groups, pages = durable()
    one = history(groups, pages)
    copies = msgspec.msgpack.decode(msgspec.msgpack.encode(groups), type=list[IntentGroup])
    random.Random(1).shuffle(copies)
    read = {
        epoch: [journal.decode(journal.encode(page)) for page in pages[epoch]] for epoch in sorted(pages, reverse=True)
    }
    other = history(copies, {epoch: [p for p in found if isinstance(p, Page)] for epoch, found in read.items()})
    assert one == other
    assert chunk_result.encode(chunk_result.chunk_result(0, [one.results[n] for n in (0, 1)], one)) == (
        chunk_result.encode(chunk_result.chunk_result(0, [other.results[n] for n in (0, 1)], other))
    )


def test_what_one_epoch_did_and_what_the_next_reads_of_it_is_the_same() -> None:
    groups, pages = durable()
    own = history(groups[:1], {1: pages[1]}).plus(history(groups[1:], {2: pages[2]}))
    assert own == history(groups, pages)


def test_a_first_outcome_stands() -> None:
    pages = {1: [Page(results=(result(0, "first"),))], 2: [Page(results=(result(0, "second"),))]}
    assert history([], pages).results[0] == result(0, "first")
    assert history([], {1: pages[1]}).plus(history([], {2: pages[2]})).results[0] == result(0, "first")


def test_attempts_say_what_is_known_of_each_call() -> None:
    groups, pages = durable()
    lines = [msgspec.json.decode(line) for line in chunk_result.encode_attempts(history(groups, pages)).splitlines()]
    assert [(line["call_id"], line["code"], line["cost_usd"], line["high_usd"]) for line in lines] == [
        (f"{UNIT}.1.0", "ok", "0.000000390", "0.000000390"),
        (f"{UNIT}.1.2", LOST, None, None),
        (f"{UNIT}.2.0", "ok", "0.000000390", "0.000000390"),
    ]


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_result_that_was_cut_short_is_not_read(cut: int) -> None:
    groups, pages = durable()
    known = history(groups, pages)
    written = chunk_result.encode(chunk_result.chunk_result(0, list(known.results.values()), known))
    with pytest.raises(ValueError, match="do not match"):
        chunk_result.decode(written[:-cut])
