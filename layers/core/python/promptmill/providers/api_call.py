"""One call to a provider's API: make it, whole or streamed, and read its answer. Every adapter goes through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from promptmill.domain.completion import Completion
from promptmill.domain.errors import ProviderError, RetryLaterError
from promptmill.domain.recipe import Route
from promptmill.providers.http import HttpCalls, HttpStream
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import parse_json
from promptmill.wire.stream_events import Assembler, StreamDecoder, StreamEvent

_OK = 200
_US = 1_000_000


class StreamReader(Struct, frozen=True):
    """How one stream is read; used once.

    Attributes:
        error_in: gives the error that an event and the reply's headers tell of, None for any other event.
        request_id: finds the request's id in the reply's headers.
        may_be_whole: some servers answer as a whole, in JSON, where they cannot stream.
    """

    decoder: StreamDecoder
    assembler: Assembler
    error_in: Callable[[StreamEvent, Mapping[str, str]], ProviderError | None]
    request_id: Callable[[Mapping[str, str]], str]
    may_be_whole: bool = False


class ApiCall(Struct, frozen=True):
    """One call that is ready to go out, and how its answer is read.

    Attributes:
        error: gives the error for a reply that is not 200, from the reply and its JSON.
        read: makes the completion of a 200 and its JSON. A 200 may be an error all the same: then it raises.
        stream: how the answer is read if a stream was asked for, else None.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]
    error: Callable[[HttpAnswer, Any], ProviderError]
    read: Callable[[HttpAnswer, Any], Completion]
    stream: StreamReader | None = None


async def complete(call: ApiCall, route: Route, http: HttpCalls) -> Completion:
    """Make the call once and return its completion. Raise as ``ModelProvider.complete`` does."""
    if call.stream is not None:
        return await _complete_streamed(call, call.stream, route, http)
    answer = await http.post(call.url, body=call.body, headers=call.headers, timeout_s=route.timeout_s)
    return _read_whole(call, answer)


def _read_whole(call: ApiCall, answer: HttpAnswer) -> Completion:
    raw = parse_json(answer.body)
    if answer.status != _OK:
        raise call.error(answer, raw)
    return with_times(call.read(answer, raw), answer.elapsed_s)


async def _complete_streamed(call: ApiCall, stream: StreamReader, route: Route, http: HttpCalls) -> Completion:
    async with http.stream(
        call.url, body=call.body, headers=call.headers, timeout_s=route.timeout_s, stall_s=route.stall_s
    ) as reply:
        if reply.status != _OK or (stream.may_be_whole and _is_json(reply)):
            return _read_whole(call, await reply.read())
        raw = await read_events(reply, stream)
        completion = call.read(HttpAnswer(_OK, reply.headers, b"", reply.elapsed_s), raw)
        return with_times(completion, reply.elapsed_s, first_token_ms=reply.first_token_ms)


def _is_json(reply: HttpStream) -> bool:
    return reply.headers.get("Content-Type", "").startswith("application/json")


async def read_events(reply: HttpStream, stream: StreamReader) -> dict[str, Any]:
    """Return the body that a call without a stream would have returned.

    Raises:
        ProviderError: an error came in the middle, or the stream ended before its answer did (``stream_cut``).
    """
    assembler = stream.assembler
    try:
        await _fill(assembler, reply, stream)
    except RetryLaterError:
        # An answer that is complete is kept, though its connection broke or fell silent afterwards.
        if not assembler.is_complete:
            raise
    if not assembler.is_complete:
        raise RetryLaterError(
            "stream_cut",
            "the stream ended before its answer did",
            status=reply.status,
            request_id=stream.request_id(reply.headers),
            usage_unknown=True,
        )
    return assembler.answer()


async def _fill(assembler: Assembler, reply: HttpStream, stream: StreamReader) -> None:
    async for event in reply.events(stream.decoder):
        if (error := stream.error_in(event, reply.headers)) is not None:
            raise error
        if assembler.add(event):
            reply.note_token()


def with_times(completion: Completion, elapsed_s: float, *, first_token_ms: int | None = None) -> Completion:
    """Return the completion with the call's time, which prices by time use if the provider reports none."""
    usage = completion.usage
    if not usage.compute_us:
        usage = msgspec.structs.replace(usage, compute_us=round(elapsed_s * _US))
    return msgspec.structs.replace(completion, usage=usage, first_token_ms=first_token_ms)
