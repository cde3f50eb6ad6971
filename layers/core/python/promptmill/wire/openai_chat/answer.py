"""An answer in OpenAI's chat API, read from a provider and written to a result file.

It is read leniently: many servers speak this API, each a little differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, ToolCall, Usage
from promptmill.domain.record import Outcome
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import (
    AnswerSource,
    Said,
    answered_at,
    answering_model,
    invert_finish_reasons,
    make_answer_id,
    make_completion,
    malformed_answer,
    note_choices,
    write_finish,
)
from promptmill.wire.loose_json import as_object, as_objects, as_text, join_parts, parse_piece
from promptmill.wire.openai.endpoints import OpenAiEndpoint
from promptmill.wire.openai_chat.request import WIRE_FORMAT
from promptmill.wire.openai_chat.request_body import write_request, write_tool_call
from promptmill.wire.openai_chat.usage import read_usage
from promptmill.wire.stream_events import StreamEvent

FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool",
    "function_call": "tool",
    "content_filter": "filter",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "tool_call": "tool",
    "safety": "filter",
    "recitation": "filter",
    "sensitive": "filter",
    "content_filtered": "filter",
    "refusal": "filter",
}
"""The words of OpenAI, and those that gateways pass on from the models behind them; in any case of letters."""
_FINISH_NAMES = invert_finish_reasons(FINISH)
_BROKEN = frozenset(
    ("error", "abort", "aborted", "cancelled", "canceled", "network_error", "insufficient_system_resource")
)
"""Reasons of answers that broke off because the server failed."""
_THOUGHTS = frozenset(("thinking", "reasoning", "redacted_thinking", "reference"))
UNPARSED = "_unparsed"
"""The only argument of a tool call whose arguments were no JSON object. It holds the text that the model wrote."""


def broken_choice(raw: Any) -> dict[str, Any] | None:
    """Return the error of an answer that broke off, None if it did not.

    The error stands in the choice or beside it. Beside an answer that says how it ended, it is none of the answer's.
    """
    choice = first_choice(raw)
    finish = as_text(choice.get("finish_reason")).lower()
    if error := choice.get("error"):
        return {"error": error}
    if finish in _BROKEN:
        return {"error": as_object(raw).get("error") or {"code": "answer_failed", "message": f"it ended with {finish}"}}
    error = as_object(raw).get("error")
    return {"error": error} if error and choice and finish not in FINISH else None


def first_choice(raw: Any) -> dict[str, Any]:
    """Return the first choice of an answer or of a chunk, empty if there is none."""
    choices = as_objects(as_object(raw).get("choices"))
    return choices[0] if choices else {}


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    choice = first_choice(raw)
    message = choice.get("message", choice.get("delta"))
    if not isinstance(message, dict) and not isinstance(choice.get("text"), str):
        return _read_nothing(answer, raw, choice, request, request_id)
    message, model = as_object(message), as_text(raw.get("model"))
    unknown = list[str]()
    text = read_content(message.get("content"), unknown) or as_text(choice.get("text"))
    refusal = as_text(message.get("refusal"))
    text = text or refusal or as_text(as_object(message.get("audio")).get("transcript"))
    calls = tuple(_read_tool_calls(message, unknown))
    unknown += [name for name in ("audio", "images") if message.get(name)]
    raw_finish = as_text(choice.get("finish_reason"))
    source = AnswerSource(model, request_id, WIRE_FORMAT, raw)
    finish = (_read_finish_reason(refusal, calls, raw_finish), raw_finish)
    notes = note_choices(len(as_objects(raw.get("choices"))))
    return make_completion(Said(text, calls, unknown), source, request, finish, read_usage(raw), notes=notes)


def _read_nothing(
    answer: HttpAnswer, raw: Any, choice: dict[str, Any], request: CompletionRequest, request_id: str
) -> Completion:
    """Return an answer without text for a prompt that was filtered, and else raise."""
    usage, model = read_usage(raw), as_text(as_object(raw).get("model"))
    raw_finish = as_text(choice.get("finish_reason"))
    is_filtered = FINISH.get(raw_finish.lower()) == "filter" or _is_prompt_filtered(raw)
    if usage is None or not is_filtered:
        raise malformed_answer(answer, "the answer has no choices", request_id=request_id, usage=usage, model=model)
    source = AnswerSource(model, request_id, WIRE_FORMAT, raw)
    return make_completion(Said("", (), ()), source, request, ("filter", raw_finish or "content_filter"), usage)


def _is_prompt_filtered(raw: Any) -> bool:
    """Return True if Azure says that it filtered the prompt."""
    results = as_objects(as_object(raw).get("prompt_filter_results"))
    kinds = (as_object(kind) for result in results for kind in as_object(result.get("content_filter_results")).values())
    return any(kind.get("filtered") is True for kind in kinds)


def read_content(content: Any, unknown: list[str]) -> str:
    """Return the text of a content: a text, or a list of parts. Thoughts are left out; ``unknown`` gets other types."""
    return "".join(join_parts(content, _read_part, unknown.append))


def _read_part(part: dict[str, Any]) -> str | None:
    kind, text = part.get("type"), part.get("text")
    if isinstance(kind, str) and kind in _THOUGHTS:
        return ""
    if isinstance(text, dict):
        text = text.get("value")
    return text if isinstance(text, str) else as_text(part.get("refusal")) or None


def _read_finish_reason(refusal: str, calls: tuple[ToolCall, ...], raw_finish: str) -> FinishReason:
    if any(UNPARSED in call.arguments for call in calls):
        return "error"
    if refusal:
        return "filter"
    return FINISH.get(raw_finish.lower(), "unknown")


def _read_tool_calls(message: dict[str, Any], unknown: list[str]) -> Iterator[ToolCall]:
    """Yield the calls. A custom tool's text stands under ``input``; a call of another kind is named in ``unknown``."""
    calls = as_objects(message.get("tool_calls"))
    if not calls and (older := as_object(message.get("function_call"))):
        calls = [{"function": older}]
    for call in calls:
        function, custom = as_object(call.get("function")), as_object(call.get("custom"))
        if function:
            yield ToolCall(
                as_text(call.get("id")), as_text(function.get("name")), read_arguments(function.get("arguments"))
            )
        elif custom:
            arguments = {"input": custom.get("input")}
            yield ToolCall(as_text(call.get("id")), as_text(custom.get("name")), arguments)
        else:
            unknown.append(as_text(call.get("type")) or "tool_call")


def read_arguments(written: Any) -> dict[str, Any]:
    """Return the arguments of a tool's call: the object, or the text as written under ``UNPARSED``."""
    if isinstance(written, dict):
        return written
    if written is None or (isinstance(written, str) and not written.strip()):
        return {}
    text = written if isinstance(written, str) else msgspec.json.encode(written).decode()
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {UNPARSED: text}


def write_answer(outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """Return OpenAI's ``ChatCompletion``."""
    if completion.wire_format == WIRE_FORMAT and completion.raw:
        return completion.raw
    message: dict[str, Any] = {"role": "assistant", "content": completion.text, "refusal": None}
    if completion.tool_calls:
        message["content"] = completion.text or None
        message["tool_calls"] = [write_tool_call(call) for call in completion.tool_calls]
    finish = write_finish(completion, _FINISH_NAMES, "stop")
    body = {
        "id": f"chatcmpl-{make_answer_id(outcome, job_id)}",
        "object": "chat.completion",
        "created": answered_at(outcome),
        "model": answering_model(outcome, completion),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
    }
    return body if completion.usage.source == "none" else {**body, "usage": _write_usage(completion.usage)}


def _write_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output_total,
        "total_tokens": usage.input_total + usage.output_total,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


_HEAD = ("id", "created", "model", "service_tier", "usage", "prompt_filter_results")


def read_chunk(event: StreamEvent) -> dict[str, Any] | None:
    """Return the event's chunk, or None for ``[DONE]`` and for anything else."""
    chunk = parse_piece(event.data)
    return chunk if isinstance(chunk, dict) else None


def is_end(event: StreamEvent) -> bool:
    """Return True for the mark that ends a stream, also where no reason came before it."""
    return event.data.strip() == b"[DONE]"


class ChatAssembler:
    """See Assembler. Usage may come after the last piece, and an answer without it is complete all the same."""

    def __init__(self) -> None:
        self.is_complete = False
        self._head: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}
        self._others: dict[str, Any] = {}
        self._calls: dict[int, _GrowingCall] = {}
        self._finish: Any = None

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        if is_end(event):
            self.is_complete = self.is_complete or bool(self._texts or self._calls or self._head.get("usage"))
            return False
        chunk = read_chunk(event)
        if chunk is None:
            return False
        note_head(self._head, chunk)
        grown = [self._add(choice) for choice in first_choices(chunk)]
        return any(grown)

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        said = {name: "".join(pieces) for name, pieces in self._texts.items()}
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, **self._others, **said}
        if self._calls:
            message["tool_calls"] = [self._calls[index].whole() for index in sorted(self._calls)]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish}
        is_answer = self._texts or self._others or self._calls or self._finish is not None
        return {"object": "chat.completion", **self._head, "choices": [choice] if is_answer else []}

    def _add(self, choice: dict[str, Any]) -> bool:
        if (finish := choice.get("finish_reason")) is not None and finish != "":
            self._finish, self.is_complete = finish, True
        delta = as_object(choice.get("delta") or choice.get("message"))
        grown = False
        for name, value in delta.items():
            grown |= self._grow(name, value)
        return grown

    def _grow(self, name: str, value: Any) -> bool:
        """Take one field of a delta: texts grow, and whatever has no place of its own is kept as it came."""
        if name == "role" or value is None or value == "":
            return False
        if name == "tool_calls":
            for place, call in enumerate(as_objects(value)):
                self._grow_call(call, place)
        elif name == "content" and not isinstance(value, str):
            self._take_parts(value)
        elif isinstance(value, str):
            self._texts.setdefault(name, []).append(value)
        elif isinstance(value, list):
            self._others.setdefault(name, []).extend(value)
        else:
            self._others[name] = value
        return True

    def _grow_call(self, call: dict[str, Any], place: int) -> None:
        """Add a piece of a call. One without an index begins a new call by its id, or else goes on with the last one."""
        index = call.get("index")
        if not isinstance(index, int):
            last = max(self._calls, default=-1)
            known = [at for at, growing in self._calls.items() if call.get("id") and growing.id == call.get("id")]
            begins = bool(call.get("id")) or not self._calls
            index = known[0] if known else last + 1 if begins else max(last, place)
        self._calls.setdefault(index, _GrowingCall()).grow(call)

    def _take_parts(self, content: Any) -> None:
        """Take a content that comes in parts, as Mistral's models with thoughts write it."""
        unknown = list[str]()
        if text := read_content(content, unknown):
            self._texts.setdefault("content", []).append(text)
        for part in as_objects(content):
            if part.get("type") == "thinking":
                self._texts.setdefault("reasoning_content", []).append(read_content(part.get("thinking"), unknown))
            elif as_text(part.get("type")) in unknown:
                self._others.setdefault("parts", []).append(part)


def first_choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a chunk says of the first choice. Some servers give it no index."""
    return [choice for choice in as_objects(chunk.get("choices")) if not choice.get("index")]


class _GrowingCall:
    def __init__(self) -> None:
        self.id = ""
        self._kind, self._name, self._arguments = "function", "", list[str]()

    def grow(self, piece: dict[str, Any]) -> None:
        self.id = self.id or as_text(piece.get("id"))
        self._kind = "custom" if isinstance(piece.get("custom"), dict) else self._kind
        told = as_object(piece.get(self._kind))
        self._name = self._name or as_text(told.get("name"))
        written = told.get("input" if self._kind == "custom" else "arguments")
        self._arguments.append(written if isinstance(written, str) else _as_json(written))

    def whole(self) -> dict[str, Any]:
        field = "input" if self._kind == "custom" else "arguments"
        told = {"name": self._name, field: "".join(self._arguments)}
        return {"id": self.id, "type": self._kind, self._kind: told}


def _as_json(value: Any) -> str:
    return "" if value is None else msgspec.json.encode(value).decode()


def note_head(head: dict[str, Any], chunk: dict[str, Any]) -> None:
    """Keep what a chunk says about the whole answer. What a later chunk says replaces it."""
    head.update({name: value for name in _HEAD if (value := chunk.get(name)) is not None})


CHAT = OpenAiEndpoint(write_request, read_answer, ChatAssembler)
