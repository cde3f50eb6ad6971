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

_MAX_DETAIL = 500
_SAFE_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_CLOSING = frozenset({401, 402, 403, 404, 405, 407, 410, 451})
_RETRIED = frozenset({408, 409, 424, 425, 429})
_THROTTLED = 429
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
    """Return the error to raise for a reply. Codes decide first, then the status: spending limits come as 429."""
    kind, code = _classify_by_code(reply, verdicts) or _classify_by_status(reply)
    if kind is RecordRefusedError and verdicts.too_long and verdicts.too_long.search(reply.message):
        code = TOO_LONG
    detail = reply.message[:_MAX_DETAIL]
    if kind is not RetryLaterError:
        return kind(code, detail, status=reply.status, request_id=reply.request_id, usage_unknown=reply.in_stream)
    return RetryLaterError(
        code,
        detail,
        status=reply.status,
        request_id=reply.request_id,
        usage_unknown=reply.in_stream or (reply.status in _GATEWAY and not reply.codes),
        retry_after_s=retry_after_s(reply.headers, now=now, message=_message_about_waiting(reply)),
    )


def _message_about_waiting(reply: ErrorReply) -> str:
    # Only a throttled call says how long to wait: the messages of other errors may quote the prompt.
    return reply.message if reply.status == _THROTTLED else ""


def _classify_by_code(reply: ErrorReply, verdicts: Verdicts) -> tuple[type[ProviderError], str] | None:
    for code in reply.codes:
        if code in verdicts.closes:
            return RouteClosedError, code
        if code in verdicts.refuses:
            return RecordRefusedError, code
        if code in verdicts.retries:
            return RetryLaterError, code
    if verdicts.closing_messages and verdicts.closing_messages.match(reply.message):
        return RouteClosedError, _safe_code(reply)
    return None


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
        return (), error
    if not isinstance(error, dict):
        return (), ""
    details = error.get("details")
    detailed_code = details.get("error_code") if isinstance(details, dict) else None
    codes = (detailed_code, error.get("code"), error.get("type"))
    message = error.get("message", error.get("detail", ""))
    return tuple(c for c in codes if isinstance(c, str) and c), message if isinstance(message, str) else ""
