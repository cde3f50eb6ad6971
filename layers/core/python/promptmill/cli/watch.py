"""Watching a job until it has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator

from msgspec import Struct
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from promptmill.cli.command import Invocation
from promptmill.cli.output import Output, usd_short
from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.domain.times import rfc3339
from promptmill.jobs.find_run import FIRST_RUN
from promptmill.jobs.status import counts_so_far, waiting_for
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs

LOCAL_POLL_S = 0.5
POLL_S = 2.0
_WINDOW_S = 60.0
_UNSEEN_S = 60.0
_LINE_EVERY_S = 15.0


class Sight(Struct, frozen=True):
    """A job at one moment.

    Attributes:
        job: None until its drop was seen.
        seconds: since the watching began.
        minutes_left: at the pace of the last minute, None while there is none.
        waits_for: what holds it up, "" if nothing does.
    """

    job: JobRun | None
    counts: Counts
    seconds: float
    minutes_left: float | None = None
    waits_for: str = ""

    @property
    def percent(self) -> int:
        """Of the records; 100 only once all have their outcome."""
        records = self.job.records if self.job else 0
        return self.counts.done * 100 // records if records else 0


async def sights(
    job_id: str, *, run: int = FIRST_RUN, again: bool = False, jobs: Jobs, clock: Clock, every_s: float
) -> AsyncIterator[Sight]:
    """The job every so often, until nothing happens any more. ``again``: a duplicate will run."""
    began = clock.monotonic()
    pace: deque[tuple[float, int]] = deque()
    while True:
        job = await jobs.read(job_id, run)
        ended = job is not None and (job.state.terminal if again else job.state.resting)
        counts = await counts_so_far(job, jobs=jobs) if job else Counts()
        seconds = clock.monotonic() - began
        pace.append((seconds, counts.done))
        while pace[-1][0] - pace[0][0] > _WINDOW_S:
            pace.popleft()
        waits = waiting_for(job, at=rfc3339(clock.now())) if job else ""
        yield Sight(job, counts, seconds, minutes_left(pace, job.records if job else 0), waits)
        if ended:
            return
        await clock.sleep(every_s)


def minutes_left(pace: deque[tuple[float, int]], records: int) -> float | None:
    """From (seconds, records done) of the last minute."""
    (first_at, first_done), (last_at, last_done) = pace[0], pace[-1]
    if last_done <= first_done or last_at <= first_at:
        return None
    return (records - last_done) * (last_at - first_at) / (last_done - first_done) / 60


def watch(
    invocation: Invocation, job_id: str, *, run: int = FIRST_RUN, budget: int | None = None, again: bool = False
) -> JobRun:
    """Show progress until the run has ended. ``budget``: of the job, in nano-dollars; ``again``: as in ``sights``."""
    services = invocation.target.services
    every_s = LOCAL_POLL_S if invocation.target.settings.stage == "local" else POLL_S
    seen = sights(job_id, run=run, again=again, jobs=services.jobs, clock=services.clock, every_s=every_s)
    show = _bar if invocation.out.is_live else _lines
    job: JobRun = services.run(show(seen, invocation.out, budget))
    return job


async def _bar(seen: AsyncIterator[Sight], out: Output, budget: int | None) -> JobRun:
    columns = (BarColumn(bar_width=30), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=out.console, transient=False) as progress:
        task: TaskID = progress.add_task("", total=100)
        async for sight in seen:
            progress.update(task, completed=sight.percent, description=describe(sight, budget=budget))
    return _ended(sight)


async def _lines(seen: AsyncIterator[Sight], out: Output, budget: int | None) -> JobRun:
    """A line whenever something has happened, at most every so often: for logs and pipes."""
    said, state, said_at = "", "", 0.0
    async for sight in seen:
        text = describe(sight, budget=budget)
        is_due = _state(sight) != state or sight.seconds - said_at >= _LINE_EVERY_S
        if is_due and text != said:
            out.line(f"  {_state(sight):<9} {text}")
            said, state, said_at = text, _state(sight), sight.seconds
    return _ended(sight)


def describe(sight: Sight, *, budget: int | None = None) -> str:
    """``58%  57,912 done · 61 failed · $4.02 of $25.00 · 12 min left``."""
    job, counts = sight.job, sight.counts
    if job is None:
        return "waiting for the drop to be seen" + (_UNSEEN if sight.seconds > _UNSEEN_S else "")
    if not job.records:
        return f"{job.state.value.lower()}{f' · {job.reason}' if job.reason else ''}"
    spent = usd_short(counts.nano_usd) + (f" of {usd_short(budget)}" if budget is not None else "")
    parts = [f"{counts.done:,} of {job.records:,} done", f"{counts.failed:,} failed", spent]
    if job.state is JobState.RUNNING and sight.minutes_left is not None:
        parts.append(left_in_words(sight.minutes_left))
    if job.state is JobState.JOINING:
        parts.append("joining the results")
    if sight.waits_for:
        parts.append(f"waits: {sight.waits_for}")
    return f"{sight.percent:3d}%  " + " · ".join(parts)


_UNSEEN = " (is the bucket's notification in place? see the stack's output NotificationToAdd)"


def left_in_words(minutes: float) -> str:
    """``under a minute left``, ``12 min left``, ``3.5 h left``."""
    if minutes < 1:
        return "under a minute left"
    return f"{minutes:.0f} min left" if minutes < 120 else f"{minutes / 60:.1f} h left"  # noqa: PLR2004


def _state(sight: Sight) -> str:
    return sight.job.state.value if sight.job else "WAITING"


def _ended(sight: Sight) -> JobRun:
    if sight.job is None:
        raise AssertionError("a watch ends with its job")
    return sight.job
