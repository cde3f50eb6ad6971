"""What a message says of itself: publishers can write anything into its attributes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.requests.envelope import IncomingRequest, copy_attributes, read_incoming

SENT_MS = "1700000000123"
KEY = b"the stack's own"


def test_a_first_message_was_published_when_it_was_sent() -> None:
    found = read_incoming("{}", "m-1", {}, sent_ms=SENT_MS)
    assert (found.identity, found.owner_seen, found.since) == ("m-1", None, 1_700_000_000)


def test_a_copy_is_the_message_that_it_copies() -> None:
    copy = IncomingRequest("{}", "m-0", "m-0", (3, 14), 1_600_000_000, "AROAONE")
    found = read_incoming(
        "{}", "m-1", copy_attributes(copy, KEY), sent_ms=SENT_MS, sender_id="AROAOURS:run-requests", seal_key=KEY
    )
    assert (found.identity, found.owner_seen, found.since, found.sender) == ("m-0", (3, 14), 1_600_000_000, "AROAONE")


@pytest.mark.parametrize("name", ["promptmill_id", "promptmill_seen", "promptmill_since", "promptmill_sender", "body"])
def test_attributes_that_we_did_not_seal_are_not_believed(name: str) -> None:
    copy = IncomingRequest("{}", "m-0", "m-0", (3, 14), 1_600_000_000, "AROAONE")
    forged = copy_attributes(copy, KEY) | {name: "1600000001"}
    for attributes in (
        forged,
        {k: v for k, v in forged.items() if k != "promptmill_seal"},
        copy_attributes(copy, b"x"),
    ):
        body = "{ }" if name == "body" else "{}"
        found = read_incoming(body, "m-1", attributes, sent_ms=SENT_MS, sender_id="AROATWO:session", seal_key=KEY)
        assert (found.identity, found.owner_seen, found.since) == ("m-1", None, 1_700_000_000)
        assert found.sender == "AROATWO", "a role's sessions are one sender"


@pytest.mark.parametrize("since", ["", "x", "-1", "9" * 40, "1800000000"])
def test_nobody_publishes_in_the_future(since: str) -> None:
    found = read_incoming("{}", "m-1", {"promptmill_since": since}, sent_ms=SENT_MS)
    assert found.since == 1_700_000_000


@given(st.dictionaries(st.sampled_from(["promptmill_id", "promptmill_seen", "promptmill_since"]), st.text()), st.text())
def test_nothing_there_stops_a_request(attributes: dict[str, str], sent_ms: str) -> None:
    assert read_incoming("{}", "m-1", attributes, sent_ms=sent_ms).body == "{}"
