"""What a message says of itself: publishers can write anything into its attributes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.requests.envelope import read_incoming

SENT_MS = "1700000000123"


def test_a_first_message_was_published_when_it_was_sent() -> None:
    found = read_incoming("{}", "m-1", {}, sent_ms=SENT_MS)
    assert (found.identity, found.owner_seen, found.since) == ("m-1", None, 1_700_000_000)


def test_a_copy_is_the_message_that_it_copies() -> None:
    attributes = {"promptmill_id": "m-0", "promptmill_seen": "3.14", "promptmill_since": "1600000000"}
    found = read_incoming("{}", "m-1", attributes, sent_ms=SENT_MS)
    assert (found.identity, found.owner_seen, found.since) == ("m-0", (3, 14), 1_600_000_000)


@pytest.mark.parametrize("since", ["", "x", "-1", "9" * 40, "1800000000"])
def test_nobody_publishes_in_the_future(since: str) -> None:
    found = read_incoming("{}", "m-1", {"promptmill_since": since}, sent_ms=SENT_MS)
    assert found.since == 1_700_000_000


@given(st.dictionaries(st.sampled_from(["promptmill_id", "promptmill_seen", "promptmill_since"]), st.text()), st.text())
def test_nothing_there_stops_a_request(attributes: dict[str, str], sent_ms: str) -> None:
    assert read_incoming("{}", "m-1", attributes, sent_ms=sent_ms).body == "{}"
