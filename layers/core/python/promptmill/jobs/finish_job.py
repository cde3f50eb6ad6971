"""Join a run's chunk results, in order, into the files that people read; end the run."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, structs

from promptmill.domain.job import Counts, JobRun, JobState, Manifest
from promptmill.domain.messages import FinishMessage
from promptmill.domain.money import usd_text
from promptmill.domain.tally import Tally
from promptmill.domain.times import rfc3339
from promptmill.formats.file_format import format_named
from promptmill.jobs.earlier_results import read_lineage
from promptmill.jobs.join_run import CHUNKS, JoinRun, RouteTotal, RunTotals
from promptmill.jobs.manifests import ManifestCache, missing_chunks
from promptmill.jobs.status import encode_status as encode_json
from promptmill.jobs.status import publish_latest_status, publish_status, publish_status_in_turn
from promptmill.jobs.stop_run import CANCELLED, reason_of_run
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import EventBus, WorkQueue
from promptmill.ports.object_store import ObjectStore
from promptmill.redaction.audit import make_audit_line


class Finished(Struct, frozen=True):
    """``waiting``: chunk results are missing still; ``joining``: segments are; ``over``: it was finished before."""

    verdict: Literal["finished", "waiting", "joining", "over", "gone"]
    state: str = ""
    counts: Counts = Counts()


async def finish_job(
    message: FinishMessage,
    *,
    objects: ObjectStore,
    jobs: Jobs,
    queue: WorkQueue,
    events: EventBus,
    manifests: ManifestCache,
    clock: Clock,
    chunks_a_segment: int = CHUNKS,
) -> Finished:
    """Safe to repeat: each file is written once, and the state's name follows from the chunk results alone.

    Where there are many chunks, segments are joined by messages of their own; whoever joins the last one sends for
    the end.
    """
    job_id, run = message.job_id, message.run
    job = await jobs.read(job_id, run)
    if job is None or job.state is JobState.PLANNING:
        return Finished("gone")
    if job.state.terminal:
        await _see_off(job, message, jobs=jobs, objects=objects, events=events, clock=clock)
        return Finished("over", job.state.value, job.counts)
    manifest = await manifests(job_id, run)
    if job.state is not JobState.JOINING and not await results_complete(manifest, objects):
        return Finished("waiting")
    if message.segment is None:
        await jobs.move(job_id, run, JobState.JOINING, at=rfc3339(clock.now()))
        await publish_latest_status(job_id, run, jobs=jobs, objects=objects, clock=clock)
    lineage = await read_lineage(manifest, manifests=manifests)
    join = JoinRun(manifest, lineage, objects=objects, chunks_a_segment=chunks_a_segment)
    totals = await _join(join, message, manifest, jobs=jobs, queue=queue, objects=objects, clock=clock)
    if totals is None:
        return Finished("joining")
    return await _end(job, manifest, totals, objects, jobs, events, clock)


async def _see_off(
    job: JobRun, message: FinishMessage, *, jobs: Jobs, objects: ObjectStore, events: EventBus, clock: Clock
) -> None:
    """Of a run that is over, perhaps under a status, or without an event, that a finisher left behind."""
    await publish_status(job, jobs=jobs, objects=objects, clock=clock)
    if message.segment is None:
        await _tell(job, events)


async def results_complete(manifest: Manifest, objects: ObjectStore) -> bool:
    """Whether the set of chunk results equals the manifest's set of chunks."""
    return not await missing_chunks(manifest, most=1, objects=objects)


def file_keys(manifest: Manifest) -> dict[str, str]:
    """Where the run's files are, by name."""
    extension = format_named(manifest.facts.format).extension
    prefix = manifest.results_prefix
    return {
        "results": f"{prefix}results.{extension}",
        "errors": f"{prefix}errors.{extension}",
        "attempts": f"{prefix}attempts.jsonl",
        "summary": f"{prefix}summary.json",
    }


async def _join(
    join: JoinRun,
    message: FinishMessage,
    manifest: Manifest,
    *,
    jobs: Jobs,
    queue: WorkQueue,
    objects: ObjectStore,
    clock: Clock,
) -> RunTotals | None:
    """None while segments are missing."""
    files = file_keys(manifest)
    keys = (files["results"], files["errors"], files["attempts"])
    if len(join.segments) == 1:
        return await join.whole(keys)
    if message.segment is None:
        missing = await join.missing()
        if not missing:
            return await join.concatenated(keys)
        first = join.segments.first_in_lanes(missing)
        await queue.send([structs.replace(message, segment=n) for n in first])
        return None
    await join.segment(message.segment)
    await publish_status_in_turn(message.job_id, message.run, jobs=jobs, objects=objects, clock=clock)
    missing = await join.missing()
    after = join.segments.next_in_lane(message.segment, missing)
    if after is not None or not missing:
        await queue.send([structs.replace(message, segment=after)])
    return None


async def _end(
    job: JobRun,
    manifest: Manifest,
    totals: RunTotals,
    objects: ObjectStore,
    jobs: Jobs,
    events: EventBus,
    clock: Clock,
) -> Finished:
    tally, at = totals.tally, rfc3339(clock.now())
    state = _state(tally)
    files = file_keys(manifest)
    summary = summary_document(Summary(manifest, totals, state, files))
    await objects.create(files["summary"], encode_json(summary), content_type="application/json")
    reason = _reason(tally)
    await jobs.move(job.job_id, job.run, state, at=at, counts=tally.counts, files=files, reason=reason)
    over = await publish_latest_status(job.job_id, job.run, jobs=jobs, objects=objects, clock=clock)
    await _tell(over or job, events)
    return Finished("finished", state.value, tally.counts)


def _state(tally: Tally) -> JobState:
    """From the results alone, so that every finisher agrees."""
    if CANCELLED in tally.failures:
        return JobState.CANCELLED
    return JobState.STOPPED if tally.counts.stopped else JobState.DONE


def _reason(tally: Tally) -> str:
    """Of a run that ended early, in words."""
    if "routes_closed" in tally.failures:
        return "every route was closed; see closed_routes and the errors file"
    return next((reason_of_run(code) for code in sorted(tally.failures) if reason_of_run(code)), "")


async def _tell(job: JobRun, events: EventBus) -> None:
    """Of the run's end, at least once: whoever ended it may have vanished before this."""
    counts = job.counts
    detail: dict[str, str | int | None] = {
        "job_id": job.job_id,
        "run": job.run,
        "recipe": job.recipe,
        "answered": counts.answered,
        "failed": counts.failed,
        "stopped": counts.stopped,
        "nano_usd": counts.nano_usd,
    }
    await events.publish(f"Job {job.state.value.lower()}", detail)


class Summary(Struct, frozen=True):
    manifest: Manifest
    totals: RunTotals
    state: JobState
    files: dict[str, str]


def summary_document(summary: Summary) -> dict[str, Any]:
    """A function of the manifest and the chunk results: every finisher writes the same."""
    manifest, tally = summary.manifest, summary.totals.tally
    recipe = manifest.recipe
    counts = tally.counts
    return {
        "job_id": manifest.job_id,
        "run": manifest.run,
        "rerun": manifest.rerun,
        "state": summary.state.value,
        "file": manifest.source.key,
        "version": manifest.source.version,
        "dialect": manifest.facts.format,
        "recipe": recipe.name,
        "recipe_version": recipe.version,
        "records": manifest.records,
        "answered": counts.answered,
        "answers_kept": summary.totals.kept,
        "failed": counts.failed,
        "stopped": counts.stopped,
        "failures": tally.failures,
        "cost_usd": usd_text(counts.nano_usd),
        "attempts": counts.attempts,
        "unpriced_attempts": counts.unpriced,
        "input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "models_asked_for": tally.asked,
        "models_that_answered": tally.answered_by,
        "routes": {route: _route(total) for route, total in sorted(summary.totals.routes.items())},
        "redacted": tally.redacted,
        "redaction": make_audit_line(
            recipe.redact,
            tally.redacted,
            attachments=recipe.attachments,
            searches=tally.searches,
            unrestored=tally.unrestored,
        ),
        "code_version": manifest.versions.code,
        "price_table": manifest.versions.prices,
        "notes": list(manifest.notes),
        "files": summary.files,
    }


def _route(total: RouteTotal) -> dict[str, Any]:
    return {
        "attempts": total.attempts,
        "failed_attempts": total.failed_attempts,
        "unpriced_attempts": total.unpriced,
        "cost_usd": usd_text(total.nano_usd),
    }
