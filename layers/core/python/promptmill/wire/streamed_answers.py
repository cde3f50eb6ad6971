"""Streams put together to the answers that the same calls return whole."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from promptmill.domain.completion import Completion
from promptmill.wire.stream_events import StreamEvent

_US = 1_000_000


class Assembler(Protocol):
    """Of one stream; used once.

    Attributes:
        is_complete: everything that an answer needs has come.
    """

    is_complete: bool

    def add(self, event: StreamEvent) -> bool:
        """Whether the event carried a piece of the answer."""
        ...

    def answer(self) -> dict[str, Any]:
        """The body that a call without a stream would have returned."""
        ...


def timed(completion: Completion, elapsed_s: float, *, first_token_ms: int | None = None) -> Completion:
    """With how long the call took, which prices by time hold for where the provider does not tell."""
    usage = completion.usage
    if not usage.compute_us:
        usage = msgspec.structs.replace(usage, compute_us=round(elapsed_s * _US))
    return msgspec.structs.replace(completion, usage=usage, first_token_ms=first_token_ms)
