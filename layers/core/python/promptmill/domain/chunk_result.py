"""A chunk's result: one object, written once.

A line of JSON (``ChunkHeader``), then three sections of bytes that finish_job joins as they are: result lines, error
lines, attempts. Written by whoever ends the chunk first; everything else about the chunk follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from promptmill.domain.money import usd_text
from promptmill.domain.record import Attempt
from promptmill.domain.tally import RouteCost, Tally


class ChunkHeader(Struct, frozen=True):
    """``day``: UTC, of the claim; the sizes are in bytes."""

    chunk: int
    epoch: int
    day: str
    tally: Tally
    costs: tuple[RouteCost, ...]
    results_size: int
    errors_size: int
    attempts_size: int


class ChunkResult(Struct, frozen=True):
    header: ChunkHeader
    results: bytes
    errors: bytes
    attempts: bytes


_decoder = msgspec.json.Decoder(ChunkHeader)


def encode(result: ChunkResult) -> bytes:
    """The object's bytes."""
    return b"".join((msgspec.json.encode(result.header), b"\n", result.results, result.errors, result.attempts))


def decode(data: bytes) -> ChunkResult:
    """Raises ValueError: not a chunk result, or cut short."""
    end = data.index(b"\n")
    header = _decoder.decode(data[:end])
    sizes = (header.results_size, header.errors_size, header.attempts_size)
    if len(data) != end + 1 + sum(sizes):
        raise ValueError(f"chunk {header.chunk}: {len(data)} bytes do not match its header")
    sections = []
    start = end + 1
    for size in sizes:
        sections.append(data[start : start + size])
        start += size
    return ChunkResult(header, *sections)


def attempt_lines(attempts: Sequence[Attempt]) -> bytes:
    """Lines of ``attempts.jsonl``; ``cost_usd`` is text, or null where the price is unknown."""
    return b"".join(msgspec.json.encode(_attempt_line(a)) + b"\n" for a in attempts)


def _attempt_line(attempt: Attempt) -> dict[str, object]:
    nano, usage = attempt.price.nano_usd, attempt.usage
    return {
        "call_id": attempt.call_id,
        "record": attempt.record,
        "route": attempt.route,
        "model": attempt.model,
        "started_at": attempt.started_at,
        "latency_ms": attempt.latency_ms,
        "code": attempt.code,
        "status": attempt.status,
        "input_tokens": usage.input_total,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "output_tokens": usage.output_total,
        "reasoning_tokens": usage.reasoning,
        "usage_source": usage.source,
        "cost_usd": None if nano is None else usd_text(nano),
        "nano_usd": nano,
        "price_basis": attempt.price.basis,
        "provider_request_id": attempt.request_id,
    }
