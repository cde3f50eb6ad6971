"""An answer in OpenAI's chat API, read from a provider and written to a result file.

It is read leniently: many servers speak this API, each a little differently.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, ToolCall, Usage
from promptmill.domain.record import Outcome
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import (
    answered_at,
    answering_model,
    convert,
    estimate_usage,
    invert_finish_reasons,
    make_answer_id,
    make_usage,
    malformed_answer,
    parse_json,
)
from promptmill.wire.openai_chat.request import WIRE_FORMAT, write_request, write_tool_call
from promptmill.wire.openai_endpoints import OpenAiEndpoint
from promptmill.wire.stream_events import StreamEvent

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool",
    "function_call": "tool",
    "content_filter": "filter",
}
_FINISH_NAMES = invert_finish_reasons(_FINISH)
UNPARSED = "_unparsed"
"""The only argument of a tool call whose arguments were no JSON object. It holds the text that the model wrote."""


class _Function(Struct):
    name: str
    arguments: str | dict[str, Any] | None = None


class _Call(Struct):
    function: _Function
    id: str | None = None


class _Message(Struct):
    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None


class _Chat(Struct):
    choices: list[_Choice]
    model: str | None = None


class _InputDetails(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(Struct):
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    chat = convert(raw, _Chat)
    if chat is None or not chat.choices:
        raise malformed_answer(answer, "the answer has no choices", request_id=request_id)
    message, raw_finish = chat.choices[0].message, chat.choices[0].finish_reason or ""
    text = _read_text(message)
    calls = tuple(_read_tool_call(call) for call in message.tool_calls or ())
    return Completion(
        text=text,
        finish_reason=_read_finish_reason(message, calls, raw_finish),
        usage=read_usage(raw) or estimate_usage(request, text, calls),
        raw_finish=raw_finish,
        tool_calls=calls,
        model=chat.model or "",
        request_id=request_id,
        wire_format=WIRE_FORMAT,
        raw=raw,
    )


def _read_text(message: _Message) -> str:
    content = message.content
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content)
    return content or message.refusal or ""


def _read_finish_reason(message: _Message, calls: tuple[ToolCall, ...], raw_finish: str) -> FinishReason:
    if any(UNPARSED in call.arguments for call in calls):
        return "error"
    if message.refusal:
        return "filter"
    return _FINISH.get(raw_finish, "unknown")


def _read_tool_call(call: _Call) -> ToolCall:
    written = call.function.arguments
    arguments = written if isinstance(written, dict) else read_arguments(written or "")
    return ToolCall(id=call.id or "", name=call.function.name, arguments=arguments)


def read_arguments(written: str) -> dict[str, Any]:
    """Return the arguments of a tool's call: the object, or the text as written under ``UNPARSED``."""
    if not written.strip():
        return {}
    value = parse_json(written.encode())
    return value if isinstance(value, dict) else {UNPARSED: written}


def read_usage(raw: dict[str, Any]) -> Usage | None:
    """Return the usage of a chat completion or a plain one, or None if it reports none that makes sense."""
    usage = convert(raw.get("usage"), _Usage)
    if usage is None or usage.prompt_tokens < 0 or usage.completion_tokens < 0:
        return None
    read_in, written_out = usage.prompt_tokens_details, usage.completion_tokens_details
    return make_usage(
        input_total=usage.prompt_tokens,
        cache_read=(read_in and read_in.cached_tokens) or 0,
        cache_write=(read_in and read_in.cache_write_tokens) or 0,
        output_total=usage.completion_tokens,
        reasoning=(written_out and written_out.reasoning_tokens) or 0,
        service_tier=read_tier(raw),
    )


def read_tier(raw: dict[str, Any]) -> str:
    """Return the service tier that served the call, or "" where the answer does not say."""
    tier = raw.get("service_tier")
    return tier if isinstance(tier, str) else ""


def write_answer(outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """Return OpenAI's ``ChatCompletion``."""
    if completion.wire_format == WIRE_FORMAT and completion.raw:
        return completion.raw
    message: dict[str, Any] = {"role": "assistant", "content": completion.text, "refusal": None}
    if completion.tool_calls:
        message["content"] = completion.text or None
        message["tool_calls"] = [write_tool_call(call) for call in completion.tool_calls]
    finish = _FINISH_NAMES.get(completion.finish_reason, "stop")
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


class _StreamedFunction(Struct):
    name: str | None = None
    arguments: str | None = None


class _StreamedCall(Struct):
    index: int = 0
    id: str | None = None
    function: _StreamedFunction | None = None


class _Delta(Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_StreamedCall] | None = None


class _StreamedChoice(Struct):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(Struct):
    """A chunk of a chat completion or of a plain one."""

    choices: list[_StreamedChoice] = []
    id: str | None = None
    model: str | None = None
    created: int | None = None
    service_tier: str | None = None
    usage: dict[str, Any] | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_HEAD = ("id", "created", "model", "service_tier", "usage")


def read_chunk(event: StreamEvent) -> _Chunk | None:
    """Return the event's chunk, or None for ``[DONE]`` and for anything else."""
    try:
        return _CHUNK.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class ChatAssembler:
    """See Assembler. Usage may come after the last piece, and an answer without it is complete all the same."""

    def __init__(self) -> None:
        self.is_complete = False
        self._head: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, _GrowingCall] = {}
        self._finish: str | None = None

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        chunk = read_chunk(event)
        if chunk is None:
            return False
        note_head(self._head, chunk)
        pieces = [self._add(choice) for choice in chunk.choices if choice.index == 0]
        return any(pieces)

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        said = {name: "".join(pieces) for name, pieces in self._texts.items()}
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, **said}
        if self._calls:
            message["tool_calls"] = [self._calls[index].whole() for index in sorted(self._calls)]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish}
        return {"object": "chat.completion", **self._head, "choices": [choice]}

    def _add(self, choice: _StreamedChoice) -> bool:
        if choice.finish_reason:
            self._finish, self.is_complete = choice.finish_reason, True
        delta = choice.delta
        if delta is None:
            return False
        for name in ("content", "refusal", "reasoning_content", "reasoning"):
            if piece := getattr(delta, name):
                self._texts.setdefault(name, []).append(piece)
        for call in delta.tool_calls or ():
            self._calls.setdefault(call.index, _GrowingCall()).grow(call)
        return bool(delta.content or delta.refusal or delta.reasoning_content or delta.reasoning or delta.tool_calls)


class _GrowingCall:
    def __init__(self) -> None:
        self._id, self._name, self._arguments = "", "", list[str]()

    def grow(self, piece: _StreamedCall) -> None:
        self._id = self._id or piece.id or ""
        if piece.function is not None:
            self._name = self._name or piece.function.name or ""
            self._arguments.append(piece.function.arguments or "")

    def whole(self) -> dict[str, Any]:
        function = {"name": self._name, "arguments": "".join(self._arguments)}
        return {"id": self._id, "type": "function", "function": function}


def note_head(head: dict[str, Any], chunk: _Chunk) -> None:
    """Keep what a chunk says about the whole answer. What a later chunk says replaces it."""
    head.update({name: value for name in _HEAD if (value := getattr(chunk, name)) is not None})


CHAT = OpenAiEndpoint(write_request, read_answer, ChatAssembler)
