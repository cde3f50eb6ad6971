"""Decide what of a run goes into batches, cut it into submissions, and see that each of them is stepped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from promptmill.domain.completion import Usage
from promptmill.domain.errors import JobFilesGoneError, RouteClosedError
from promptmill.domain.job import JobRun, JobState, Manifest
from promptmill.domain.job_file import ChunkRange
from promptmill.domain.messages import ChunkMessage, StepMessage
from promptmill.domain.recipe import Recipe, Route
from promptmill.domain.times import rfc3339
from promptmill.engine.heartbeat import run_with_lease
from promptmill.jobs.context import JobContext
from promptmill.jobs.manifests import missing_chunks
from promptmill.jobs.send_chunks import send_first_live, take_window
from promptmill.jobs.stop_run import cancel_job, end_without_files
from promptmill.ports.ledger import PriceBook
from promptmill.ports.message_queue import MessageLease, WorkQueue
from promptmill.ports.submissions import Holder, Submission, Submissions
from promptmill.submissions.context import SHOWN_S, SubmissionContext
from promptmill.submissions.sending import CANCEL_S
from promptmill.submissions.step import Stepped, step
from promptmill.wire.batches.terms import BatchTerms

MAX_SUBMISSIONS = 50
"""How many submissions a run may have: what is more goes live."""
MAX_CHUNKS = 200
"""How many chunks a submission may have: it names all of them in one item."""
MAX_SENT = 100
"""How many steps one sweep sends."""
_FULL = 0.9
_GROWTH = 2
"""How much larger a line of a batch may be than what stands in the file. What does not fit after all goes live."""
_A_CALL_S = 10.0
_MARGIN = 1.45
_CANCEL_S = CANCEL_S + 15 * 60.0
"""How long it takes at most until a batch that is due has ended, or is given up: its next look may be 10 minutes away."""


class LaneChoice(Struct, frozen=True):
    """The lane of a run, and why.

    Attributes:
        reason: in words, for people.
        due_at: when what is in batches is cancelled, so that the rest can be answered live in time.
    """

    lane: Literal["batch", "live"]
    reason: str
    due_at: str = ""


def choose_lane(
    recipe: Recipe, *, records: int, started_at: str, terms: BatchTerms | None, prices: PriceBook, now: datetime
) -> LaneChoice:
    """Decide whether a run goes into batches. Trying costs nothing but time, and the rescue keeps the promise.

    ``terms``: what the service of the first route takes, None if it has none.
    """
    route = recipe.routes[0]
    if terms is None:
        return LaneChoice("live", f"{route.provider} has no batches that this deployment can use")
    if records < terms.min_lines:
        return LaneChoice("live", f"{terms.label} takes no batch of fewer than {terms.min_lines} lines")
    if recipe.lane == "auto" and not is_cheaper(route, prices=prices, at=now):
        return LaneChoice("live", f"a batch of {route.model} is not known to cost less")
    due = datetime.fromisoformat(started_at) + timedelta(hours=recipe.deadline_h, seconds=-live_time_s(recipe, records))
    if due <= now:
        return LaneChoice("live", "the deadline leaves no time to wait for a batch")
    return LaneChoice("batch", f"batches at {terms.label}", rfc3339(due))


def live_time_s(recipe: Recipe, records: int) -> float:
    """Return how long live calls may need for so many records, should no batch answer any: one worker, and slow answers."""
    return _MARGIN * records * _A_CALL_S / recipe.routes[0].in_flight + _CANCEL_S


def is_cheaper(route: Route, *, prices: PriceBook, at: datetime) -> bool:
    """Return True if the prices of live calls and of batches are both known, and that of batches is lower."""
    usage = Usage(input_total=1_000, output_total=0 if route.endpoint == "embeddings" else 1_000)
    live = prices.price(route, usage, model="", at=at).nano_usd
    batch = prices.price_in_batch(route, usage, model="", at=at).nano_usd
    return live is not None and batch is not None and batch < live


def cut_submissions(chunks: Sequence[ChunkRange], terms: BatchTerms) -> list[tuple[int, ...]]:
    """Cut chunks, in order, into groups that a batch takes. A group with too few lines goes into the one before."""
    groups = [tuple(group) for group in _fill(chunks, terms)]
    if len(groups) > 1 and sum(chunk.records for chunk in groups[-1]) < terms.min_lines:
        both = [*groups.pop(-2), *groups.pop()]
        groups += [tuple(both[: len(both) // 2]), tuple(both[len(both) // 2 :])]
    return [tuple(chunk.number for chunk in group) for group in groups]


def _fill(chunks: Sequence[ChunkRange], terms: BatchTerms) -> Iterator[list[ChunkRange]]:
    group: list[ChunkRange] = []
    for chunk in chunks:
        grown = [*group, chunk]
        lines, size = sum(each.records for each in grown), _GROWTH * sum(each.end - each.start for each in grown)
        if group and (len(grown) > MAX_CHUNKS or lines > _FULL * terms.max_lines or size > _FULL * terms.max_bytes):
            yield group
            group = []
        group.append(chunk)
    if group:
        yield group


async def plan_run(job_id: str, run: int, context: SubmissionContext) -> LaneChoice | None:
    """Put a run into batches, or send its first chunks to live workers. It is safe to repeat.

    Two planners at once may make twice as many submissions as are needed: each chunk goes into one of them only.

    Returns:
        What was decided; None for a run that needs no decision any more.
    """
    jobs = context.jobs
    job = await jobs.jobs.read(job_id, run)
    if job is None or job.state is not JobState.RUNNING:
        return None
    try:
        manifest = await jobs.manifests(job_id, run)
        window = await jobs.jobs.read_window(job_id, run)
        planned = [found async for found in context.store.of_run(job_id, run)]
        if manifest.recipe.lane == "live" or (window.sent and not planned):
            return None
        choice = await _choose(job, manifest, context)
        if choice.lane == "live" and not planned:
            await send_first_live(manifest, jobs)
            return choice
        if not planned:
            planned = await _make_submissions(job, manifest, choice, context)
    except JobFilesGoneError:
        await end_without_files(job_id, run, jobs)
        return None
    await _begin(manifest, planned, choice, context)
    return choice


async def _choose(job: JobRun, manifest: Manifest, context: SubmissionContext) -> LaneChoice:
    recipe, clock = manifest.recipe, context.jobs.clock
    if job.stop:
        return LaneChoice("live", "the run is ending")
    return choose_lane(
        recipe,
        records=manifest.records - manifest.kept.done,
        started_at=job.started_at,
        terms=await _terms_of(recipe.routes[0], context),
        prices=context.jobs.prices,
        now=clock.now(),
    )


async def _terms_of(route: Route, context: SubmissionContext) -> BatchTerms | None:
    service = context.services.service_for(route)
    try:
        return None if service is None else await service.terms(route)
    except RouteClosedError:
        return None


async def _make_submissions(
    job: JobRun, manifest: Manifest, choice: LaneChoice, context: SubmissionContext
) -> list[Submission]:
    jobs, route = context.jobs, manifest.recipe.routes[0]
    most = MAX_SUBMISSIONS * MAX_CHUNKS
    missing = await missing_chunks(manifest, most=most, objects=jobs.objects)
    chunks = [await jobs.manifests.chunk_range(manifest, chunk) for chunk in missing]
    terms, now = await _terms_of(route, context), rfc3339(jobs.clock.now())
    groups = cut_submissions(chunks, terms)[:MAX_SUBMISSIONS] if terms is not None else []
    made = []
    for group in groups:
        made.append(
            Submission(
                id=f"{jobs.rng.getrandbits(96):024x}",
                job_id=job.job_id,
                run=job.run,
                recipe=job.recipe,
                route=route,
                chunks=group,
                created_at=now,
                due_at=choice.due_at,
                next_at=now,
            )
        )
        await context.store.create(made[-1])
    return made


async def _begin(
    manifest: Manifest, planned: Sequence[Submission], choice: LaneChoice, context: SubmissionContext
) -> None:
    """Let the submissions be stepped, and keep live workers from the run's chunks until they are due.

    Chunks that are in no submission are sent to live workers.
    """
    jobs, job_id, run = context.jobs, manifest.job_id, manifest.run
    # From now on nobody takes the next chunk by itself: all count as sent, and those that are held need no message.
    await take_window(manifest, 0, len(manifest.to_run), jobs)
    if due := max((each.due_at for each in planned if not each.settled_at), default=""):
        await jobs.jobs.note_waiting(job_id, run, waiting_for=f"its {choice.reason}", until=due)
    await jobs.queue.send([StepMessage(job_id, run, each.id) for each in planned if not each.settled_at])
    taken = {chunk for each in planned for chunk in each.chunks}
    if len(taken) < len(manifest.to_run):
        left = [chunk for chunk in manifest.to_run if chunk not in taken]
        await jobs.queue.send([ChunkMessage(job_id, run, chunk, released_at_epoch=0) for chunk in left])


async def send_due_steps(store: Submissions, queue: WorkQueue, *, now: datetime) -> int:
    """Send a step to each submission that is due, and return how many were sent. The schedule is the only timer there is."""
    due = []
    async for submission in store.due(rfc3339(now)):
        due.append(submission)
        if len(due) == MAX_SENT:
            break
    await queue.send([StepMessage(each.job_id, each.run, each.id) for each in due])
    for each in due:  # afterwards: a sweep that is cut off sends one too many, and loses none
        await store.schedule(each.holder, next_at=rfc3339(now + timedelta(seconds=SHOWN_S)))
    return len(due)


async def cancel_with_batches(job_id: str, context: JobContext, store: Submissions) -> JobRun:
    """Cancel the latest run of a job, and send a step to each of its batches, whose next look may be 10 minutes away.

    Raises:
        UserError: there is no such job, or nothing to cancel (codes ``unknown_job``, ``job_over``).
    """
    job = await cancel_job(job_id, context)
    unsettled = [each async for each in store.of_run(job_id, job.run) if not each.settled_at]
    await context.queue.send([StepMessage(job_id, job.run, each.id) for each in unsettled])
    return job


async def run_step_message(
    message: StepMessage, context: SubmissionContext, *, lease: MessageLease, lease_s: int
) -> Stepped | LaneChoice | None:
    """Do what a step message asks for, and keep the message hidden until it is done."""
    work = _run_step(message, context)
    return await run_with_lease(work, lease, lease_s=lease_s, clock=context.runtime.clock)


async def _run_step(message: StepMessage, context: SubmissionContext) -> Stepped | LaneChoice | None:
    if message.submission:
        return await step(Holder(message.job_id, message.run, message.submission), context)
    return await plan_run(message.job_id, message.run, context)
