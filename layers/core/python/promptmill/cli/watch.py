"""Watch a job until it has ended, and print how it ended."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

from msgspec import Struct
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from promptmill.cli.command import Invocation
from promptmill.cli.next_steps import cost_of_runs, format_cost, next_steps, read_failures
from promptmill.cli.output import Output, one_line, usd_short
from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.domain.times import rfc3339
from promptmill.jobs.find_run import FIRST_RUN
from promptmill.jobs.status import counts_so_far, waiting_for
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs

EXIT_SOME_FAILED = 3
EXIT_NOT_DONE = 4
LOCAL_POLL_S = 0.5
POLL_S = 2.0
_WINDOW_S = 60.0
_UNSEEN_S = 60.0
_LINE_EVERY_S = 15.0


class Snapshot(Struct, frozen=True):
    """A job at one moment.

    Attributes:
        job: None until the drop of its file was noticed.
        seconds: Time since the watch began.
        minutes_left: An estimate from the pace of the last minute, or None if nothing moved.
        waits_for: What holds the job up, or empty.
    """

    job: JobRun | None
    counts: Counts
    seconds: float
    minutes_left: float | None = None
    waits_for: str = ""

    @property
    def percent(self) -> int:
        """The share of records that have an outcome. It is 100 only when all of them do."""
        records = self.job.records if self.job else 0
        return (self.counts.done - self.counts.stopped) * 100 // records if records else 0

    @property
    def state(self) -> str:
        return self.job.state.value if self.job else "WAITING"


def watch_job(
    invocation: Invocation, job_id: str, *, run: int = FIRST_RUN, budget: int | None = None, again: bool = False
) -> JobRun:
    """Show the progress of a run until it has ended. An interrupt ends the watch, not the job.

    ``budget``, in nano-dollars, is shown beside what was spent. ``again`` is True if somebody has just allowed a
    duplicate to run, so that its state DUPLICATE is not the end.
    """
    services, out = invocation.target.services, invocation.out
    every_s = LOCAL_POLL_S if invocation.target.settings.stage == "local" else POLL_S
    snapshots = observe(job_id, run=run, again=again, jobs=services.jobs, clock=services.clock, every_s=every_s)
    show = _show_bar if out.is_live else _print_lines
    try:
        job: JobRun = services.run(show(snapshots, out, budget))
    except KeyboardInterrupt:
        out.line(f"The job goes on. To see how it is doing, run: promptmill status {job_id}")
        raise
    return job


async def observe(
    job_id: str, *, run: int = FIRST_RUN, again: bool = False, jobs: Jobs, clock: Clock, every_s: float
) -> AsyncIterator[Snapshot]:
    """Yield the job every ``every_s`` seconds until it has ended, or waits as a duplicate that was not allowed."""
    began = clock.monotonic()
    pace: deque[tuple[float, int]] = deque()
    while True:
        job = await jobs.read(job_id, run)
        has_ended = job is not None and (job.state.terminal if again else job.state.resting)
        counts = await counts_so_far(job, jobs=jobs) if job else Counts()
        seconds = clock.monotonic() - began
        pace.append((seconds, counts.done))
        while pace[-1][0] - pace[0][0] > _WINDOW_S:
            pace.popleft()
        waits = waiting_for(job, at=rfc3339(clock.now())) if job else ""
        yield Snapshot(job, counts, seconds, estimate_minutes_left(pace, job.records if job else 0), waits)
        if has_ended:
            return
        await clock.sleep(every_s)


def estimate_minutes_left(pace: deque[tuple[float, int]], records: int) -> float | None:
    """Estimate the time left from pairs of (seconds, records done) of the last minute."""
    (first_at, first_done), (last_at, last_done) = pace[0], pace[-1]
    if last_done <= first_done or last_at <= first_at:
        return None
    return (records - last_done) * (last_at - first_at) / (last_done - first_done) / 60


async def _show_bar(snapshots: AsyncIterator[Snapshot], out: Output, budget: int | None) -> JobRun:
    columns = (BarColumn(bar_width=30), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=out.console, transient=False) as progress:
        task: TaskID = progress.add_task("", total=100)
        async for snapshot in snapshots:
            progress.update(task, completed=snapshot.percent, description=one_line(describe(snapshot, budget=budget)))
    return _final_run(snapshot)


async def _print_lines(snapshots: AsyncIterator[Snapshot], out: Output, budget: int | None) -> JobRun:
    """Print a line when the state changes and, if anything else changes, every 15 seconds. This is for logs and pipes."""
    last_text, state, printed_at = "", "", 0.0
    async for snapshot in snapshots:
        text = describe(snapshot, budget=budget)
        is_due = snapshot.state != state or snapshot.seconds - printed_at >= _LINE_EVERY_S
        if is_due and text != last_text:
            out.line(f"  {snapshot.state:<9} {text}")
            last_text, state, printed_at = text, snapshot.state, snapshot.seconds
    return _final_run(snapshot)


def describe(snapshot: Snapshot, *, budget: int | None = None) -> str:
    """Describe a job in one line: ``58%  57,912 of 100,000 done · 61 failed · $4.02 of $25.00 · 12 min left``."""
    job, counts = snapshot.job, snapshot.counts
    if job is None:
        return "waiting for AWS to notice the file" + (_UNSEEN if snapshot.seconds > _UNSEEN_S else "")
    if not job.records:
        return f"{job.state.value.lower()}{f' · {job.reason}' if job.reason else ''}"
    spent = usd_short(counts.nano_usd) + (f" of {usd_short(budget)}" if budget is not None else "")
    parts = [f"{counts.done - counts.stopped:,} of {job.records:,} done", f"{counts.failed:,} failed", spent]
    if counts.stopped:
        parts.insert(2, f"{counts.stopped:,} stopped")
    if job.state is JobState.RUNNING and snapshot.minutes_left is not None:
        parts.append(format_minutes_left(snapshot.minutes_left))
    if job.state is JobState.JOINING:
        parts.append("joining the results")
    if snapshot.waits_for:
        parts.append(f"waiting: {snapshot.waits_for}")
    return f"{snapshot.percent:3d}%  " + " · ".join(parts)


_UNSEEN = " (does the bucket have its notification? See the stack's output NotificationToAdd.)"


def format_minutes_left(minutes: float) -> str:
    """Return ``less than a minute left``, ``12 min left`` or ``3.5 h left``."""
    if minutes < 1:
        return "less than a minute left"
    return f"{minutes:.0f} min left" if minutes < 120 else f"{minutes / 60:.1f} h left"  # noqa: PLR2004


def _final_run(snapshot: Snapshot) -> JobRun:
    if snapshot.job is None:
        raise AssertionError("a watch ends with a job")
    return snapshot.job


def exit_code(job: JobRun) -> int:
    """Return the exit code of ``submit --wait`` for a job that has ended; its help explains them."""
    if job.state is not JobState.DONE:
        return EXIT_NOT_DONE
    return EXIT_SOME_FAILED if job.counts.failed or job.counts.stopped else 0


def print_end(invocation: Invocation, job: JobRun) -> None:
    """Print the counts, the costs, the reason and the files of a job that has ended, and what to do next."""
    out, services, counts = invocation.out, invocation.target.services, job.counts
    told = f"{counts.answered:,} answered, {counts.failed:,} failed, {counts.stopped:,} stopped"
    out.words(f"{job.state}: {told}, {format_cost(counts)}")
    if job.answers_kept:
        out.line(f"Kept: {job.answers_kept:,} answered by earlier runs")
    if all_runs := services.run(cost_of_runs(job, counts, services.jobs)):
        out.line(f"All runs: {format_cost(all_runs)}")
    for note in job.notes:
        out.line(f"Note: {note}")
    if job.reason:
        out.line(f"Reason: {job.reason}")
    if job.remedy:
        out.line(f"Remedy: {job.remedy}")
    bucket = invocation.target.settings.bucket
    for what, key in sorted(job.files.items()):
        out.line(f"  {what:<9} s3://{bucket}/{key}")
    for step in next_steps(job, counts, services.run(read_failures(job, services)), bucket=bucket):
        out.line(step)
    if job.files:
        out.line(f"To download them, run: promptmill results {job.job_id}")
