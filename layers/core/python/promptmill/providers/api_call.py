"""One call to a provider's API: make it, whole or streamed, and read its answer. Every adapter goes through here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from promptmill.domain.completion import Completion
from promptmill.domain.errors import ProviderError, RetryLaterError
from promptmill.domain.limits import Telling
from promptmill.domain.recipe import Route
from promptmill.providers.http import HttpCalls, HttpStream
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import find_usage, join_halves, may_hold_half, parse_json
from promptmill.wire.rate_headers import told_limits, with_headers_of
from promptmill.wire.stream_events import Assembler, StreamDecoder, StreamEvent

_US = 1_000_000
_HEAD_BYTES = 100
_STREAM_TYPES = ("text/event-stream", "application/x-ndjson", "application/stream+json")


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
        error: gives the error for a reply that is no success, from the reply and its JSON.
        read: makes the completion of a success and its JSON. It may be an error all the same: then it raises.
        stream: how the answer is read if a stream was asked for, else None.
        make_stream: makes the reader of a stream that came although nobody asked for it, None where none can come.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]
    error: Callable[[HttpAnswer, Any], ProviderError]
    read: Callable[[HttpAnswer, Any], Completion]
    stream: StreamReader | None = None
    make_stream: Callable[[], StreamReader | None] | None = None


async def complete(call: ApiCall, route: Route, http: HttpCalls) -> Completion:
    """Make the call once and return its completion. Raise as ``ModelProvider.complete`` does."""
    if call.stream is not None:
        return await _complete_streamed(call, call.stream, route, http)
    answer = await http.post(call.url, body=call.body, headers=call.headers, timeout_s=route.timeout_s)
    return _read_whole(call, answer)


def _tell(error: ProviderError, answer: HttpAnswer, raw: Any, url: str) -> ProviderError:
    """Return the error with what reads the limits that its reply tells."""
    error.told = partial(told_limits, with_headers_of(raw, answer.headers), url=url)
    return error


def is_success(status: int) -> bool:
    """Return True for 200 and its like: some gateways answer a POST with 201, and it is no less an answer."""
    return status // 100 == 2  # noqa: PLR2004 (HTTP's own classes)


def _read_whole(call: ApiCall, answer: HttpAnswer) -> Completion:
    if is_success(answer.status) and _looks_like_events(answer.body):
        stream = call.stream or (call.make_stream() if call.make_stream else None)
        if stream is not None:
            completion = call.read(answer, _read_all_events(answer, stream))
            return with_times(completion, answer.elapsed_s, told=partial(told_limits, answer.headers, url=call.url))
    raw = parse_json(answer.body)
    if not is_success(answer.status):
        raise _tell(call.error(answer, raw), answer, raw, call.url)
    if raw is None:
        # What cannot be read was paid for all the same, and may say how much that was.
        raw = find_usage(answer.body)
    return with_times(call.read(answer, raw), answer.elapsed_s, told=partial(told_limits, answer.headers, url=call.url))


def _looks_like_events(body: bytes) -> bool:
    return body[:_HEAD_BYTES].lstrip().startswith((b"data:", b"event:"))


def _read_all_events(answer: HttpAnswer, stream: StreamReader) -> dict[str, Any]:
    events = (*stream.decoder.feed(answer.body), *stream.decoder.end())
    for event in events:
        if (error := stream.error_in(event, answer.headers)) is not None:
            raise error
        stream.assembler.add(event)
    return _read_assembled(stream, answer.status, answer.headers, has_halves=may_hold_half(answer.body))


async def _complete_streamed(call: ApiCall, stream: StreamReader, route: Route, http: HttpCalls) -> Completion:
    async with http.stream(
        call.url, body=call.body, headers=call.headers, timeout_s=route.timeout_s, stall_s=route.stall_s
    ) as reply:
        if not is_success(reply.status) or (stream.may_be_whole and not _is_event_stream(reply)):
            return _read_whole(call, await reply.read())
        raw = await read_events(reply, stream)
        completion = call.read(HttpAnswer(reply.status, reply.headers, b"", reply.elapsed_s), raw)
        told = partial(told_limits, reply.headers, url=call.url)
        return with_times(completion, reply.elapsed_s, first_token_ms=reply.first_token_ms, told=told)


def _is_event_stream(reply: HttpStream) -> bool:
    kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return kind in _STREAM_TYPES


async def read_events(reply: HttpStream, stream: StreamReader) -> dict[str, Any]:
    """Return the body that a call without a stream would have returned.

    Raises:
        ProviderError: an error came in the middle, or the stream ended before its answer did (``stream_cut``).
    """
    assembler, has_halves = stream.assembler, False
    try:
        has_halves = await _fill(assembler, reply, stream)
    except RetryLaterError:
        # An answer that is complete is kept, though its connection broke or fell silent afterwards.
        if not assembler.is_complete:
            raise
        has_halves = True
    return _read_assembled(stream, reply.status, reply.headers, has_halves=has_halves)


def _read_assembled(
    stream: StreamReader, status: int, headers: Mapping[str, str], *, has_halves: bool
) -> dict[str, Any]:
    if not stream.assembler.is_complete:
        raise RetryLaterError(
            "stream_cut",
            "the stream ended before its answer did",
            status=status,
            request_id=stream.request_id(headers),
            usage_unknown=True,
        )
    answer = stream.assembler.answer()
    whole: dict[str, Any] = join_halves(answer) if has_halves else answer
    return whole


async def _fill(assembler: Assembler, reply: HttpStream, stream: StreamReader) -> bool:
    """Feed the assembler. Return True if a piece may have held half of a surrogate pair."""
    has_halves = False
    async for event in reply.events(stream.decoder):
        if (error := stream.error_in(event, reply.headers)) is not None:
            raise error
        has_halves = has_halves or may_hold_half(event.data)
        if assembler.add(event):
            reply.note_token()
    return has_halves


def with_times(
    completion: Completion,
    elapsed_s: float,
    *,
    first_token_ms: int | None = None,
    told: Telling | None = None,
) -> Completion:
    """Return the completion with the call's time, which prices by time use if the provider reports none."""
    usage = completion.usage
    if not usage.compute_us:
        usage = msgspec.structs.replace(usage, compute_us=round(elapsed_s * _US))
    return msgspec.structs.replace(completion, usage=usage, first_token_ms=first_token_ms, told=told)
