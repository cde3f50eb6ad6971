"""The records of a chunk, from the object that was cut."""

from __future__ import annotations

from typing import Literal

from msgspec import structs

from promptmill.domain.dialects.dialect import ChunkRange
from promptmill.domain.dialects.registry import dialect_named
from promptmill.domain.job import Manifest
from promptmill.domain.planning import MAX_BYTES
from promptmill.domain.record import Failure, RawRecord
from promptmill.ports.object_store import ObjectReader


async def chunk_records(manifest: Manifest, chunk: ChunkRange, *, objects: ObjectReader) -> list[RawRecord]:
    """In order; a record too large to read is one that says so.

    Raises:
        ValueError: the bytes are not those that were cut.
    """
    if chunk.oversized:
        return [_too_large(chunk)]
    data = await objects.read(manifest.cut_key, start=chunk.start, end=chunk.end, version=manifest.cut_version)
    records = list(dialect_named(manifest.facts.dialect).split(data, chunk, manifest.facts))
    if len(records) != chunk.records:
        raise ValueError(f"chunk {chunk.number} holds {len(records)} records, and its manifest says {chunk.records}")
    return records


def unreadable_records(chunk: ChunkRange) -> list[RawRecord]:
    """Stand-ins for a chunk whose bytes bring every worker down: places without content."""
    return [RawRecord(chunk.first_record + i, chunk.first_line, b"") for i in range(chunk.records)]


def failed_records(chunk: ChunkRange, code: Literal["file_gone", "chunk_changed"]) -> list[RawRecord]:
    """Stand-ins for a chunk that cannot be read, now or later."""
    failure = Failure("record", code, _UNREADABLE[code])
    return [structs.replace(record, error=failure) for record in unreadable_records(chunk)]


_UNREADABLE = {
    "file_gone": "the file was deleted before this record was read. Drop it again",
    "chunk_changed": "the file is not what it was when it was planned. Drop it again",
}


def _too_large(chunk: ChunkRange) -> RawRecord:
    size, limit = chunk.end - chunk.start, MAX_BYTES >> 20
    message = f"line {chunk.first_line}: the record has {size:,} bytes. Split it: {limit} MiB is the most"
    return RawRecord(chunk.first_record, chunk.first_line, b"", Failure("record", "record_too_large", message))
