"""Decode AWS's event streams by botocore's parser, which checks the checksums, and classify AWS's errors."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from botocore.eventstream import EventStreamBuffer, ParserError

from promptmill.domain.errors import ProviderError, RetryLaterError
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json
from promptmill.wire.stream_events import StreamEvent


class AwsEvent(StreamEvent, frozen=True):
    """An event of AWS's event streams; ``name`` is its type, or the type of an exception, or the code of an error."""

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
                yield _read_event(message.headers, message.payload)
        except (ParserError, KeyError, ValueError, struct.error) as error:
            raise _malformed_stream("the bytes are no event stream") from error

    def end(self) -> Iterator[AwsEvent]:
        """See StreamDecoder. Raises RetryLaterError: in the middle of an event."""
        if self._unread:
            raise _malformed_stream("the stream ends in the middle of an event")
        yield from ()


def _read_event(headers: dict[str, Any], payload: bytes) -> AwsEvent:
    if headers.get(":message-type") == "event":
        return AwsEvent(str(headers.get(":event-type", "")), payload)
    name = headers.get(":exception-type") or headers.get(":error-code") or ""
    return AwsEvent(str(name), payload or str(headers.get(":error-message", "")).encode(), is_error=True)


def _malformed_stream(reason: str) -> RetryLaterError:
    return RetryLaterError("malformed_stream", reason, usage_unknown=True)


VERDICTS = Verdicts(
    closes=frozenset(
        {
            "AccessDeniedException",
            "ResourceNotFoundException",
            "ServiceQuotaExceededException",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "IncompleteSignatureException",
            "MissingAuthenticationTokenException",
            "NotAuthorized",
            "OptInRequired",
        }
    ),
    refuses=frozenset({"ValidationException"}),
    retries=frozenset(
        {
            "ThrottlingException",
            "ModelNotReadyException",
            "ModelTimeoutException",
            "ModelErrorException",
            "ModelStreamErrorException",
            "InternalServerException",
            "ServiceUnavailableException",
            "ExpiredTokenException",  # of this worker's credentials only: the next one's are fresh
        }
    ),
    too_long=re.compile(
        r"too long|maximum context|context window|too many input tokens|Too many tokens", re.IGNORECASE
    ),
)
_NO_SUCH_MODEL = re.compile(r"The provided model identifier is invalid|Invocation of model ID ")
"""Every record would get a ValidationException that starts like this: the route is closed instead."""
_STREAM_STATUS: Mapping[str, int] = {
    "ThrottlingException": 429,
    "ValidationException": 400,
    "ModelStreamErrorException": 424,
    "ModelTimeoutException": 408,
    "ServiceUnavailableException": 503,
}
_SERVER_ERROR = 500


def error_of(answer: HttpAnswer, raw: Any, *, now: datetime) -> ProviderError:
    """Return the error for a reply that is not 200."""
    message = error_fields(raw)[1]
    reply = ErrorReply(
        status=answer.status,
        codes=("ResourceNotFoundException",) if _NO_SUCH_MODEL.match(message) else codes_of(answer, raw),
        message=message or answer.body[:500].decode(errors="replace"),
        headers=answer.headers,
        request_id=request_id_of(answer.headers),
    )
    return provider_error(reply, VERDICTS, now=now)


def stream_error(event: StreamEvent, headers: Mapping[str, str], *, now: datetime) -> ProviderError | None:
    """Return the error that came in the middle of a stream, None for any other event.

    Its name is as in botocore's service model, ``throttlingException``.
    """
    if not isinstance(event, AwsEvent) or not event.is_error:
        return None
    code = event.name[:1].upper() + event.name[1:]
    message = error_fields(parse_json(event.data))[1] or event.data[:500].decode(errors="replace")
    status = _STREAM_STATUS.get(code, _SERVER_ERROR)
    reply = ErrorReply(status, (code,), message, headers={}, request_id=request_id_of(headers), in_stream=True)
    return provider_error(reply, VERDICTS, now=now)


def request_id_of(headers: Mapping[str, str]) -> str:
    return headers.get("x-amzn-requestid", "")


def codes_of(answer: HttpAnswer, raw: Any) -> tuple[str, ...]:
    """Return the code from ``x-amzn-errortype: Code:http://…``, ``{"__type": "namespace#Code"}`` or ``{"code": "Code"}``."""
    body = raw if isinstance(raw, dict) else {}
    said = answer.headers.get("x-amzn-errortype") or body.get("__type") or body.get("code")
    if not isinstance(said, str):
        return ()
    return (said.partition(":")[0].rpartition("#")[2],)
