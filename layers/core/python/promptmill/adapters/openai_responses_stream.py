"""A stream of OpenAI's responses protocol: its last event holds the whole response."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from promptmill.adapters.json_answers import converted, parsed
from promptmill.adapters.stream_events import StreamEvent

_PIECES = frozenset(
    (
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
    )
)
_LAST = frozenset(("response.completed", "response.incomplete", "response.failed"))


class _Event(Struct):
    type: str
    response: dict[str, Any] | None = None
    error: Any = None


class ResponseAssembler:
    """See Assembler."""

    def __init__(self) -> None:
        self.is_complete = False
        self._response: dict[str, Any] = {}

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        if not event.data.startswith(b"{"):
            return False
        told = converted(parsed(event.data), _Event)
        if told is None:
            return False
        if told.type in _LAST:
            self._end(told)
        return told.type in _PIECES

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        return self._response

    def _end(self, event: _Event) -> None:
        """Perplexity's failures hold an error and no response."""
        failed = {"status": "failed", "error": event.error, "output": []} if event.type == "response.failed" else {}
        self._response = {**failed, **(event.response or {})}
        self.is_complete = bool(self._response)
