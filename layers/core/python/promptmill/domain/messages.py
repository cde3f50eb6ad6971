"""Messages of the internal queues: ids and places, never prompts or answers.

Messages that are on their way survive an update, so fields keep the names under which they are stored. The requests
queue is public and has a schema of its own: ``requests/envelope.py``.
"""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import unquote_plus

import msgspec
from msgspec import Struct, field

from promptmill.domain.layout import STORED_VERSION, VERSION_FIELD, check_version


class PlanMessage(Struct, frozen=True, tag="plan"):
    """Plan (or plan again) a run of the job of one object version.

    Attributes:
        job_id: "" where nobody knows of a job yet.
        run: number of the run; a later one goes on from the runs before.
        again: run it although the same bytes were run before.
        tagged: the object's tags have changed, which matters only to a job that waits for that.
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
        owner_seen: (epoch, beat) of the owner that a deferral saw.
        released_at_epoch: the epoch whose owner sent this message as it gave the chunk back, or 0 for the first
            message. An owner that gives the chunk back in a later epoch sends a message of its own. None where nothing
            is known of other messages.
        is_recheck: this copy was taken for stale in the epoch ``released_at_epoch``, and looks again in case the newer
            message was lost. If the chunk has moved on since, it is stale indeed.
    """

    job_id: str
    run: int
    chunk: int
    owner_seen: tuple[int, int] | None = field(default=None, name="seen")
    released_at_epoch: int | None = field(default=None, name="after")
    is_recheck: bool = field(default=False, name="aside")


class FinishMessage(Struct, frozen=True, tag="finish", omit_defaults=True):
    """Join a run if all of its chunks are in.

    Attributes:
        segment: the segment to join, or None to see to all that is left.
    """

    job_id: str
    run: int
    segment: int | None = None


class StepMessage(Struct, frozen=True, tag="step", omit_defaults=True):
    """Step a submission of a run, or plan what goes into batches where none is named."""

    job_id: str
    run: int
    submission: str = ""


Message = PlanMessage | ChunkMessage | FinishMessage | StepMessage

AnyMessage = TypeVar("AnyMessage", bound=Message)


class _Versioned(Struct):
    v: int = STORED_VERSION


def encode(message: Message) -> str:
    fields: dict[str, object] = msgspec.to_builtins(message)
    return msgspec.json.encode(fields | {VERSION_FIELD: STORED_VERSION}).decode()


def decode(body: str, kind: type[AnyMessage]) -> AnyMessage:
    """Decode a message.

    Raises:
        msgspec.DecodeError: it is not one of that kind.
        NewerVersionError: later code sent it.
    """
    check_version(msgspec.json.decode(body, type=_Versioned).v, "a message")
    return msgspec.json.decode(body, type=kind)


def decode_any(body: str) -> Message:
    """Decode any of our messages. Raises as ``decode`` does."""
    check_version(msgspec.json.decode(body, type=_Versioned).v, "a message")
    message: Message = msgspec.json.decode(body, type=Message)
    return message


def decode_work(body: str) -> ChunkMessage | StepMessage:
    """Decode a message of the chunks queue. Raises as ``decode`` does."""
    check_version(msgspec.json.decode(body, type=_Versioned).v, "a message")
    message: ChunkMessage | StepMessage = msgspec.json.decode(body, type=ChunkMessage | StepMessage)
    return message


class _Object(Struct, rename="camel"):
    key: str
    version_id: str = ""


class _Bucket(Struct):
    name: str


class _S3(Struct):
    object: _Object
    bucket: _Bucket | None = None


class _Record(Struct, rename="camel"):
    s3: _S3
    event_name: str = ""


class _Notification(Struct, rename="pascal"):
    records: list[_Record] = []  # absent in the test event that S3 sends when a notification is set up


_CREATED, _TAGGED = "ObjectCreated:", "ObjectTagging:Put"
_decoder = msgspec.json.Decoder(_Notification)


def plans_of(body: str, *, bucket: str = "") -> list[PlanMessage]:
    """Return a message for each object of a notification that was created or tagged, in our bucket if that is named.

    Keys come URL-encoded, with ``+`` for a space.

    Raises:
        msgspec.DecodeError: not a notification.
    """
    records = _decoder.decode(body).records
    ours = (record for record in records if not (bucket and record.s3.bucket) or record.s3.bucket.name == bucket)
    return [_plan(record) for record in ours if record.event_name.startswith((_CREATED, _TAGGED))]


def _plan(record: _Record) -> PlanMessage:
    found, tagged = record.s3.object, record.event_name.startswith(_TAGGED)
    return PlanMessage(unquote_plus(found.key), found.version_id, tagged=tagged)
