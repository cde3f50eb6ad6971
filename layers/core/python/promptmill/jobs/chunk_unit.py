"""A chunk of a run as the engine sees it, and what a worker works on it with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from msgspec import Struct, field, structs

from promptmill.calls.call_gate import ClosedRoutes
from promptmill.calls.complete_record import render_result
from promptmill.domain import layout
from promptmill.domain.errors import InconsistentError, MissingObjectError, RefusedByAwsError, RejectedFileError
from promptmill.domain.job import Counts, JobRun, Manifest
from promptmill.domain.job_file import MAX_BYTES, ChunkRange, FileFacts
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Failure, Outcome, RawRecord, RecordResult
from promptmill.domain.tally import tally_results
from promptmill.domain.times import rfc3339
from promptmill.domain.units import Gate, Verdict, chunk_unit, gate_of
from promptmill.engine.answer_unit import Draining
from promptmill.engine.history import History
from promptmill.engine.takeover import record_charges
from promptmill.engine.unit import UnitRuntime
from promptmill.formats.cutting import make_cutter
from promptmill.formats.file_format import FileFormat, format_named
from promptmill.jobs import chunk_result
from promptmill.jobs.context import JobContext
from promptmill.jobs.earlier_results import read_kept_results
from promptmill.jobs.runs_beside import OpenChunks
from promptmill.jobs.status import publish_status_in_turn
from promptmill.jobs.stop_run import make_stop_failure, stop_run
from promptmill.ports.message_queue import MessageLease
from promptmill.ports.object_store import ObjectReader


class CutObject(Struct, frozen=True):
    """The object that chunks are ranges of: the source of a job, or its staged form."""

    key: str
    version: str
    facts: FileFacts


async def read_records(chunk: ChunkRange, cut: CutObject, *, objects: ObjectReader) -> list[RawRecord]:
    """Read the records of a chunk in order. One that is too large to read becomes a record that says so.

    Raises:
        ValueError: the bytes are not those that were cut.
    """
    if chunk.oversized:
        return [_make_oversized_record(chunk)]
    data = await objects.read(cut.key, start=chunk.start, end=chunk.end, version=cut.version)
    records = list(format_named(cut.facts.format).split(data, chunk, cut.facts))
    if len(records) != chunk.records:
        raise ValueError(f"chunk {chunk.number} holds {len(records)} records, and its manifest says {chunk.records}")
    return records


async def find_records(chunk: ChunkRange, cut: CutObject, *, objects: ObjectReader) -> list[ChunkRange]:
    """Return where each record of a chunk lies. Its bytes pass by as they did when they were cut, and are not read.

    Raises:
        ValueError: the bytes are not those that were cut.
    """
    if chunk.oversized:
        return [chunk]
    facts = structs.replace(cut.facts, body_start=chunk.start, first_line=chunk.first_line)
    cutter = make_cutter(facts, max_records=1, max_bytes=MAX_BYTES)
    places: list[ChunkRange] = []
    async for block in objects.stream(cut.key, start=chunk.start, end=chunk.end, version=cut.version):
        places += cutter.feed(block)
    try:
        places += cutter.finish()
    except RejectedFileError as error:
        raise ValueError(str(error)) from error
    if len(places) != chunk.records:
        raise ValueError(f"chunk {chunk.number} holds {len(places)} records, and its manifest says {chunk.records}")
    return [structs.replace(place, first_record=chunk.first_record + n) for n, place in enumerate(places)]


def make_empty_records(chunk: ChunkRange) -> list[RawRecord]:
    """Return stand-ins for a chunk whose bytes bring every worker down: places without content."""
    return [RawRecord(chunk.first_record + i, chunk.first_line, b"") for i in range(chunk.records)]


def make_failed_records(chunk: ChunkRange, code: str, message: str) -> list[RawRecord]:
    """Return stand-ins for a chunk that cannot be read, now or later."""
    failure = Failure("record", code, message)
    return [structs.replace(record, error=failure) for record in make_empty_records(chunk)]


_GONE = "the file was deleted before this record was read. Drop it again"
_CHANGED = "the file is not what it was when it was planned. Drop it again"


def _make_oversized_record(chunk: ChunkRange) -> RawRecord:
    size, limit = chunk.end - chunk.start, MAX_BYTES >> 20
    message = f"line {chunk.first_line}: the record has {size:,} bytes. Split it: {limit} MiB is the most"
    return RawRecord(chunk.first_record, chunk.first_line, b"", Failure("record", "record_too_large", message))


class ChunkWorker(Struct, frozen=True):
    """The ports and values with which one message of the chunks queue is worked on.

    Attributes:
        runtime: what the engine works with in this invocation.
        draining: learns how far the chunk has got.
        joined: the invocation has a share of a limit already.
        redelivered: the message came before: whoever gave the chunk back may have done so because of this message,
            and have sent no other.
        waits_in_queue: the chunk's first message has not come to anybody yet, so it needs no copy as long as the chunk
            has not been claimed.
        open_chunks: those of the process.
    """

    context: JobContext
    runtime: UnitRuntime
    lease: MessageLease
    draining: Draining | None = None
    joined: bool = False
    redelivered: bool = False
    waits_in_queue: bool = False
    open_chunks: OpenChunks = field(default_factory=OpenChunks)


class LeftChunk(Struct, frozen=True):
    """The ``ChargedUnit`` of a chunk whose run ended without its files: nobody knows any more what lies in it."""

    job: JobRun
    chunk: int
    lease: MessageLease

    @property
    def name(self) -> str:
        return chunk_unit(self.job.job_id, self.job.run, self.chunk)

    @property
    def job_id(self) -> str:
        return self.job.job_id

    @property
    def recipe(self) -> Recipe:
        """Return the recipe as far as charges need it: the intents say which models were called."""
        return Recipe(name=self.job.recipe, version="", routes=())

    @property
    def journals(self) -> str:
        return layout.chunk_journals(self.job.job_id, self.job.run, self.chunk)


class ChunkUnit:
    """The ``Unit`` of one chunk."""

    def __init__(self, job: JobRun, manifest: Manifest, chunk: ChunkRange, worker: ChunkWorker) -> None:
        self._job, self._manifest, self._chunk = job, manifest, chunk
        self._context, self._runtime, self.lease = worker.context, worker.runtime, worker.lease
        self._records: list[RawRecord] | None = None
        self._places: dict[int, ChunkRange] = {}
        self._kept: dict[int, RecordResult] | None = None
        self.closed = ClosedRoutes(job.closed_routes, on_close=self._note_closed)

    @property
    def name(self) -> str:
        return chunk_unit(self._job.job_id, self._job.run, self._chunk.number)

    @property
    def job_id(self) -> str:
        return self._job.job_id

    @property
    def recipe(self) -> Recipe:
        return self._manifest.recipe

    @property
    def journals(self) -> str:
        return layout.chunk_journals(self._job.job_id, self._job.run, self._chunk.number)

    @property
    def gate(self) -> Gate:
        return gate_of(self._job.job_id, self._job.run, self._chunk.number)

    @property
    def file_format(self) -> FileFormat:
        return format_named(self._manifest.facts.format)

    @property
    def facts(self) -> FileFacts:
        return self._manifest.facts

    async def stop_code(self) -> str:
        job = await self._context.jobs.read(self._job.job_id, self._job.run)
        if job is not None and job.stop:
            return job.stop
        ends = datetime.fromisoformat(self._job.started_at) + timedelta(hours=self.recipe.give_up_after_h)
        if self._context.clock.now() < ends:
            return ""
        await self._stop("gave_up")
        return "gave_up"

    async def records(self) -> list[RawRecord]:
        """Return the records to answer. A further run leaves out those whose earlier outcome it keeps."""
        if self._records is None:
            kept = await self._kept_results()
            found = await self._read(self._chunk, self._read_all)
            self._records = [record for record in found if record.index not in kept]
        return self._records

    async def outline(self) -> list[RawRecord]:
        kept = await self._kept_results()
        return [place for place in await self._read(self._chunk, self._find_all) if place.index not in kept]

    async def read_record(self, place: RawRecord) -> RawRecord:
        at = self._places.get(place.index)
        return place if at is None else (await self._read(at, self._read_all))[0]

    @property
    def _cut(self) -> CutObject:
        return CutObject(self._manifest.cut_key, self._manifest.cut_version, self._manifest.facts)

    async def _read_all(self, chunk: ChunkRange) -> list[RawRecord]:
        return await read_records(chunk, self._cut, objects=self._context.objects)

    async def _find_all(self, chunk: ChunkRange) -> list[RawRecord]:
        found = await find_records(chunk, self._cut, objects=self._context.objects)
        self._places = {place.first_record: place for place in found}
        return [record for place in found for record in make_empty_records(place)]

    async def _read(
        self, chunk: ChunkRange, read: Callable[[ChunkRange], Awaitable[list[RawRecord]]]
    ) -> list[RawRecord]:
        """Return what is read of a chunk, or of one record of it; records that say why where it cannot be read."""
        try:
            return await read(chunk)
        except MissingObjectError:
            return make_failed_records(chunk, "file_gone", _GONE)
        except RefusedByAwsError as refusal:
            if not refusal.about_object:  # a fault of the deployment is a reason to wait, and says nothing of records
                raise
            words = f"{refusal.reason}. {refusal.remedy}; then resume the job"
            return make_failed_records(chunk, refusal.code, words)
        except ValueError:  # what was cut there is not what is there now, and never will be again
            return make_failed_records(chunk, "chunk_changed", _CHANGED)

    async def _kept_results(self) -> dict[int, RecordResult]:
        if self._kept is None:
            self._kept = await read_kept_results(self._manifest, self._chunk.number, self._context)
        return self._kept

    def result(self, outcome: Outcome) -> RecordResult:
        return render_result(outcome, self.file_format, self.facts, self.recipe, self.job_id)

    async def ends_without_money(self, code: str, *, waits: bool) -> bool:
        if not waits:
            await self._stop(code)
        return not waits

    async def progress(self, counts: Counts) -> None:
        job_id, run, at = self._job.job_id, self._job.run, rfc3339(self._context.clock.now())
        kept = tally_results((self._kept or {}).values(), ()).counts
        place = self._manifest.place_of(self._chunk.number)
        await self._context.jobs.note_progress(job_id, run, place, counts.plus(kept), at=at)
        await publish_status_in_turn(job_id, run, self._context)

    async def close(self, history: History, verdict: Verdict) -> None:
        results = await self._results(history, verdict)
        kept = sum(found.answered for found in (await self._kept_results()).values())
        result = chunk_result.chunk_result(self._chunk.number, results, history, kept=kept)
        await record_charges(self, history, runtime=self._runtime)
        key = layout.chunk_result_key(self._job.job_id, self._job.run, self._chunk.number)
        if not await self._context.objects.create(key, chunk_result.encode(result)):
            raise InconsistentError(f"the result of {self.name} is there, and differs")

    async def _results(self, history: History, verdict: Verdict) -> list[RecordResult]:
        known = await self._kept_results() | dict(history.results)
        missing = len(known) < self._chunk.records
        records = (make_empty_records(self._chunk) if verdict.unread else await self.records()) if missing else []
        left = {record.index: record for record in records}
        places = range(self._chunk.first_record, self._chunk.first_record + self._chunk.records)
        return [known.get(place) or self._stop_result(left[place], verdict, history) for place in places]

    def _stop_result(self, record: RawRecord, verdict: Verdict, history: History) -> RecordResult:
        failure = record.error or make_stop_failure(record, verdict.code)
        return self.result(Outcome(record, None, failure, attempts=history.attempts_of(record.index)))

    async def _stop(self, code: str) -> None:
        await stop_run(self._job.job_id, self._job.run, code, self._context)

    async def _note_closed(self, route: str, code: str) -> None:
        await self._context.jobs.close_route(self._job.job_id, self._job.run, route, code)
