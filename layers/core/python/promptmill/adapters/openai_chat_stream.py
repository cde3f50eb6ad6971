"""A stream of chat completion chunks, put together to the chat completion that the same call returns whole."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from promptmill.adapters.stream_events import StreamEvent


class _Function(Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(Struct):
    """Of chat completions and of plain ones."""

    choices: list[_Choice] = []
    id: str | None = None
    model: str | None = None
    created: int | None = None
    service_tier: str | None = None
    usage: dict[str, Any] | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_HEAD = ("id", "created", "model", "service_tier", "usage")


def chunk_of(event: StreamEvent) -> _Chunk | None:
    """None for ``[DONE]``, and for what is no chunk."""
    try:
        return _CHUNK.decode(event.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class ChatAssembler:
    """See Assembler. Usage may come after the last piece; an answer without it is an answer."""

    def __init__(self) -> None:
        self.is_complete = False
        self._head: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, _GrowingCall] = {}
        self._finish: str | None = None

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        chunk = chunk_of(event)
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

    def _add(self, choice: _Choice) -> bool:
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

    def grow(self, piece: _Call) -> None:
        self._id = self._id or piece.id or ""
        if piece.function is not None:
            self._name = self._name or piece.function.name or ""
            self._arguments.append(piece.function.arguments or "")

    def whole(self) -> dict[str, Any]:
        function = {"name": self._name, "arguments": "".join(self._arguments)}
        return {"id": self._id, "type": "function", "function": function}


def note_head(head: dict[str, Any], chunk: _Chunk) -> None:
    """What chunks say about the whole answer; the last word holds."""
    head.update({name: value for name in _HEAD if (value := getattr(chunk, name)) is not None})
