"""A stream of Bedrock's Converse, put together to the answer that the same call returns whole."""

from __future__ import annotations

from typing import Any

import msgspec

from promptmill.adapters.json_answers import parsed
from promptmill.adapters.stream_events import StreamEvent


class ConverseAssembler:
    """See Assembler. Events are named as in botocore's ``ConverseStreamOutput``; unknown ones are passed over."""

    def __init__(self) -> None:
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}
        self._role = "assistant"
        self._stop: dict[str, Any] = {}
        self._metadata: dict[str, Any] = {}
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        raw = parsed(event.data)
        if not isinstance(raw, dict):
            return False
        match event.name:
            case "contentBlockStart":
                self._start(raw)
            case "contentBlockDelta":
                return self._grow(_index(raw), raw.get("delta"))
            case "messageStop":
                self._stop = raw
            case "metadata":
                self._metadata, self.is_complete = raw, bool(self._stop)
        return False

    def _start(self, event: dict[str, Any]) -> None:
        start = event.get("start")
        if isinstance(start, dict) and isinstance(tool := start.get("toolUse"), dict):
            self._blocks[_index(event)] = {"toolUse": tool}

    def _grow(self, index: int, delta: Any) -> bool:
        if not isinstance(delta, dict):
            return False
        tool, thought = delta.get("toolUse"), delta.get("reasoningContent")
        pieces = {
            "text": delta.get("text"),
            "input": tool.get("input") if isinstance(tool, dict) else None,
            "thought": thought.get("text") if isinstance(thought, dict) else None,
        }
        for kind, piece in pieces.items():
            if isinstance(piece, str):
                self._pieces.setdefault((index, kind), []).append(piece)
                return bool(piece)
        return False

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        blocks = dict(self._blocks)
        for (index, kind), pieces in self._pieces.items():
            blocks[index] = _grown(blocks.get(index, {}), kind, "".join(pieces))
        answer: dict[str, Any] = {
            "output": {"message": {"role": self._role, "content": [blocks[index] for index in sorted(blocks)]}}
        }
        told = {
            name: value for name, value in self._stop.items() if name in ("stopReason", "additionalModelResponseFields")
        }
        known = ("usage", "metrics", "trace", "performanceConfig", "serviceTier")
        return answer | told | {name: self._metadata[name] for name in known if name in self._metadata}


def _index(event: dict[str, Any]) -> int:
    index = event.get("contentBlockIndex")
    return index if isinstance(index, int) else 0


def _grown(block: dict[str, Any], kind: str, text: str) -> dict[str, Any]:
    match kind:
        case "input":
            return {"toolUse": {**block.get("toolUse", {}), "input": _arguments(text)}}
        case "thought":
            return {"reasoningContent": {"reasoningText": {"text": text}}}
    return {"text": text}


def _arguments(text: str) -> Any:
    """A tool's arguments; as they came where they are no JSON."""
    try:
        return msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
