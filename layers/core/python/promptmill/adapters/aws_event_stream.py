"""AWS event streams cut into events, by botocore's parser, which checks both checksums of each."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from botocore.eventstream import EventStreamBuffer, ParserError

from promptmill.adapters.stream_events import StreamEvent
from promptmill.domain.errors import RetryLaterError


class AwsEvent(StreamEvent, frozen=True):
    """``name``: the type of the event, or of the exception; an error's code."""

    is_error: bool = False


class AwsEventDecoder:
    """See StreamDecoder."""

    def __init__(self) -> None:
        self._buffer: Any = EventStreamBuffer()
        self._unread = 0

    def feed(self, block: bytes) -> Iterator[AwsEvent]:
        """See StreamDecoder. Raises RetryLaterError: the bytes are damaged (``malformed_stream``)."""
        self._buffer.add_data(block)
        self._unread += len(block)
        try:
            for message in self._buffer:
                self._unread -= message.prelude.total_length
                yield _event(message.headers, message.payload)
        except (ParserError, KeyError, ValueError, struct.error) as error:
            raise _malformed("the bytes are no event stream") from error

    def end(self) -> Iterator[AwsEvent]:
        """See StreamDecoder. Raises RetryLaterError: in the middle of an event."""
        if self._unread:
            raise _malformed("the stream ends in the middle of an event")
        yield from ()


def _event(headers: dict[str, Any], payload: bytes) -> AwsEvent:
    if headers.get(":message-type") == "event":
        return AwsEvent(str(headers.get(":event-type", "")), payload)
    name = headers.get(":exception-type") or headers.get(":error-code") or ""
    return AwsEvent(str(name), payload or str(headers.get(":error-message", "")).encode(), is_error=True)


def _malformed(reason: str) -> RetryLaterError:
    return RetryLaterError("malformed_stream", reason, usage_unknown=True)
