"""Answers of providers as JSON: read strictly where an answer hangs on it, leniently elsewhere."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

from promptmill.adapters.http_calls import HttpAnswer
from promptmill.domain.completion import Attachment, CompletionRequest, Text, ToolCall, ToolResult, Usage
from promptmill.domain.errors import RetryLaterError

T = TypeVar("T")

_CHARACTERS_PER_TOKEN = 4


def parsed(body: bytes) -> Any:
    """The body's JSON, None if it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def malformed(answer: HttpAnswer, reason: str, *, request_id: str) -> RetryLaterError:
    """A 200 that holds no answer; the provider may have charged for it."""
    return RetryLaterError("malformed", reason, status=answer.status, request_id=request_id, usage_unknown=True)


def converted(value: Any, kind: type[T]) -> T | None:
    """The value as a ``kind``, None if it is not one."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def reported_usage(*, input_total: int, cache_read: int, cache_write: int, output_total: int, reasoning: int) -> Usage:
    """Usage as reported; parts never exceed their whole, and nothing is negative."""
    cache_read, cache_write, reasoning = max(0, cache_read), max(0, cache_write), max(0, reasoning)
    return Usage(
        input_total=max(input_total, cache_read + cache_write),
        cache_read=cache_read,
        cache_write=cache_write,
        output_total=max(output_total, reasoning),
        reasoning=reasoning,
    )


def estimated_usage(request: CompletionRequest, text: str, calls: tuple[ToolCall, ...]) -> Usage:
    """For an answer that came without usage: a quarter of the characters, marked as estimated."""
    asked = len(request.system) + sum(_characters(part) for m in request.messages for part in m.parts)
    asked += sum(len(tool.description) + len(msgspec.json.encode(tool.parameters)) for tool in request.tools)
    answered = len(text) + sum(_characters(call) for call in calls)
    return Usage(input_total=_tokens(asked), output_total=_tokens(answered), source="estimated")


def _characters(part: Text | ToolCall | ToolResult | Attachment) -> int:
    match part:
        case Text() | ToolResult():
            return len(part.text)
        case ToolCall():
            return len(part.name) + len(msgspec.json.encode(part.arguments))
        case Attachment():
            return 0


def _tokens(characters: int) -> int:
    return math.ceil(characters / _CHARACTERS_PER_TOKEN)
