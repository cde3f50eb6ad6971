"""Submissions: chunks of one run that go to a provider's batch service together, and how they are stored.

Every field but ``next_at`` is set once, by a condition, and what to do next is derived from what is set. So nobody owns a
submission, and any number of workers may step it at once. docs/batch-lane.md tells how.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from promptmill.domain.recipe import Route

Stage = Literal["filling", "ready", "in_doubt", "running", "collecting", "void", "told", "settled"]
"""What a submission is: chunks are taken; its lines are fixed; its create was sent, and no batch is known; the service
works; the batch has ended; no batch ever was; every line is told and nothing is held; nothing of it is left."""

EndState = Literal["completed", "failed", "expired", "cancelled", "gone", "never"]
"""How a batch ended: in the service's words, or ``gone`` with its results, or ``never``: a lost create made none."""


class Holder(Struct, frozen=True):
    """The submission that a chunk is taken for."""

    job_id: str
    run: int
    submission: str


class FrozenChunk(Struct, frozen=True, array_like=True):
    """A chunk that is sent: the epoch in which it was taken, and its lines and their bytes."""

    chunk: int
    epoch: int
    lines: int
    size: int


class Mark(Struct, frozen=True):
    """The one permission to send the create: whose it is, and when it was given."""

    stepper: str
    at: str


class BatchEnd(Struct, frozen=True):
    """How the batch ended.

    Attributes:
        has_results: the service has lines to read.
        code: the service's reason, "" for none; safe for logs and tables.
    """

    state: EndState
    at: str
    has_results: bool = True
    code: str = ""


class Submission(Struct, frozen=True, kw_only=True):
    """One submission.

    Attributes:
        id: drawn at random; it is the batch's label, and part of every line's id.
        route: the route whose service gets the lines, as the run's manifest has it.
        chunks: the numbers of the chunks that may go into it.
        due_at: when it is no longer wanted, so that what is left can still be answered live.
        next_at: when it is stepped again.
        frozen: what is sent, and nothing else ever is; None while chunks are taken.
        upload: the service's id of the uploaded lines, "" where it needs none; None before.
        sent: set once, before the create is sent, once.
        batch: the service's id of the batch, "" while none is known.
        proven: the batch is certainly ours. Else nobody cancels it.
        rejected: batches that turned out to be somebody else's.
        doubted: batches whose results prove nothing: one of them may be ours, so it is never said that there was none.
        void: why there is no batch, for certain; "" otherwise.
        asked_at: when it was found to be no longer wanted.
        given_at: when its chunks were let go without waiting for its answers.
        told_at: when every line was told and nothing was held any more.
    """

    id: str
    job_id: str
    run: int
    recipe: str
    route: Route
    chunks: tuple[int, ...]
    created_at: str
    due_at: str
    next_at: str
    frozen: tuple[FrozenChunk, ...] | None = None
    upload: str | None = None
    sent: Mark | None = None
    batch: str = ""
    proven: bool = False
    rejected: tuple[str, ...] = ()
    doubted: tuple[str, ...] = ()
    void: str = ""
    asked_at: str = ""
    ended: BatchEnd | None = None
    given_at: str = ""
    told_at: str = ""
    settled_at: str = ""

    @property
    def stage(self) -> Stage:
        if self.told_at:
            return "settled" if self.settled_at else "told"
        if self.void:
            return "void"
        if self.ended is not None:
            return "collecting"
        if self.sent is not None:
            return "running" if self.batch else "in_doubt"
        return "filling" if self.frozen is None else "ready"

    @property
    def holder(self) -> Holder:
        return Holder(self.job_id, self.run, self.id)

    @property
    def lines(self) -> int:
        return sum(chunk.lines for chunk in self.frozen or ())

    @property
    def size(self) -> int:
        return sum(chunk.size for chunk in self.frozen or ())


def line_id(submission: str, chunk: int, record: int) -> str:
    """Return the id of a line. It holds the submission's id, which nobody else can know, and every service takes it."""
    return f"{submission}-{chunk}-{record}"


def chunk_of_line(line: str, submission: str) -> int | None:
    """Return the chunk that a line's id names, None if the line is not of that submission."""
    found, _, place = line.partition("-")
    chunk, _, record = place.partition("-")
    is_ours = found == submission and chunk.isdecimal() and record.isdecimal()
    return int(chunk) if is_ours else None


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
