"""A stream in Anthropic's Messages protocol, put together to the message that the same call returns whole."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from promptmill.adapters.json_answers import converted, parsed
from promptmill.adapters.stream_events import StreamEvent

_GROWING = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "input"),
}
"""By the kind of a delta: its field, and the block's field that grows by it."""


class _Event(Struct):
    type: str
    index: int = 0
    message: dict[str, Any] | None = None
    content_block: dict[str, Any] | None = None
    delta: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


class MessageAssembler:
    """See Assembler. Events that nobody knows are passed over."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._grown: dict[tuple[int, str], list[str]] = {}
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        return self.add_json(parsed(event.data))

    def add_json(self, raw: Any) -> bool:
        """An event whose JSON has been read."""
        event = converted(raw, _Event)
        if event is None:
            return False
        match event.type:
            case "message_start":
                self._message = dict(event.message or {})
            case "content_block_start":
                self._blocks[event.index] = event.content_block or {}
            case "content_block_delta":
                return self._grow(event.index, event.delta or {})
            case "message_delta":
                self._finish(event)
            case "message_stop":
                self.is_complete = True
        return False

    def _grow(self, index: int, delta: dict[str, Any]) -> bool:
        kind = delta.get("type")
        field, name = _GROWING.get(kind, ("", "")) if isinstance(kind, str) else ("", "")
        piece = delta.get(field)
        if not isinstance(piece, str):
            return False
        self._grown.setdefault((index, name), []).append(piece)
        return bool(piece)

    def _finish(self, event: _Event) -> None:
        """Counts are cumulative, and null where there is nothing new to say."""
        told = {name: count for name, count in (event.usage or {}).items() if count is not None}
        before = self._message.get("usage")
        self._message.update(event.delta or {})
        self._message["usage"] = {**before, **told} if isinstance(before, dict) else told

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        blocks = dict(self._blocks)
        for (index, name), pieces in self._grown.items():
            block = blocks.get(index, {"type": "text"})
            text = "".join(pieces)
            blocks[index] = {**block, name: _json(text) if name == "input" else f"{block.get(name) or ''}{text}"}
        return {**self._message, "content": [blocks[index] for index in sorted(blocks)]}


def _json(text: str) -> Any:
    """As it came where it is none."""
    try:
        return msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
