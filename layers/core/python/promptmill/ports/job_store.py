"""The jobs table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct

from promptmill.domain.job import Counts, JobRun, JobState, Source


class Claim(Struct, frozen=True):
    """Who works on a unit. ``beat`` moves while its owner lives; ``released`` once it gave the unit back."""

    epoch: int
    beat: int
    owner: str
    released: bool = False


class JobStore(Protocol):
    async def create(self, job: JobRun) -> bool:
        """If absent; False if the run was there."""
        ...

    async def read(self, job_id: str, run: int) -> JobRun | None:
        """Strongly consistent; ``counts`` are those of ended chunks."""
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
        counts: Counts | None = None,
    ) -> bool:
        """Forward only: PLANNING → RUNNING → JOINING → terminal. False if it stood there or further already.

        ``counts`` replaces the running sums by the final ones, from the chunk results.
        """
        ...


class JobIndex(Protocol):
    def open_runs(self) -> AsyncIterator[JobRun]:
        """Every run that is not terminal."""
        ...

    def recent(self, *, limit: int) -> AsyncIterator[JobRun]:
        """The newest runs first."""
        ...


class RunNotes(Protocol):
    async def close_route(self, job_id: str, run: int, route: str) -> None: ...

    async def take_status_turn(self, job_id: str, run: int, *, at: str, not_since: str) -> bool:
        """Whether the caller may write status.json now: one worker every so often."""
        ...


class ChunkClaims(Protocol):
    async def read_claim(self, job_id: str, run: int, chunk: int) -> Claim | None: ...

    async def claim(self, job_id: str, run: int, chunk: int, *, seen: Claim | None, owner: str) -> Claim | None:
        """Raise the epoch if (epoch, beat) are still as seen; None if they are not."""
        ...

    async def beat(self, job_id: str, run: int, chunk: int, claim: Claim, counts: Counts, *, at: str) -> Claim | None:
        """Show life and progress; None if another epoch owns the chunk."""
        ...


class ChunkProgress(Protocol):
    async def chunk_ended(self, job_id: str, run: int, chunk: int, counts: Counts, *, of: int, at: str) -> bool:
        """Set the chunk's bit and move the sums in one write, once. True if now every chunk's bit is set."""
        ...

    async def read_progress(self, job_id: str, run: int) -> Counts:
        """Ended chunks and, from their heartbeats, live ones."""
        ...


class Jobs(JobStore, JobIndex, RunNotes, ChunkClaims, ChunkProgress, Protocol):
    """All of it."""


__all__ = ["ChunkClaims", "ChunkProgress", "Claim", "JobIndex", "JobStore", "Jobs", "RunNotes", "Source"]
