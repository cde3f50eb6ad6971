"""End what one of our own messages could not get done. A dead letter is a message, not a verdict: it is looked into."""

from __future__ import annotations

import msgspec

from promptmill.domain import layout, messages
from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job import Source, make_job_id
from promptmill.domain.messages import ChunkMessage, FinishMessage, PlanMessage
from promptmill.domain.uploads import plans_of
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.ledger import Charges
from promptmill.ports.message_queue import EventBus, WorkQueue
from promptmill.ports.object_store import ObjectStore
from promptmill.workflows.finish_job import finish_job
from promptmill.workflows.plan_job import RUN, open_job, reject_job
from promptmill.workflows.read_manifest import ReadManifest
from promptmill.workflows.settle_chunk import settle_chunk


async def settle_dead_letter(
    body: str,
    *,
    objects: ObjectStore,
    jobs: Jobs,
    ledger: Charges,
    queue: WorkQueue,
    events: EventBus,
    manifests: ReadManifest,
    clock: Clock,
    lease_s: int,
) -> str:
    """What was done, in a word or two. Safe to repeat."""
    message = _message(body)
    if isinstance(message, ChunkMessage):
        verdict = await settle_chunk(
            message,
            objects=objects,
            jobs=jobs,
            ledger=ledger,
            queue=queue,
            manifests=manifests,
            clock=clock,
            lease_s=lease_s,
        )
        return f"chunk {verdict}"
    if isinstance(message, FinishMessage):
        finished = await finish_job(
            message.job_id,
            message.run,
            objects=objects,
            jobs=jobs,
            ledger=ledger,
            events=events,
            manifests=manifests,
            clock=clock,
        )
        return f"finish {finished.verdict}"
    for plan in [message] if message else plans_of(body):
        await _settle_plan(plan, objects=objects, jobs=jobs, events=events, clock=clock)
    return "plan rejected"


def _message(body: str) -> messages.Message | None:
    try:
        return messages.decode_any(body)
    except msgspec.ValidationError:
        return None


async def _settle_plan(
    message: PlanMessage, *, objects: ObjectStore, jobs: Jobs, events: EventBus, clock: Clock
) -> None:
    found = await objects.head(message.key, version=message.version)
    if found is None or not layout.starts_a_job(message.key):
        return
    source = Source(found.key, found.version, found.size, found.modified_at)
    job = await jobs.read(make_job_id(source), RUN) or await open_job(source, jobs, clock)
    error = RejectedFileError(
        "the file could not be planned: every worker that tried ended",
        code="planning_failed",
        remedy="see the log of plan_job for the cause, then drop the file again",
    )
    await reject_job(job, error, jobs=jobs, objects=objects, events=events, clock=clock)
