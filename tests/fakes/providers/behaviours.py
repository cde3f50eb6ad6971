"""Say what a fake provider does with the next call, in no provider's own format."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Finish = Literal["stop", "length", "tool", "filter"]
Trouble = Literal[
    "throttled", "overloaded", "unauthorized", "out_of_money", "too_long", "no_such_model", "bad_field", "filtered"
]


class Answer(Struct, frozen=True):
    """A good answer. ``input_tokens`` includes what the cache was read and written for."""

    text: str = "Blue."
    finish: Finish = "stop"
    input_tokens: int = 21
    cache_read: int = 0
    cache_write: int = 0
    output_tokens: int = 9
    reasoning: int = 0
    with_usage: bool = True
    tool_call: tuple[str, dict[str, Any]] | None = None


class Refuse(Struct, frozen=True):
    """An error in the provider's own shape, with its own status and code."""

    trouble: Trouble
    headers: dict[str, str] = {}


class Reply(Struct, frozen=True):
    """Exactly this."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


class Hang(Struct, frozen=True):
    """No answer until the client is gone."""


class CutOff(Struct, frozen=True):
    """The connection breaks: before the first byte of the answer, or in the middle of its body."""

    in_body: bool


class Break(Struct, frozen=True):
    """A stream that begins well, and then: an error event, silence (with or without heartbeats), a lost connection, or
    an end without its last event.
    """

    how: Literal["error", "stall", "heartbeat", "cut", "end"]


Behaviour = Answer | Refuse | Reply | Hang | CutOff | Break


class Sent(Struct, frozen=True):
    """One request as it came over the wire. ``path`` is as it was sent; ``peer`` tells its connection.

    ``body`` is empty where the data is no JSON object.
    """

    path: str
    headers: dict[str, str]
    data: bytes
    body: dict[str, Any]
    peer: str = ""
    method: str = "POST"


class Wire(Struct, frozen=True):
    """A reply before it is sent: ``blocks`` one by one where it is a stream, else ``body`` as JSON.

    ``error`` is what an error in the middle of such a stream looks like.
    """

    status: int
    body: Any
    headers: dict[str, str] = {}
    blocks: tuple[bytes, ...] = ()
    error: bytes = b""
