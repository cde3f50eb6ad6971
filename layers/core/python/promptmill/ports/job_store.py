"""The jobs table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct

from promptmill.domain.job import Counts, JobRun, JobState, Source


class Claim(Struct, frozen=True):
    """Who works on a unit.

    Attributes:
        beat: moves while the owner lives.
        released: the owner gave the unit back.
        crashes: owners so far that ended without giving it back.
    """

    epoch: int
    beat: int
    owner: str
    released: bool = False
    crashes: int = 0

    def taken_over(self, owner: str) -> Claim:
        """The next owner's claim."""
        return Claim(self.epoch + 1, 0, owner, crashes=self.crashes + (not self.released))


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
        counts: Counts | None = None,
        files: dict[str, str] | None = None,
    ) -> bool:
        """Forward only: PLANNING → RUNNING → JOINING → DONE or STOPPED, and PLANNING → REJECTED.

        False if it stood there or further already, or has no way there.

        ``counts`` and ``files`` are the final ones, from the chunk results.
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
    async def close_route(self, job_id: str, run: int, route: str, code: str) -> None: ...

    async def take_status_turn(self, job_id: str, run: int, *, at: str, not_since: str) -> bool:
        """Whether the caller may write status.json now: one worker every so often."""
        ...


class RunStops(Protocol):
    """How a run is ended early. A stop is set once and never cleared; a gate is shut once and never opened."""

    async def stop(self, job_id: str, run: int, *, code: str, at: str) -> bool:
        """False if it is stopped already, or over."""
        ...

    async def shut_gates(self, job_id: str, run: int) -> None:
        """All of them: once this returns, no intent of the run is written any more."""
        ...


class ChunkClaims(Protocol):
    async def read_claim(self, job_id: str, run: int, chunk: int) -> Claim | None: ...

    async def claim(self, job_id: str, run: int, chunk: int, *, seen: Claim | None, owner: str) -> Claim | None:
        """Raise the epoch if (epoch, beat) are still as seen; None if they are not."""
        ...

    async def release(self, job_id: str, run: int, chunk: int, claim: Claim) -> bool:
        """Give it back, so that the next claim counts no crash; False if another epoch owns it."""
        ...

    async def beat(self, job_id: str, run: int, chunk: int, claim: Claim, counts: Counts, *, at: str) -> Claim | None:
        """Show life and progress; None if another epoch owns the chunk."""
        ...


class ChunkProgress(Protocol):
    async def is_chunk_ended(self, job_id: str, run: int, chunk: int) -> bool: ...

    async def chunk_ended(self, job_id: str, run: int, chunk: int, counts: Counts, *, of: int, at: str) -> bool:
        """Set the chunk's bit and move the sums in one write, once. True if every chunk's bit is set now."""
        ...

    async def read_progress(self, job_id: str, run: int) -> Counts:
        """Ended chunks and, from their heartbeats, live ones."""
        ...


class Jobs(JobStore, JobIndex, RunNotes, ChunkClaims, ChunkProgress, Protocol):
    """All of it."""


__all__ = ["ChunkClaims", "ChunkProgress", "Claim", "JobIndex", "JobStore", "Jobs", "RunNotes", "Source"]
