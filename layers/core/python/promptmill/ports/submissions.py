"""Submissions as they are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from promptmill.domain.submission import BatchEnd, FrozenChunk, Holder, Mark, Submission


class Submissions(Protocol):
    """The submissions of all runs. Each read of one is strongly consistent.

    Every write but ``schedule`` sets something once. It returns whether what it should write is there now: also if an
    earlier try of the same write had been made, and only its answer was lost.
    """

    async def create(self, submission: Submission) -> bool: ...

    async def read(self, holder: Holder) -> Submission | None: ...

    async def schedule(self, holder: Holder, *, next_at: str) -> None:
        """Say when the submission is stepped again. Not once it is settled."""
        ...

    async def freeze(self, holder: Holder, chunks: Sequence[FrozenChunk]) -> bool:
        """Fix what is sent, if nothing is fixed and the submission is not void. From then on nothing is taken for it."""
        ...

    async def note_upload(self, holder: Holder, upload: str) -> bool:
        """Note the upload, if none is noted."""
        ...

    async def mark_sent(self, holder: Holder, mark: Mark) -> bool:
        """Give the one permission to send the create, in one transaction with a look at the run.

        It is given if the submission is frozen, not sent and not void, and its run has no stop and is not over.
        """
        ...

    async def note_batch(self, holder: Holder, batch: str, *, proven: bool) -> bool:
        """Note the batch of a create that was sent, unless it was rejected or doubted. One that is proven replaces one that is not."""
        ...

    async def reject_batch(self, holder: Holder, batch: str, *, certain: bool) -> bool:
        """Note that an unproven batch is not ours, so that ours is looked for again. Not ``certain``: it is only doubted."""
        ...

    async def void(self, holder: Holder, reason: str, *, stepper: str = "") -> bool:
        """Note that there is no batch, if no create was sent, or by the ``stepper`` that was to send it while none is known."""
        ...

    async def note_asked(self, holder: Holder, at: str) -> bool: ...

    async def note_end(self, holder: Holder, batch: str, end: BatchEnd) -> bool:
        """Note how the batch ended, if it is the one that is noted and is proven; for a ``batch`` of "", that none is noted."""
        ...

    async def give(self, holder: Holder, at: str) -> bool:
        """Note that the chunks are let go before the batch has ended."""
        ...

    async def note_told(self, holder: Holder, at: str) -> bool: ...

    async def settle(self, holder: Holder, at: str) -> bool:
        """Note that nothing is left of the submission, if everything is told. It is stepped no more."""
        ...

    def due(self, at: str) -> AsyncIterator[Submission]:
        """List the submissions that are to be stepped by then, the longest overdue first. The list may lag."""
        ...

    def of_run(self, job_id: str, run: int) -> AsyncIterator[Submission]:
        """List all submissions of a run (strongly consistent)."""
        ...
