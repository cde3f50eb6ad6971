"""What travels through the internal queues: ids and places, never prompts or answers.

The requests queue is public and has a schema of its own: ``domain/requests.py``.
"""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import unquote_plus

import msgspec
from msgspec import Struct


class PlanMessage(Struct, frozen=True, tag="plan"):
    """Plan (or plan again) a run of the job of one object version.

    Attributes:
        job_id: "" where nobody knows of a job yet.
        run: those after the first go on from the runs before.
        again: run it although the same bytes were run before.
        tagged: the object's tags have changed: nothing for a job that does not wait for that.
    """

    key: str
    version: str
    job_id: str = ""
    run: int = 1
    again: bool = False
    tagged: bool = False


class ChunkMessage(Struct, frozen=True, tag="chunk"):
    """Run one chunk.

    Attributes:
        seen: (epoch, beat) of the owner that a deferral saw.
        after: the epoch whose owner sent this, on giving the chunk back; 0 for the first message. If the chunk was
            given back in a later epoch, that owner should have sent a message too. None: nothing is known of others.
        aside: it was taken for left over in the epoch ``after``: if the chunk has moved on since, it is.
    """

    job_id: str
    run: int
    chunk: int
    seen: tuple[int, int] | None = None
    after: int | None = None
    aside: bool = False


class FinishMessage(Struct, frozen=True, tag="finish", omit_defaults=True):
    """See whether a run's chunks are all in, and join them. ``segment``: join this one; None: see to all that is left."""

    job_id: str
    run: int
    segment: int | None = None


Message = PlanMessage | ChunkMessage | FinishMessage

AnyMessage = TypeVar("AnyMessage", bound=Message)


def encode(message: Message) -> str:
    return msgspec.json.encode(message).decode()


def decode(body: str, kind: type[AnyMessage]) -> AnyMessage:
    """Raises msgspec.DecodeError: not a message of that kind."""
    return msgspec.json.decode(body, type=kind)


def decode_any(body: str) -> Message:
    """Raises msgspec.DecodeError: not a message of ours."""
    message: Message = msgspec.json.decode(body, type=Message)
    return message


class _Object(Struct, rename="camel"):
    key: str
    version_id: str = ""


class _S3(Struct):
    object: _Object


class _Record(Struct, rename="camel"):
    s3: _S3
    event_name: str = ""


class _Notification(Struct, rename="pascal"):
    records: list[_Record] = []  # absent in the test event that S3 sends when a notification is set up


_CREATED, _TAGGED = "ObjectCreated:", "ObjectTagging:Put"
_decoder = msgspec.json.Decoder(_Notification)


def plans_of(body: str) -> list[PlanMessage]:
    """One for each object of a notification, created or tagged; keys come URL-encoded, with ``+`` for a space.

    Raises:
        msgspec.DecodeError: not a notification.
    """
    records = _decoder.decode(body).records
    return [_plan(record) for record in records if record.event_name.startswith((_CREATED, _TAGGED))]


def _plan(record: _Record) -> PlanMessage:
    found, tagged = record.s3.object, record.event_name.startswith(_TAGGED)
    return PlanMessage(unquote_plus(found.key), found.version_id, tagged=tagged)
