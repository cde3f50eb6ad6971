"""A message of the requests queue, as received. Copies that we sent ourselves say in attributes what is to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

_MAX_COUNT = 18


class IncomingRequest(Struct, frozen=True):
    """A message as received.

    Attributes:
        copied_id: of the message that this is a copy of, "" if it is none.
        seen: (epoch, beat) of the owner that a deferral saw.
        since: when it was published, in seconds since 1970; 0 if nobody knows.
    """

    body: str
    message_id: str
    copied_id: str = ""
    seen: tuple[int, int] | None = None
    since: int = 0

    @property
    def identity(self) -> str:
        """For requests that bring none: a publisher's may hold what SQS refuses."""
        return self.copied_id or self.message_id

    def hours_at(self, now: datetime) -> float:
        """Since it was published."""
        return (now - datetime.fromtimestamp(self.since or now.timestamp(), UTC)).total_seconds() / 3600


def incoming_request(body: str, message_id: str, attributes: Mapping[str, str], *, sent_ms: str) -> IncomingRequest:
    """``attributes``: of the message, by name. Publishers can write anything there. ``sent_ms``: as SQS says it."""
    epoch, _, beat = attributes.get("promptmill_seen", "").partition(".")
    since, sent = attributes.get("promptmill_since", ""), sent_ms[:-3]
    return IncomingRequest(
        body,
        message_id,
        attributes.get("promptmill_id", ""),
        (int(epoch), int(beat)) if _is_count(epoch) and _is_count(beat) else None,
        min((int(found) for found in (since, sent) if _is_moment(found)), default=0),
    )


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MAX_COUNT


def _is_moment(text: str) -> bool:
    """Of this century."""
    return text.isdecimal() and len(text) <= len("4102444800")
