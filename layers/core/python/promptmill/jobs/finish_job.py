"""Join a run's chunk results, in order, into the files that people read; end the run."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, structs

from promptmill.domain.errors import JobFilesGoneError, MissingObjectError, RefusedByAwsError, lone_refusals
from promptmill.domain.job import Counts, JobRun, JobState, Manifest
from promptmill.domain.layout import chunk_result_key
from promptmill.domain.messages import ChunkMessage, FinishMessage
from promptmill.domain.money import usd_text
from promptmill.domain.tally import RouteTotal, Tally
from promptmill.domain.times import rfc3339
from promptmill.formats.file_format import format_named
from promptmill.jobs.context import JobContext
from promptmill.jobs.earlier_results import read_run_chain
from promptmill.jobs.find_run import FIRST_RUN
from promptmill.jobs.join_run import JoinRun, RunTotals
from promptmill.jobs.manifests import missing_chunks
from promptmill.jobs.send_chunks import MAX_AT_ONCE
from promptmill.jobs.status import encode_status as encode_json
from promptmill.jobs.status import (
    note_refusal,
    publish_end,
    publish_latest_status,
    publish_status,
    publish_status_in_turn,
)
from promptmill.jobs.stop_run import CANCELLED, describe_stop, end_without_files
from promptmill.ports.object_store import ObjectLister
from promptmill.redaction.policy import make_audit_line
from promptmill.reports.job_report import ReportedRun, job_report
from promptmill.reports.page import CONTENT_TYPE


class Finished(Struct, frozen=True):
    """The report on a finish message.

    Attributes:
        verdict: ``waiting`` if chunk results are still missing, ``joining`` if segments are, ``over`` if the run was
            finished before, ``gone`` if there is no such run yet.
        untold: AWS refuses the status or the event of the end.
    """

    verdict: Literal["finished", "waiting", "joining", "over", "gone"]
    state: str = ""
    counts: Counts = Counts()
    untold: bool = False


async def finish_job(message: FinishMessage, context: JobContext) -> Finished:
    """Join what a run came to and end it, once every chunk result is in.

    It is safe to repeat: each file is written once, and the final state follows from the chunk results alone. Where
    there are many chunks, segments are joined by messages of their own; whoever joins the last one sends the message
    that ends the run.

    Raises:
        RefusedByAwsError: and until it is mended, the run's status says so.
    """
    try:
        with lone_refusals():
            return await _finish_or_end(message, context)
    except RefusedByAwsError as refusal:
        await note_refusal(message.job_id, message.run, refusal, context)
        raise


async def _finish_or_end(message: FinishMessage, context: JobContext) -> Finished:
    """Finish a run, or end it plainly where its own files were deleted meanwhile."""
    try:
        return await _finish(message, context)
    except JobFilesGoneError:
        return Finished("over", await end_without_files(message.job_id, message.run, context))


async def _finish(message: FinishMessage, context: JobContext) -> Finished:
    job_id, run = message.job_id, message.run
    job = await context.jobs.read(job_id, run)
    if job is None or job.state is JobState.PLANNING:
        return Finished("gone")
    if job.state.terminal:
        await _republish_end_state(job, message, context)
        return Finished("over", job.state.value, job.counts)
    manifest = await context.manifests(job_id, run)
    if job.state is not JobState.JOINING and not await results_complete(manifest, context.objects):
        return Finished("waiting")
    if message.segment is None:
        await context.jobs.move(job_id, run, JobState.JOINING, at=rfc3339(context.clock.now()))
        await publish_latest_status(job_id, run, context)
    chain = await read_run_chain(manifest, manifests=context.manifests)
    try:
        totals = await _join(JoinRun(manifest, chain, context), message, manifest, context)
    except Exception as error:
        if not _is_missing(error):
            raise
        return await _ask_for_missing(manifest, context, error)
    if totals is None:
        return Finished("joining")
    return await _end_run(job, manifest, totals, context)


def _is_missing(error: Exception) -> bool:
    """Return True if objects that are not there are the only fault."""
    if isinstance(error, ExceptionGroup):  # several objects are read and written at once
        return all(map(_is_missing, error.exceptions))
    return isinstance(error, MissingObjectError)


async def _ask_for_missing(manifest: Manifest, context: JobContext, error: Exception) -> Finished:
    """Have deleted chunk results written again, which their journals allow.

    Raises:
        JobFilesGoneError: something else is gone, and nobody can write it again.
    """
    missing = await missing_chunks(manifest, most=MAX_AT_ONCE, objects=context.objects)
    if not missing:
        raise JobFilesGoneError(str(error)) from error
    await context.queue.send([ChunkMessage(manifest.job_id, manifest.run, chunk) for chunk in missing])
    return Finished("waiting")


async def _republish_end_state(job: JobRun, message: FinishMessage, context: JobContext) -> None:
    """Write the status and the event of a run that is over: whoever ended it may have vanished before that."""
    if job.state is JobState.STOPPED and not job.files:
        await _have_chunks_settled(job, message, context)
    await publish_status(job, context)
    if message.segment is None:
        await publish_end(job, context.events)


_SETTLED_AT_ONCE = 1000
"""Chunks of a run without its files that one message sees to: the first digits of their keys are the same."""


async def _have_chunks_settled(job: JobRun, message: FinishMessage, context: JobContext) -> None:
    """Send a message for each chunk of a run that ended without its files: it may hold money, and have calls to charge.

    The message that it had may be lost, and no sweep looks into a run that is over. A chunk that has its result has been
    settled. Where there are many chunks, each message sees to some of them and sends the next one.
    """
    claimable = (await context.jobs.read_window(job.job_id, job.run)).sent
    if job.run != FIRST_RUN:
        # Which chunks a further run was for, only its manifest said: it may have been for any.
        first = await context.jobs.read(job.job_id, FIRST_RUN)
        claimable = first.chunks if first is not None else job.chunks
    step = message.segment or 0
    chunks = range(claimable)[step * _SETTLED_AT_ONCE : (step + 1) * _SETTLED_AT_ONCE]
    prefix = chunk_result_key(job.job_id, job.run, step * _SETTLED_AT_ONCE)[: -len(str(_SETTLED_AT_ONCE - 1))]
    there = {info.key async for info in context.objects.under(prefix)}
    left = [chunk for chunk in chunks if chunk_result_key(job.job_id, job.run, chunk) not in there]
    await context.queue.send([ChunkMessage(job.job_id, job.run, chunk) for chunk in left])
    if chunks and chunks.stop < claimable:
        await context.queue.send([structs.replace(message, segment=step + 1)])


async def results_complete(manifest: Manifest, objects: ObjectLister) -> bool:
    """Return whether the set of chunk results equals the manifest's set of chunks."""
    return not await missing_chunks(manifest, most=1, objects=objects)


def file_keys(manifest: Manifest) -> dict[str, str]:
    """Return the keys of the run's files by name."""
    extension = format_named(manifest.facts.format).extension
    prefix = manifest.results_prefix
    return {
        "results": f"{prefix}results.{extension}",
        "errors": f"{prefix}errors.{extension}",
        "attempts": f"{prefix}attempts.jsonl",
        "summary": f"{prefix}summary.json",
        "report": f"{prefix}report.html",
    }


async def _join(join: JoinRun, message: FinishMessage, manifest: Manifest, context: JobContext) -> RunTotals | None:
    """Join what the message asks for. Return None while segments are missing."""
    files = file_keys(manifest)
    keys = (files["results"], files["errors"], files["attempts"])
    if len(join.segments) == 1:
        return await join.join_all(keys)
    if message.segment is None:
        missing = await join.missing_segments()
        if not missing:
            return await join.concatenate(keys)
        first = join.segments.first_in_lanes(missing)
        await context.queue.send([structs.replace(message, segment=n) for n in first])
        return None
    await join.join_segment(message.segment)
    await publish_status_in_turn(message.job_id, message.run, context)
    missing = await join.missing_segments()
    after = join.segments.next_in_lane(message.segment, missing)
    # A lane that is through ends silently while other lanes still have segments: the last of them sends the end.
    if after is not None or not missing:
        await context.queue.send([structs.replace(message, segment=after)])
    return None


async def _end_run(job: JobRun, manifest: Manifest, totals: RunTotals, context: JobContext) -> Finished:
    tally, at = totals.tally, rfc3339(context.clock.now())
    state, reason, files = _choose_state(tally), _describe_end(tally), file_keys(manifest)
    summary = summary_document(manifest, totals, state, files)
    reported = ReportedRun(manifest, state, reason, tally, totals.routes, totals.kept, totals.figures, files)
    await context.objects.create(files["report"], job_report(reported), content_type=CONTENT_TYPE)
    await context.objects.create(files["summary"], encode_json(summary), content_type="application/json")
    await context.jobs.move(job.job_id, job.run, state, at=at, counts=tally.counts, files=files, reason=reason)
    over = await context.jobs.read(job.job_id, job.run) or job
    written = await publish_status(over, context)
    heard = await publish_end(over, context.events)
    return Finished("finished", state.value, tally.counts, untold=not (written and heard))


def _choose_state(tally: Tally) -> JobState:
    """Return the final state: it follows from the results alone, so that every finisher agrees."""
    if CANCELLED in tally.failures:
        return JobState.CANCELLED
    return JobState.STOPPED if tally.counts.stopped else JobState.DONE


def _describe_end(tally: Tally) -> str:
    """Say in words why a run ended early, or return "" if it did not."""
    if "routes_closed" in tally.failures:
        return "every route was closed; see closed_routes and the errors file"
    return next((describe_stop(code) for code in sorted(tally.failures) if describe_stop(code)), "")


def summary_document(manifest: Manifest, totals: RunTotals, state: JobState, files: dict[str, str]) -> dict[str, Any]:
    """Return ``summary.json``: a function of the manifest and the chunk results, so every finisher writes the same."""
    recipe, tally, counts = manifest.recipe, totals.tally, totals.tally.counts
    return {
        "job_id": manifest.job_id,
        "run": manifest.run,
        "rerun": manifest.rerun,
        "state": state.value,
        "file": manifest.source.key,
        "version": manifest.source.version,
        "dialect": manifest.facts.format,
        "recipe": recipe.name,
        "recipe_version": recipe.version,
        "records": manifest.records,
        "answered": counts.answered,
        "answers_kept": totals.kept,
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
        "routes": {route: _summarize_route(total) for route, total in sorted(totals.routes.items())},
        "redacted": tally.redacted,
        "redaction": make_audit_line(
            recipe.redact,
            tally.redacted,
            attachments=recipe.attachments,
            searches=tally.searches,
            unrestored=tally.unrestored,
            doubts=tally.labels_without_value,
        ),
        "code_version": manifest.versions.code,
        "price_table": manifest.versions.prices,
        "notes": list(manifest.notes),
        "files": files,
    }


def _summarize_route(total: RouteTotal) -> dict[str, Any]:
    return {
        "attempts": total.attempts,
        "failed_attempts": total.failed_attempts,
        "unpriced_attempts": total.unpriced,
        "cost_usd": usd_text(total.nano_usd),
    }
