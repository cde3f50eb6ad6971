"""Classify what a provider refuses: try again (and when), fail the record, or close the route."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from msgspec import Struct

from promptmill.domain.errors import ProviderError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.wire.error_words import (
    CLOSING_CODES,
    tells_all,
    tells_daily,
    tells_no_model,
    tells_quota,
    tells_record,
    tells_too_large,
    tells_too_long,
)

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|milliseconds?|h|hours?|m|min|minutes?|s|sec|seconds?)"
_DURATION = re.compile(rf"{_PART}(?:\s*{_PART})?(?:\s*{_PART})?", re.IGNORECASE)
_IN_WORDS = re.compile(
    rf"\b(?:(?:try again|retry)(?: (?:in|after))|resets? in) ~?({_DURATION.pattern})(?![A-Za-z])", re.IGNORECASE
)
_MAX_IN_WORDS_S = 600.0
"""A message may quote a prompt, and a prompt must not put a route to rest for a day."""


def retry_after_s(headers: Mapping[str, str], *, now: datetime, message: str = "") -> float | None:
    """Return the seconds to wait, None if nothing says how long.

    They come from ``retry-after-ms``, else ``retry-after`` (seconds, an HTTP date, or a duration such as ``6m0s``), else words of
    the error's message: ``Please try again in 20s``.
    """
    milliseconds = _parse_number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    readings = (_parse_number(value), _seconds_until(value, now), _parse_duration(value or ""), _read_words(message))
    return next((seconds for seconds in readings if seconds is not None), None)


def _read_words(message: str) -> float | None:
    found = _IN_WORDS.search(message)
    return min(_sum_parts(found[1]), _MAX_IN_WORDS_S) if found else None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """Return what ``x-should-retry`` says, None if it says nothing."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def _parse_number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _seconds_until(value: str | None, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(value or "")
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (aware - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _parse_duration(text: str) -> float | None:
    return _sum_parts(text) if _DURATION.fullmatch(text.strip()) else None


def _sum_parts(duration: str) -> float:
    return sum(float(amount) * _unit(name) for amount, name in re.findall(_PART, duration, re.IGNORECASE))


def _unit(name: str) -> float:
    lower = name.lower()
    return _UNITS["ms"] if lower.startswith(("ms", "milli")) else _UNITS[lower[0]]


TOO_LONG = "context_length_exceeded"
"""Our one code for a prompt that does not fit, whatever the provider calls it."""

TOO_LARGE = "request_too_large_for_limit"
"""Our code for one request that is larger than the whole limit of a minute."""

DAILY_S, MIN_DAILY_S = 3_600.0, 301.0
"""How long a route rests whose limit by the day is used up: the least is more than a worker waits."""

_MAX_DETAIL = 500
_TITLE = re.compile(r"<title>([^<]{1,200})", re.IGNORECASE)
_SAFE_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_CLOSING = frozenset({401, 402, 403, 404, 405, 407, 410, 451})
_CERTAIN = frozenset({402, 407})
_RETRIED = frozenset({408, 409, 424, 425, 429})
_THROTTLED, _UNAUTHORIZED, _SERVER_FAULT = 429, 401, 500
_LIMITED = frozenset({413, 429})
_GENERIC = frozenset({"not_found_error", "permission_error", "NOT_FOUND", "PERMISSION_DENIED"})
"""Codes that say no more than a status does: they may be about a file that one record names."""
_GATEWAY = frozenset({502, 504, 520, 521, 522, 523, 524})


class ErrorReply(Struct, frozen=True):
    """An error as the provider sent it.

    Attributes:
        codes: the names that the body gives it, the most telling first.
        in_stream: it came in the middle of an answer, which the provider may charge for.
    """

    status: int
    codes: tuple[str, ...]
    message: str
    headers: Mapping[str, str]
    request_id: str = ""
    in_stream: bool = False


class Verdicts(Struct, frozen=True):
    """The meaning of a provider's own codes.

    Attributes:
        closing_messages: matched at the start of a message only, so that a quoted prompt cannot close a route.
        too_long: searched in the messages of refused records, to name them ``context_length_exceeded``.
    """

    closes: frozenset[str] = frozenset()
    refuses: frozenset[str] = frozenset()
    retries: frozenset[str] = frozenset()
    closing_messages: re.Pattern[str] | None = None
    too_long: re.Pattern[str] | None = None


def provider_error(reply: ErrorReply, verdicts: Verdicts, *, now: datetime) -> ProviderError:
    """Return the error to raise for a reply.

    Codes decide first, then words, then the status: spending limits come as 429. A route is closed for certain only by
    codes and words that hold for every record; what may be one record's fault leaves a doubt.
    """
    kind, code, is_certain = _judge(reply, verdicts)
    detail = _detail(reply.message)
    status, request_id = reply.status, reply.request_id
    if kind is RouteClosedError:
        closed = RouteClosedError(code, detail, status=status, request_id=request_id, usage_unknown=reply.in_stream)
        closed.is_certain = is_certain
        return closed
    if kind is RecordRefusedError:
        return RecordRefusedError(code, detail, status=status, request_id=request_id, usage_unknown=reply.in_stream)
    return RetryLaterError(
        code,
        detail,
        status=status,
        request_id=request_id,
        usage_unknown=reply.in_stream or (status in _GATEWAY and not reply.codes),
        retry_after_s=_wait_s(reply, now),
    )


def _judge(reply: ErrorReply, verdicts: Verdicts) -> tuple[type[ProviderError], str, bool]:
    """Return what the reply means for the record and its route, the code, and whether that is certain."""
    message, code = reply.message, _safe_code(reply)
    if reply.status in _LIMITED and tells_too_large(message):
        return RecordRefusedError, TOO_LARGE, True
    kind, code = _classify_by_code(reply, verdicts) or (_classify_by_words(reply, verdicts) or (None, code))
    is_certain = kind is not None and reply.status != _UNAUTHORIZED and code not in _GENERIC
    if kind is None:
        kind, code = _classify_by_status(reply)
        is_certain = reply.status in _CERTAIN or reply.status < 400  # noqa: PLR2004 (HTTP's own numbers)
    if kind is RouteClosedError and not is_certain and reply.status != _UNAUTHORIZED:
        if tells_no_model(message):
            return kind, code, True
        if not _is_page(message) and tells_record(f"{message} {' '.join(reply.codes)}"):
            return RecordRefusedError, code, True
    if _is_too_long(kind, reply, verdicts):
        return RecordRefusedError, TOO_LONG, True
    return kind, code, is_certain


def _is_too_long(kind: type[ProviderError], reply: ErrorReply, verdicts: Verdicts) -> bool:
    # Some servers of open models answer 500 to a prompt that does not fit.
    if kind is not RecordRefusedError and reply.status != _SERVER_FAULT:
        return False
    own = verdicts.too_long is not None and verdicts.too_long.search(reply.message) is not None
    return tells_too_long(reply.message) or (own and kind is RecordRefusedError)


def _detail(message: str) -> str:
    """Return the text for people; of a page, its title."""
    if _is_page(message) and (title := _TITLE.search(message)):
        message = f"a web page: {title[1].strip()}"
    return message[:_MAX_DETAIL]


def _is_page(message: str) -> bool:
    return message.lstrip()[:1] == "<"


def _wait_s(reply: ErrorReply, now: datetime) -> float | None:
    told = retry_after_s(reply.headers, now=now, message=_message_about_waiting(reply))
    if reply.status == _THROTTLED and tells_daily(reply.message):
        # A limit by the day is not over in seconds. Where nobody says when, it is tried every hour.
        return max(told or DAILY_S, MIN_DAILY_S)
    return told


def _message_about_waiting(reply: ErrorReply) -> str:
    # Only a throttled call says how long to wait: the messages of other errors may quote the prompt.
    return reply.message if reply.status == _THROTTLED else ""


def _classify_by_code(reply: ErrorReply, verdicts: Verdicts) -> tuple[type[ProviderError], str] | None:
    for code in reply.codes:
        if code in verdicts.closes or code in CLOSING_CODES:
            return RouteClosedError, code if _SAFE_CODE.fullmatch(code) else _safe_code(reply)
        if code in verdicts.refuses and not tells_all(reply.message):
            return RecordRefusedError, code
        if code in verdicts.retries and not _tells_spent(reply):
            return RetryLaterError, code
    return None


def _classify_by_words(reply: ErrorReply, verdicts: Verdicts) -> tuple[type[ProviderError], str] | None:
    if verdicts.closing_messages and verdicts.closing_messages.match(reply.message):
        return RouteClosedError, _safe_code(reply)
    if reply.status < _SERVER_FAULT and _tells_spent(reply):
        return RouteClosedError, _safe_code(reply)
    return None


def _tells_spent(reply: ErrorReply) -> bool:
    """Return True for words that hold for every record, unless they say that they will not hold for long."""
    if not tells_all(reply.message):
        return False
    passes = tells_quota(reply.message) and (
        tells_daily(reply.message) or "retry-after" in reply.headers or _IN_WORDS.search(reply.message) is not None
    )
    return not (reply.status == _THROTTLED and passes)


def _classify_by_status(reply: ErrorReply) -> tuple[type[ProviderError], str]:
    status, says_retry, code = reply.status, should_retry(reply.headers), _safe_code(reply)
    if says_retry is True:
        return RetryLaterError, code
    if status in _CLOSING or status < 400 or (status == 429 and says_retry is False):  # noqa: PLR2004 (HTTP's own numbers)
        return RouteClosedError, code
    if (status in _RETRIED or status >= 500) and says_retry is not False:  # noqa: PLR2004
        return RetryLaterError, code
    return RecordRefusedError, code


def _safe_code(reply: ErrorReply) -> str:
    safe = (code for code in reply.codes if _SAFE_CODE.fullmatch(code))
    return next(safe, f"http_{reply.status}")


def error_fields(body: Any) -> tuple[tuple[str, ...], str]:
    """Return codes and message of an error body, in the shapes of OpenAI-like servers and of Anthropic.

    They are ``{"error": {"code", "type", "message", "details": {"error_code"}}}``, ``{"error": "…"}``, ``{"message", "type"}``
    and ``{"detail": "…"}``.
    """
    if not isinstance(body, dict):
        return (), ""
    error = body.get("error", body)
    if isinstance(error, str):
        code = body.get("code")
        return (code,) if isinstance(code, str) and code else (), error
    if not isinstance(error, dict):
        return (), ""
    details = error.get("details")
    detailed_code = details.get("error_code") if isinstance(details, dict) else None
    codes = (detailed_code, error.get("code"), error.get("type"))
    message = error.get("message", error.get("detail", ""))
    return tuple(c for c in codes if isinstance(c, str) and c), message if isinstance(message, str) else ""
