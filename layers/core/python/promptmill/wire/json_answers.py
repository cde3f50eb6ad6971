"""Helpers for answers, which are read from providers and written to result files.

An answer is read strictly where something depends on it, and leniently elsewhere. A written answer is a pure function
of the outcome, so that whoever writes a result file writes the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from promptmill.domain.completion import (
    Attachment,
    Completion,
    CompletionRequest,
    FinishReason,
    Text,
    ToolCall,
    ToolResult,
    Usage,
    WireFormat,
    tokens_of,
)
from promptmill.domain.errors import ProviderError, RetryLaterError
from promptmill.domain.money import to_nano
from promptmill.domain.record import Outcome
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import as_count

T = TypeVar("T")
E = TypeVar("E", bound=ProviderError)

_CHARACTERS_PER_TOKEN = 4
_MIN_TOKENS_FOR_WARNING = 1000
"""Shorter prompts raise no warning about a cut, because their number of tokens varies too much."""


MALFORMED = "malformed"


def malformed_answer(
    answer: HttpAnswer, reason: str, *, request_id: str, usage: Usage | None = None, model: str = ""
) -> RetryLaterError:
    """Return the error for a 200 that holds no answer. The provider may have charged for it, and may say how much."""
    error = RetryLaterError(MALFORMED, reason, status=answer.status, request_id=request_id, usage_unknown=True)
    return note_usage(error, usage, model)


def note_usage(error: E, usage: Usage | None, model: str) -> E:
    """Return the error of a call that failed, with the usage that its reply told all the same, if it did."""
    if usage is not None:
        error.usage, error.model, error.usage_unknown = usage, model, False
    return error


def convert(value: Any, kind: type[T]) -> T | None:
    """Return the value as a ``kind``, or None if it is not one."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


class Said(Struct, frozen=True):
    """What an answer says, whatever API it came by. ``unknown`` names its parts that are no text, and no calls."""

    text: str
    calls: tuple[ToolCall, ...]
    unknown: Sequence[str]


class AnswerSource(Struct, frozen=True):
    """Where an answer came from, and its body as it came."""

    model: str
    request_id: str
    wire_format: WireFormat
    raw: dict[str, Any]


def make_completion(
    said: Said,
    source: AnswerSource,
    request: CompletionRequest,
    finish: tuple[FinishReason, str],
    usage: Usage | None,
    *,
    notes: tuple[str, ...] = (),
) -> Completion:
    """Return the completion. ``finish`` is our word for why it ended, and the provider's own."""
    return Completion(
        text=said.text,
        finish_reason=finish[0],
        usage=usage or estimate_usage(request, said.text, said.calls),
        raw_finish=finish[1],
        tool_calls=said.calls,
        model=source.model,
        request_id=source.request_id,
        wire_format=source.wire_format,
        raw=source.raw,
        notes=(*notes, *note_unread(said.unknown)),
    )


def make_embedding(
    vectors: Sequence[tuple[float, ...]],
    request: CompletionRequest,
    usage: Usage | None,
    *,
    wire_format: WireFormat,
    request_id: str = "",
    model: str = "",
) -> Completion:
    """Return the completion of a request for vectors. It has no finish to read: they are there, or they are not."""
    return Completion(
        text="",
        finish_reason="stop",
        usage=usage or estimate_usage(request, "", ()),
        model=model,
        request_id=request_id,
        wire_format=wire_format,
        embeddings=tuple(vectors),
    )


def note_choices(choices: int) -> tuple[str, ...]:
    """Return the note on an answer that holds several, of which the text is but the first."""
    several = f"there are {choices} answers: the text is the first, and the provider's own body holds all of them"
    return (several,) if choices > 1 else ()


def note_unread(kinds: Iterable[str]) -> tuple[str, ...]:
    """Return the note on parts of an answer that its text does not show: they are kept in the provider's own body."""
    named = ", ".join(dict.fromkeys(kinds))
    return (f"parts of the answer are not text, and stand in the provider's own body only: {named}",) if named else ()


def make_usage(
    *,
    input_total: int,
    cache_read: int,
    cache_write: int,
    output_total: int,
    reasoning: int,
    service_tier: str = "",
    reported_nano_usd: int | None = None,
    **others: Any,
) -> Usage:
    """Return the usage as reported; ``others`` are fields of it. Parts never exceed their whole, and nothing is negative."""
    cache_read, cache_write, reasoning = max(0, cache_read), max(0, cache_write), max(0, reasoning)
    return Usage(
        input_total=max(input_total, cache_read + cache_write),
        cache_read=cache_read,
        cache_write=cache_write,
        output_total=max(output_total, reasoning),
        reasoning=reasoning,
        service_tier=service_tier,
        reported_nano_usd=reported_nano_usd,
        **others,
    )


def count_plain_usage(asked: Any, answered: Any) -> Usage | None:
    """Return the usage of two counts as they were told, or None if one of them is none."""
    read, written = as_count(asked), as_count(answered)
    if read is None or written is None or min(read, written) < 0:
        return None
    return make_usage(input_total=read, cache_read=0, cache_write=0, output_total=written, reasoning=0)


def read_nano_usd(reported: Any) -> int | None:
    """Return the nano-dollars of an amount in USD that a provider reported, or None where it makes no sense."""
    if isinstance(reported, bool) or not isinstance(reported, int | float | str | Decimal):
        return None
    try:
        amount = Decimal(str(reported))
    except InvalidOperation:
        return None
    return to_nano(amount) if amount.is_finite() and amount >= 0 else None


def note_cut_prompt(completion: Completion, request: CompletionRequest) -> Completion:
    """Return the completion, with a warning if the prompt seems to have been cut."""
    # Ollama cuts what does not fit, and only its token count shows it.
    read = completion.usage.input_total if completion.usage.source == "reported" else 0
    expected = _tokens(_characters_asked(request)) if read else 0
    if expected < _MIN_TOKENS_FOR_WARNING or read >= expected / 2:
        return completion
    note = f"the model read {read} tokens of a prompt of about {expected}: it may have been cut"
    return msgspec.structs.replace(completion, notes=(*completion.notes, note))


def estimate_usage(request: CompletionRequest, text: str, calls: tuple[ToolCall, ...]) -> Usage:
    """Return usage for an answer that came without any: a token for four characters, marked as estimated."""
    answered = len(text) + sum(_characters(call) for call in calls)
    return Usage(input_total=_tokens(_characters_asked(request)), output_total=_tokens(answered), source="estimated")


def _characters_asked(request: CompletionRequest) -> int:
    asked = len(request.system) + sum(_characters(part) for m in request.messages for part in m.parts)
    return asked + sum(len(tool.description) + len(msgspec.json.encode(tool.parameters)) for tool in request.tools)


def _characters(part: Text | ToolCall | ToolResult | Attachment) -> int:
    match part:
        case Text() | ToolResult():
            return len(part.text)
        case ToolCall():
            return len(part.name) + len(msgspec.json.encode(part.arguments))
        case Attachment():
            return _CHARACTERS_PER_TOKEN * len(tokens_of(part))


def _tokens(characters: int) -> int:
    return math.ceil(characters / _CHARACTERS_PER_TOKEN)


def invert_finish_reasons(reasons: dict[str, FinishReason]) -> dict[FinishReason, str]:
    """Return what an API calls each reason to stop: the first of its names. ``error`` has no name that other APIs share."""
    return {reason: name for name, reason in reversed(reasons.items()) if reason != "error"}


_WHOLE = ("stop", "tool")


def write_finish(completion: Completion, names: Mapping[FinishReason, str], default: str | None) -> str | None:
    """Return what an API calls the reason to stop: never the name of a whole answer for one that is not."""
    reason = completion.finish_reason
    if reason in names:
        return names[reason]
    return completion.raw_finish or ("error" if reason == "error" else default)


def tell_finish(completion: Completion) -> str:
    """Return why the answer ended: in our word, or in the provider's own where we know none."""
    reason = completion.finish_reason
    return (completion.raw_finish or reason) if reason == "unknown" else reason


def is_partial(completion: Completion) -> bool:
    """Return True for an answer that says that it is not whole."""
    return completion.finish_reason not in (*_WHOLE, "unknown")


def make_answer_id(outcome: Outcome, job_id: str) -> str:
    """Return the id of the last attempt, or else the record's place in the job."""
    return outcome.attempts[-1].call_id if outcome.attempts else f"{job_id}-{outcome.record.index}"


def answering_model(outcome: Outcome, completion: Completion) -> str:
    """Return the model that answered, or the route's where the provider does not say."""
    return completion.model or outcome.route.partition("/")[2] or outcome.route


def answered_at(outcome: Outcome) -> int:
    """Return when the answering attempt started, in seconds since the epoch: never the time at which this is written."""
    if not outcome.attempts:
        return 0
    return int(datetime.fromisoformat(outcome.attempts[-1].started_at).timestamp())


def uncached_input(usage: Usage) -> int:
    """Return the input tokens that were neither read from nor written to a cache."""
    return max(0, usage.input_total - usage.cache_read - usage.cache_write)
