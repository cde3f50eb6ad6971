"""Helpers for the vendors' own bodies, which InvokeModel carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from promptmill.domain.completion import Message, Text, Usage
from promptmill.wire.json_answers import convert, make_usage
from promptmill.wire.loose_json import as_count, as_object, count_in, parse_json
from promptmill.wire.stream_events import StreamEvent

WIRE_FORMAT: Final = "bedrock-invoke"
LABEL = "Bedrock"
METRICS = "amazon-bedrock-invocationMetrics"
"""The field that Bedrock adds to the last chunk of a stream."""
_COUNTS = "x-amzn-bedrock-{}-token-count"


class _Chunk(Struct, rename={"data": "bytes"}):
    data: bytes = b""


def user_messages(*texts: str) -> tuple[Message, ...]:
    """Return a message of the user's for each text."""
    return tuple(Message("user", (Text(text),)) for text in texts)


def chunk_json(event: StreamEvent) -> Any:
    """Return the vendor's JSON in an event, or None if it holds none."""
    chunk = convert(parse_json(event.data), _Chunk) if event.name == "chunk" else None
    return parse_json(chunk.data) if chunk else None


def read_counted_usage(headers: Mapping[str, str], raw: Any) -> Usage | None:
    """Return the usage as Bedrock counts it for every vendor: in the headers, or in the last chunk of a stream."""
    metrics = as_object(as_object(raw).get(METRICS))
    fresh, answered = as_count(metrics.get("inputTokenCount")), as_count(metrics.get("outputTokenCount"))
    if fresh is None or answered is None:
        return _read_header_usage(headers)
    read = count_in(metrics, "cacheReadInputTokenCount")
    return _make_vendor_usage(fresh, answered, read, count_in(metrics, "cacheWriteInputTokenCount"))


def _read_header_usage(headers: Mapping[str, str]) -> Usage | None:
    fresh = _count(headers, "input")
    if fresh is None:
        return None
    others = (_count(headers, name) or 0 for name in ("output", "cache-read-input", "cache-write-input"))
    return _make_vendor_usage(fresh, *others)


def _count(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(_COUNTS.format(name), "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None  # noqa: PLR2004 (no count is as long)


def _make_vendor_usage(fresh: int, answered: int, read: int, written: int) -> Usage | None:
    """Return the usage. Fresh input excludes what was read from and written to the cache."""
    if fresh < 0 or answered < 0:
        return None
    read, written = max(0, read), max(0, written)
    return make_usage(
        input_total=fresh + read + written,
        cache_read=read,
        cache_write=written,
        output_total=answered,
        reasoning=0,
    )


class InvokeAssembler:
    """See Assembler. The vendor's ``join`` puts the chunks together.

    Args:
        join: makes an answer of the JSON of all chunks, in their order.
        ends: says whether a chunk is the answer's last.
    """

    def __init__(
        self, join: Callable[[list[dict[str, Any]]], dict[str, Any]], ends: Callable[[dict[str, Any]], bool]
    ) -> None:
        self._join, self._ends = join, ends
        self._chunks: list[dict[str, Any]] = []
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        chunk = chunk_json(event)
        if not isinstance(chunk, dict):
            return False
        self._chunks.append(chunk)
        self.is_complete = self.is_complete or METRICS in chunk or self._ends(chunk)
        return True

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        last = self._chunks[-1] if self._chunks else {}
        metrics = {METRICS: last[METRICS]} if METRICS in last else {}
        return {**self._join(self._chunks), **metrics}
