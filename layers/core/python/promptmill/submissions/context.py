"""What one step of a submission works with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.errors import JobFilesGoneError, RouteClosedError
from promptmill.domain.job import JobRun, Manifest
from promptmill.domain.times import rfc3339
from promptmill.domain.units import Claim
from promptmill.engine.history import History
from promptmill.engine.takeover import recover_unit
from promptmill.engine.unit import UnitRuntime
from promptmill.jobs.chunk_unit import ChunkUnit, ChunkWorker, LeftChunk
from promptmill.jobs.context import JobContext
from promptmill.jobs.run_chunks import NoMessage
from promptmill.ports.batch_service import BatchOrder, BatchService, BatchServices
from promptmill.ports.object_store import ObjectEraser
from promptmill.ports.submissions import Submission, Submissions

T = TypeVar("T")

SHOWN_S = 180.0
"""How long after a sign of life another stepper begins. Several may work at once, and only waste each other's time."""
_SIGN_S = 60.0


class SubmissionContext(Struct, frozen=True):
    """The ports and values with which submissions are stepped.

    Attributes:
        runtime: its ``ends_at`` is when the step must be over.
        eraser: erases what was staged. It may erase nothing but that.
    """

    jobs: JobContext
    runtime: UnitRuntime
    store: Submissions
    services: BatchServices
    eraser: ObjectEraser


class Stepping:
    """One submission as one step sees it.

    Attributes:
        job: its run, None once that was forgotten.
        manifest: None where the run's own files are gone: then nobody knows any more what lies in the chunks.
    """

    def __init__(self, context: SubmissionContext, submission: Submission) -> None:
        self.context, self.submission = context, submission
        self.job: JobRun | None = None
        self.manifest: Manifest | None = None
        self._shown_at = context.runtime.clock.monotonic()

    async def look(self, submission: Submission) -> None:
        """Take over what is there now of the submission and of its run."""
        self.submission, jobs = submission, self.context.jobs
        self.job = await jobs.jobs.read(submission.job_id, submission.run)
        try:
            self.manifest = await jobs.manifests(submission.job_id, submission.run)
        except JobFilesGoneError:
            self.manifest = None

    @property
    def service(self) -> BatchService:
        """Return the route's service. Raises RouteClosedError: it has none."""
        found = self.context.services.service_for(self.submission.route)
        if found is None:
            raise RouteClosedError("no_batches")
        return found

    @property
    def is_over_time(self) -> bool:
        """Return True if this step should end, and leave the rest to the next one."""
        runtime = self.context.runtime
        return runtime.clock.monotonic() >= runtime.ends_at

    @property
    def now(self) -> str:
        return rfc3339(self.context.runtime.clock.now())

    def in_time(self, seconds: float) -> str:
        return rfc3339(self.context.runtime.clock.now() + timedelta(seconds=seconds))

    def seconds_since(self, moment: str) -> float:
        return (self.context.runtime.clock.now() - datetime.fromisoformat(moment)).total_seconds()

    async def show_life(self) -> None:
        """Keep other steppers away for a while."""
        clock = self.context.runtime.clock
        if clock.monotonic() - self._shown_at >= _SIGN_S:
            self._shown_at = clock.monotonic()
            await self.context.store.schedule(self.submission.holder, next_at=self.in_time(SHOWN_S))

    def why_unwanted(self) -> str:
        """Return why nobody waits for the answers of this submission any more, "" while somebody does."""
        if self.job is None or self.job.state.terminal or self.manifest is None:
            return "run_over"
        if self.job.stop or self.submission.given_at:
            return self.job.stop or "given"
        return "due" if self.now >= self.submission.due_at else ""

    async def unit(self, chunk: int) -> ChunkUnit:
        """Return the unit of a chunk. Raises JobFilesGoneError: what says where it lies was deleted."""
        if self.job is None or self.manifest is None:
            raise JobFilesGoneError(f"run {self.submission.run} of job {self.submission.job_id}")
        context = self.context
        place = await context.jobs.manifests.chunk_range(self.manifest, chunk)
        return ChunkUnit(self.job, self.manifest, place, ChunkWorker(context.jobs, context.runtime, NoMessage()))

    async def charged_unit(self, chunk: int) -> ChunkUnit | LeftChunk | None:
        """Return the unit of a chunk as far as its run's files allow, None if nothing is known of the run."""
        try:
            return await self.unit(chunk)
        except JobFilesGoneError:
            return LeftChunk(self.job, chunk, NoMessage()) if self.job is not None else None

    def order(self) -> BatchOrder:
        """Return what is sent: the lines of the frozen chunks, in order."""
        submission, objects = self.submission, self.context.runtime.objects
        frozen = submission.frozen or ()

        async def read() -> AsyncIterator[bytes]:
            for chunk in frozen:
                async for block in objects.stream(layout.batch_lines_key(submission.id, chunk.chunk)):
                    yield block

        hours = datetime.fromisoformat(submission.due_at) - datetime.fromisoformat(submission.created_at)
        return BatchOrder(
            submission.id,
            submission.lines,
            submission.size,
            read,
            folder=layout.batch_lines_prefix(submission.id),
            output=layout.batch_output_prefix(submission.id),
            window_h=-(-int(hours.total_seconds()) // 3600),
        )


async def recover_before(unit: ChunkUnit, claim: Claim, runtime: UnitRuntime) -> History:
    """Return what owners before our epoch did. A submission may have written its own intents by then: they are left out."""
    found = await recover_unit(unit.name, claim, journals=unit.journals, objects=runtime.objects, units=runtime.units)
    return History(tuple(call for call in found.calls if call.epoch < claim.epoch), found.results)


class StagingPatience:
    """The ``Patience`` of what is staged: slow detectors may take their time."""

    def __init__(self, runtime: UnitRuntime) -> None:
        self._clock = runtime.clock

    async def pause(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def cancel_when_ended(self, work: Coroutine[Any, Any, T]) -> T:
        return await work
