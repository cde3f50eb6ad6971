"""Read a streamed answer until it is complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from promptmill.domain.errors import ProviderError, RetryLaterError
from promptmill.providers.http import HttpStream
from promptmill.wire.stream_events import StreamDecoder, StreamEvent
from promptmill.wire.streamed_answers import Assembler


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
