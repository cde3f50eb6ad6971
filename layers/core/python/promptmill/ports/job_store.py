"""The jobs table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct

from promptmill.domain.job import Counts, JobRun, JobState


class RunWindow(Struct, frozen=True):
    """Positions in the run's list of chunks.

    Attributes:
        sent: how many of the first chunks have a message, or were taken by a worker that carried on.
        drained: chunks whose records have all first been sent.
    """

    sent: int = 0
    drained: int = 0


class QueuedRun(Struct, frozen=True):
    """A run that is planned and that no worker has begun. The message of its first chunk waits in the queue.

    Attributes:
        chunk: the number of that chunk.
        is_small: the run has few records, so a worker that is busy with another job has room for all of them.
        since: when the run was planned, RFC 3339.
    """

    job_id: str
    run: int
    chunk: int
    is_small: bool
    since: str


class Jobs(Protocol):
    """The runs of jobs. Every read of a single run is strongly consistent."""

    async def create(self, job: JobRun) -> bool:
        """Write a run. Return False if it was there already."""
        ...

    async def read(self, job_id: str, run: int) -> JobRun | None: ...

    async def move(
        self,
        job_id: str,
        run: int,
        to: JobState,
        *,
        at: str,
        reason: str = "",
        remedy: str = "",
        records: int | None = None,
        chunks: int | None = None,
        recipe: str = "",
        kept: Counts | None = None,
        answers_kept: int | None = None,
        notes: tuple[str, ...] = (),
        counts: Counts | None = None,
        files: dict[str, str] | None = None,
    ) -> bool:
        """Move a run to a later state, and write what is given.

        The states follow one another as PLANNING → DUPLICATE → RUNNING → JOINING → DONE, STOPPED or CANCELLED, and any
        may be left out. A run that is not RUNNING yet may be REJECTED. Reason and remedy are kept until the next move.
        ``counts`` and ``files`` are the final ones, from the chunk results.

        Returns:
            False if the run is in that state or a later one already, or cannot get there.
        """
        ...

    def open_runs(self) -> AsyncIterator[JobRun]:
        """List the runs that will go on by themselves: not finished, and not waiting for a person."""
        ...

    def recent(self, *, limit: int) -> AsyncIterator[JobRun]:
        """List the newest runs first."""
        ...

    async def close_route(self, job_id: str, run: int, route: str, code: str) -> None: ...

    async def begin_planner(self, job_id: str, run: int, planner: str) -> None:
        """Note that a planner begins. Its name is its own, so a note that is written twice counts once."""
        ...

    async def end_planner(self, job_id: str, run: int, planner: str) -> None:
        """Note that a planner ended by an error: those who vanished are left over."""
        ...

    async def note_waiting(self, job_id: str, run: int, *, waiting_for: str, until: str) -> None:
        """Note what holds up a chunk of the run, and when the chunk is looked at again."""
        ...

    async def note_swept(self, job_id: str, run: int, *, at: str) -> None:
        """Note that a sweep looks into the run now."""
        ...

    async def take_status_turn(self, job_id: str, run: int, *, at: str, not_since: str) -> bool:
        """Return whether the caller may write status.json now. One worker may, once in a while."""
        ...

    async def first_drop(
        self, recipe: str, digest: str, job_id: str, *, at: str, not_since: str, over: str = ""
    ) -> str:
        """Return the job that dropped this content first.

        It is ours, and noted as such, if no job did since ``not_since``, or only the job ``over`` did.
        """
        ...

    async def take_planner(self, recipe: str, owner: str, *, at: str, until: str, most: int) -> bool:
        """Take one of a recipe's planners until then. Return False if others hold all of them.

        An owner that holds one already keeps it.
        """
        ...

    async def free_planner(self, recipe: str, owner: str, *, most: int) -> None:
        """Give back the planner that the owner holds, if it holds one."""
        ...

    async def stop(self, job_id: str, run: int, *, code: str, at: str) -> bool:
        """Stop a run, once and for all. Return False if it is stopped already, being joined, or over."""
        ...

    async def shut_gates(self, job_id: str, run: int) -> None:
        """Shut all gates of a run, which are never opened again.

        Once this returns, no intent of the run is written any more.
        """
        ...

    async def read_window(self, job_id: str, run: int) -> RunWindow: ...

    async def take(self, job_id: str, run: int, *, seen: int, to: int, taker: str) -> bool:
        """Move ``sent`` on from ``seen``.

        Returns:
            False if somebody else has; True also if an earlier try of the same ``taker`` has.
        """
        ...

    async def queue_run(self, run: QueuedRun) -> None:
        """Put a run on the list of those that wait for a worker. It may be put there again, also after it has begun."""
        ...

    async def queued_runs(self, *, limit: int) -> Sequence[QueuedRun]:
        """Return the first runs of that list: small ones before others, and older ones before newer.

        What was written within the last second may be missing, or still be there.
        """
        ...

    async def take_queued(self, run: QueuedRun) -> bool:
        """Take a run off the list. Return False if it was not there any more: one caller gets it."""
        ...

    async def note_drained(self, job_id: str, run: int, chunk: int) -> RunWindow:
        """Count a chunk as drained, once however often it is noted, and return the window after it."""
        ...

    async def read_drained(self, job_id: str, run: int) -> frozenset[int]:
        """Return the chunks that are counted as drained."""
        ...

    async def note_progress(self, job_id: str, run: int, chunk: int, counts: Counts, *, at: str) -> None:
        """Note how far a chunk that is running has got."""
        ...

    async def chunk_ended(self, job_id: str, run: int, chunk: int, counts: Counts, *, of: int, at: str) -> bool:
        """Set the chunk's bit and move the sums in one write, once. Return True if every chunk's bit is set now."""
        ...

    async def read_progress(self, job_id: str, run: int) -> Counts:
        """Return the sums of ended chunks and, from their heartbeats, of those that are running."""
        ...
