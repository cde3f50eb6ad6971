"""Join a run's chunk results, in order, into the files that people read; end the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from typing import Literal

from msgspec import Struct

from promptmill.domain import chunk_result
from promptmill.domain.chunk_result import ChunkResult
from promptmill.domain.dialects.registry import dialect_named
from promptmill.domain.job import Counts, JobRun, JobState, Manifest
from promptmill.domain.lineage import Lineage
from promptmill.domain.run_totals import RunTotals
from promptmill.domain.status import encode as encode_json
from promptmill.domain.stop_reasons import CANCELLED, reason_of_run
from promptmill.domain.summary import Summary, summary_document
from promptmill.domain.tally import Tally
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import EventBus
from promptmill.ports.object_store import ObjectStore
from promptmill.workflows.earlier_results import read_lineage
from promptmill.workflows.join_sections import join_sections
from promptmill.workflows.missing_chunks import missing_chunks
from promptmill.workflows.publish_status import publish_latest_status, publish_status
from promptmill.workflows.read_manifest import ReadManifest

_READ_AT_ONCE = 8


class Finished(Struct, frozen=True):
    """``waiting``: chunk results are missing still; ``over``: it was finished before."""

    verdict: Literal["finished", "waiting", "over", "gone"]
    state: str = ""
    counts: Counts = Counts()


async def finish_job(
    job_id: str,
    run: int,
    *,
    objects: ObjectStore,
    jobs: Jobs,
    events: EventBus,
    manifests: ReadManifest,
    clock: Clock,
) -> Finished:
    """Safe to repeat: each file is written once, and the state's name follows from the chunk results alone."""
    job = await jobs.read(job_id, run)
    if job is None or job.state is JobState.PLANNING:
        return Finished("gone")
    if job.state.terminal:
        await publish_status(job, jobs=jobs, objects=objects, clock=clock)
        await _tell(job, events)
        return Finished("over", job.state.value, job.counts)
    manifest = await manifests(job_id, run)
    if not await results_complete(manifest, objects):
        return Finished("waiting")
    await jobs.move(job_id, run, JobState.JOINING, at=rfc3339(clock.now()))
    await publish_latest_status(job_id, run, jobs=jobs, objects=objects, clock=clock)
    totals = await _join(manifest, await read_lineage(manifest, manifests=manifests), objects)
    return await _end(job, manifest, totals, objects, jobs, events, clock)


async def results_complete(manifest: Manifest, objects: ObjectStore) -> bool:
    """Whether the set of chunk results equals the manifest's set of chunks."""
    return not await missing_chunks(manifest, most=1, objects=objects)


def file_keys(manifest: Manifest) -> dict[str, str]:
    """Where the run's files are, by name."""
    extension = dialect_named(manifest.facts.dialect).extension
    prefix = manifest.results_prefix
    return {
        "results": f"{prefix}results.{extension}",
        "errors": f"{prefix}errors.{extension}",
        "attempts": f"{prefix}attempts.jsonl",
        "summary": f"{prefix}summary.json",
    }


async def _join(manifest: Manifest, lineage: Lineage, objects: ObjectStore) -> RunTotals:
    """Of each chunk the latest result; attempts are this run's own."""
    dialect, facts, keys = dialect_named(manifest.facts.dialect), manifest.facts, file_keys(manifest)
    totals = RunTotals()

    async def sections() -> AsyncIterator[tuple[bytes, bytes, bytes]]:
        nonlocal totals
        yield dialect.header(facts, manifest.recipe), dialect.error_header(facts), b""
        async for result in _results(lineage, manifest.chunks, objects):
            own = manifest.runs(result.header.chunk)
            totals = totals.plus(result.header, own=own)
            yield result.results, result.errors, result.attempts if own else b""

    await join_sections(sections(), (keys["results"], keys["errors"], keys["attempts"]), objects=objects)
    return totals


async def _results(lineage: Lineage, chunks: int, objects: ObjectStore) -> AsyncIterator[ChunkResult]:
    """In order, some of them read at once: one by one, 10,000 would take longer than a worker has."""
    keys = map(lineage.result_key, range(chunks))
    while batch := list(islice(keys, _READ_AT_ONCE)):
        for data in await asyncio.gather(*map(objects.read, batch)):
            yield chunk_result.decode(data)


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
