"""What later code wrote is left to that code: an update may be taken back while its messages are under way."""

from __future__ import annotations

import msgspec
import pytest

from promptmill.aws.dynamodb.unit_items import claim_from
from promptmill.domain import messages
from promptmill.domain.errors import NewerVersionError
from promptmill.domain.layout import STORED_VERSION
from promptmill.domain.messages import ChunkMessage, FinishMessage, Message, PlanMessage
from promptmill.jobs.settle_dead_letter import _decode

NEWER = STORED_VERSION + 1
MESSAGES: tuple[Message, ...] = (PlanMessage("inbox/a.csv", "v1"), ChunkMessage("job", 1, 0), FinishMessage("job", 1))


@pytest.mark.parametrize("message", MESSAGES)
def test_message_carries_the_version_and_is_read_without_one(message: Message) -> None:
    body = messages.encode(message)
    assert msgspec.json.decode(body)["v"] == STORED_VERSION
    assert messages.decode(body, type(message)) == message
    assert messages.decode_any(_with_version(message, None)) == message


@pytest.mark.parametrize("message", MESSAGES)
def test_newer_message_is_neither_run_nor_called_unreadable(message: Message) -> None:
    body = _with_version(message, NEWER)
    with pytest.raises(NewerVersionError):
        messages.decode(body, type(message))
    with pytest.raises(NewerVersionError):
        _decode(body)


def test_claim_of_newer_code_is_left_alone() -> None:
    stored = {"epoch": 1, "beat": 0, "owner": "a"}
    assert claim_from(stored).owner == "a"
    with pytest.raises(NewerVersionError, match="a claim has version 2"):
        claim_from(stored | {"v": NEWER})


def _with_version(message: Message, version: int | None) -> str:
    fields = msgspec.to_builtins(message) | ({} if version is None else {"v": version})
    return msgspec.json.encode(fields).decode()
