"""A submission: chunks of one run that go to a provider's batch service together.

Every field but ``next_at`` is set once, by a condition, and what to do next is derived from what is set. So nobody owns a
submission, and any number of workers may step it at once. docs/batch-lane.md tells how.
"""

from __future__ import annotations

from typing import Literal

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
