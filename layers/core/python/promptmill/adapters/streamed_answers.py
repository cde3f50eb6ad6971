"""Streams put together to the answers that the same calls return whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from promptmill.adapters.http_calls import HttpStream
from promptmill.adapters.stream_events import StreamDecoder, StreamEvent
from promptmill.domain.completion import Completion
from promptmill.domain.errors import ProviderError, RetryLaterError

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


async def assembled(
    reply: HttpStream,
    *,
    decoder: StreamDecoder,
    assembler: Assembler,
    error_of: Callable[[StreamEvent], ProviderError | None],
    request_id: str,
) -> dict[str, Any]:
    """The whole answer; silence after its last piece does not matter. ``error_of`` tells which events are errors.

    Raises:
        ProviderError: an error came in the middle, or the stream ended before its answer did (``stream_cut``).
    """
    try:
        await _fill(assembler, reply, decoder, error_of)
    except RetryLaterError:
        if not assembler.is_complete:
            raise
    if not assembler.is_complete:
        reason = "the stream ended before its answer did"
        raise RetryLaterError("stream_cut", reason, status=reply.status, request_id=request_id, usage_unknown=True)
    return assembler.answer()


def timed(completion: Completion, elapsed_s: float, *, first_token_ms: int | None = None) -> Completion:
    """With how long the call took, which prices by time hold for where the provider does not tell."""
    usage = completion.usage
    if not usage.compute_us:
        usage = msgspec.structs.replace(usage, compute_us=round(elapsed_s * _US))
    return msgspec.structs.replace(completion, usage=usage, first_token_ms=first_token_ms)


async def _fill(
    assembler: Assembler,
    reply: HttpStream,
    decoder: StreamDecoder,
    error_of: Callable[[StreamEvent], ProviderError | None],
) -> None:
    async for event in reply.events(decoder):
        if (error := error_of(event)) is not None:
            raise error
        if assembler.add(event):
            reply.note_token()
