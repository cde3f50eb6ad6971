"""A chunk's result: one object, written once.

A line of JSON (``ChunkHeader``), then sections of bytes: result lines, error lines and attempts, which finish_job joins
as they are, and an index by which a later run finds the answers that it keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct, structs

from promptmill.domain.money import usd_text
from promptmill.domain.record import Attempt, RecordResult
from promptmill.domain.tally import RouteCost, Tally, tally_results
from promptmill.engine.history import Call, History, sum_costs
from promptmill.reports.run_figures import RunFigures, figures_of


class ChunkHeader(Struct, frozen=True):
    """The first line of the object. The sizes are in bytes; ``kept`` counts answers taken over from an earlier run."""

    chunk: int
    tally: Tally
    costs: tuple[RouteCost, ...]
    results_size: int
    errors_size: int
    attempts_size: int
    index_size: int
    kept: int = 0
    figures: RunFigures = RunFigures()


class ChunkResult(Struct, frozen=True):
    header: ChunkHeader
    results: bytes
    errors: bytes
    attempts: bytes
    index: bytes = b""


class _Mark(Struct, frozen=True, array_like=True):
    """One record in the index: its result without the bytes."""

    result: RecordResult
    line_size: int
    error_size: int


def chunk_result(chunk: int, results: Sequence[RecordResult], history: History, *, kept: int = 0) -> ChunkResult:
    """Make the result of a chunk: a pure function, so that whoever ends the chunk writes the same bytes.

    ``results`` holds one for each record, in order; ``kept`` counts answers taken over from an earlier run.
    """
    lines = b"".join(result.line for result in results)
    errors = b"".join(result.error for result in results)
    attempts = encode_attempts(history)
    index = msgspec.msgpack.encode([_mark(result) for result in results])
    made = [attempt for _, attempt in history.attempts()]
    tally, figures = tally_results(results, made), figures_of(results, made)
    sizes = (len(lines), len(errors), len(attempts), len(index))
    header = ChunkHeader(chunk, tally, sum_costs(history), *sizes, kept, figures)
    return ChunkResult(header, lines, errors, attempts, index)


def split_results(result: ChunkResult) -> Iterator[RecordResult]:
    """Return the result of each record, in order."""
    line_at = error_at = 0
    for mark in _index_decoder.decode(result.index):
        line = result.results[line_at : line_at + mark.line_size]
        error = result.errors[error_at : error_at + mark.error_size]
        yield structs.replace(mark.result, line=line, error=error)
        line_at, error_at = line_at + mark.line_size, error_at + mark.error_size


def _mark(result: RecordResult) -> _Mark:
    return _Mark(structs.replace(result, line=b"", error=b""), len(result.line), len(result.error))


_index_decoder = msgspec.msgpack.Decoder(list[_Mark])
_decoder = msgspec.json.Decoder(ChunkHeader)


def encode(result: ChunkResult) -> bytes:
    """Encode a result as the bytes of its object."""
    header = msgspec.json.encode(result.header)
    return b"".join((header, b"\n", result.results, result.errors, result.attempts, result.index))


def decode(data: bytes) -> ChunkResult:
    """Decode the bytes of an object. Raises ValueError: not a chunk result, or cut short."""
    end = data.index(b"\n")
    header = _decoder.decode(data[:end])
    sizes = (header.results_size, header.errors_size, header.attempts_size, header.index_size)
    if len(data) != end + 1 + sum(sizes):
        raise ValueError(f"chunk {header.chunk}: {len(data)} bytes do not match its header")
    sections = []
    start = end + 1
    for size in sizes:
        sections.append(data[start : start + size])
        start += size
    return ChunkResult(header, *sections)


def decode_header(start: bytes) -> ChunkHeader:
    """Decode the header from the first bytes of an object. Raises ValueError: its first line is not whole."""
    return _decoder.decode(start[: start.index(b"\n")])


def encode_attempts(history: History) -> bytes:
    """Encode the lines of ``attempts.jsonl``. ``cost_usd`` is null where it is unknown, and then at most ``high_usd``."""
    lines: Iterable[bytes] = (msgspec.json.encode(_attempt_line(*made)) + b"\n" for made in history.attempts())
    return b"".join(lines)


def _attempt_line(call: Call, attempt: Attempt) -> dict[str, object]:
    high = call.intent.high if attempt.price.nano_usd is None else attempt.price.nano_usd
    nano, usage = attempt.price.nano_usd, attempt.usage
    return {
        "call_id": attempt.call_id,
        "record": attempt.record,
        "route": attempt.route,
        "model": attempt.model,
        "started_at": attempt.started_at,
        "latency_ms": attempt.latency_ms,
        "first_token_ms": attempt.first_token_ms,
        "tokens_per_s": _round_rate(attempt.tokens_per_s),
        "code": attempt.code,
        "status": attempt.status,
        "input_tokens": usage.input_total,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "output_tokens": usage.output_total,
        "reasoning_tokens": usage.reasoning,
        "usage_source": usage.source,
        "cost_usd": None if nano is None else usd_text(nano),
        "high_usd": None if high is None else usd_text(high),
        "nano_usd": nano,
        "price_basis": attempt.price.basis,
        "provider_request_id": attempt.request_id,
    }


def _round_rate(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 1)
