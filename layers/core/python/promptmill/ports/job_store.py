"""The jobs table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct

from promptmill.domain.job import Counts, JobRun, JobState


class RunWindow(Struct, frozen=True):
    """Positions in the run's list of chunks.

    Attributes:
        sent: chunks that have a message, or were taken by a worker that carried on; the first ones.
        drained: chunks whose records have all first been sent; some may be counted twice.
    """

    sent: int = 0
    drained: int = 0


class RunWindows(Protocol):
    async def read_window(self, job_id: str, run: int) -> RunWindow:
        """Strongly consistent."""
        ...

    async def take(self, job_id: str, run: int, *, seen: int, to: int) -> bool:
        """Move ``sent`` from ``seen`` on; False if somebody else has."""
        ...

    async def note_drained(self, job_id: str, run: int) -> RunWindow:
        """One more; the window after it."""
        ...


class JobStore(Protocol):
    async def create(self, job: JobRun) -> bool:
        """If absent; False if the run was there."""
        ...

    async def read(self, job_id: str, run: int) -> JobRun | None:
        """Strongly consistent."""
        ...

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
        counts: Counts | None = None,
        files: dict[str, str] | None = None,
    ) -> bool:
        """Forward only: PLANNING → DUPLICATE → RUNNING → JOINING → DONE, STOPPED or CANCELLED, leaving out any.

        A run that is not RUNNING yet may be REJECTED. False if it stood there or further already, or has no way there.

        Reason and remedy end with the state that they are of. ``counts`` and ``files`` are the final ones, from the
        chunk results.
        """
        ...


class JobIndex(Protocol):
    def open_runs(self) -> AsyncIterator[JobRun]:
        """Every run that something is still to happen to without anybody's word."""
        ...

    def recent(self, *, limit: int) -> AsyncIterator[JobRun]:
        """The newest runs first."""
        ...


class RunNotes(Protocol):
    async def close_route(self, job_id: str, run: int, route: str, code: str) -> None: ...

    async def note_waiting(self, job_id: str, run: int, *, waiting_for: str, until: str) -> None:
        """A chunk of it is held up; it looks again by then."""
        ...

    async def take_status_turn(self, job_id: str, run: int, *, at: str, not_since: str) -> bool:
        """Whether the caller may write status.json now: one worker every so often."""
        ...


class FirstDrops(Protocol):
    async def first_drop(
        self, recipe: str, digest: str, job_id: str, *, at: str, not_since: str, over: str = ""
    ) -> str:
        """The job that dropped this content first: ours, if nobody did since ``not_since``, or only ``over`` did."""
        ...


class RunStops(Protocol):
    """How a run is ended early. A stop is set once and never cleared; a gate is shut once and never opened."""

    async def stop(self, job_id: str, run: int, *, code: str, at: str) -> bool:
        """False if it is stopped already, or over."""
        ...

    async def shut_gates(self, job_id: str, run: int) -> None:
        """All of them: once this returns, no intent of the run is written any more."""
        ...


class ChunkProgress(Protocol):
    async def note_progress(self, job_id: str, run: int, chunk: int, counts: Counts, *, at: str) -> None:
        """Of a chunk that is running."""
        ...

    async def chunk_ended(self, job_id: str, run: int, chunk: int, counts: Counts, *, of: int, at: str) -> bool:
        """Set the chunk's bit and move the sums in one write, once. True if every chunk's bit is set now."""
        ...

    async def read_progress(self, job_id: str, run: int) -> Counts:
        """Ended chunks and, from their heartbeats, live ones."""
        ...


class Jobs(JobStore, JobIndex, RunNotes, FirstDrops, RunStops, RunWindows, ChunkProgress, Protocol):
    """All of it."""


__all__ = ["ChunkProgress", "FirstDrops", "JobIndex", "JobStore", "Jobs", "RunNotes", "RunStops"]
