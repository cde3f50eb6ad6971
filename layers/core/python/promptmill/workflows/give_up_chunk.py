"""The result of a chunk that cannot be run: every record fails, none is lost."""

from __future__ import annotations

from promptmill.domain import chunk_result
from promptmill.domain.dialects.dialect import ChunkRange
from promptmill.domain.errors import MissingObjectError
from promptmill.domain.job import Manifest
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.domain.times import utc_day
from promptmill.ports.clock import Clock
from promptmill.ports.object_store import ObjectReader
from promptmill.workflows.chunk_records import chunk_records, unreadable_records
from promptmill.workflows.chunk_sheet import ChunkSheet

_NO_USE_TRYING = (MissingObjectError, ValueError, LookupError, TypeError, RecursionError, MemoryError)
"""What brought the workers down may do so here; what S3 cannot do now comes again."""


async def give_up_chunk(
    manifest: Manifest, number: int, epoch: int, *, objects: ObjectReader, clock: Clock
) -> chunk_result.ChunkResult:
    """Written instead of answers once a chunk has brought its workers down too often."""
    chunk = manifest.chunks[number]
    sheet = ChunkSheet(manifest, chunk.records)
    for place, record in enumerate(await _records(manifest, chunk, objects)):
        message = f"line {record.line}: its chunk could not be run: every worker that tried ended. Drop it again"
        failure = record.error or Failure("worker", "worker_crashed", message)
        sheet.put(place, Outcome(record, None, failure))
    return sheet.result(chunk=number, epoch=epoch, day=utc_day(clock.now()))


async def _records(manifest: Manifest, chunk: ChunkRange, objects: ObjectReader) -> list[RawRecord]:
    try:
        return await chunk_records(manifest, chunk, objects=objects)
    except _NO_USE_TRYING:
        return unreadable_records(chunk)
