"""Jobs, runs and manifests."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from msgspec import Struct, field

from promptmill.domain.job_file import FileFacts
from promptmill.domain.layout import STORED_VERSION, VERSION_FIELD
from promptmill.domain.recipe import Recipe

Rerun = Literal["", "resume", "redrive"]
"""What a further run is for: records without an answer, or only those that failed; "" for a job's first run."""


class JobState(StrEnum):
    """The states that ``status.json`` and the jobs table name. docs/states.md explains each to users."""

    PLANNING = "PLANNING"
    DUPLICATE = "DUPLICATE"
    RUNNING = "RUNNING"
    JOINING = "JOINING"
    DONE = "DONE"
    STOPPED = "STOPPED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"

    @property
    def terminal(self) -> bool:
        return self in (JobState.DONE, JobState.STOPPED, JobState.CANCELLED, JobState.REJECTED)

    @property
    def resting(self) -> bool:
        """Return whether nothing happens any more unless a person asks for it."""
        return self.terminal or self is JobState.DUPLICATE


class Source(Struct, frozen=True):
    """The version of the object that was dropped.

    Attributes:
        dropped_at: its LastModified, RFC 3339 in UTC: the same at every delivery of the event.
    """

    key: str
    version: str
    size: int
    dropped_at: str


class Versions(Struct, frozen=True):
    """The plan of a job."""

    code: str
    prices: str
    redaction: str


class Counts(Struct, frozen=True):
    """Records that have an outcome, and what they cost.

    ``unpriced`` counts attempts whose cost is unknown; their cost is not in ``nano_usd``.
    """

    answered: int = 0
    failed: int = 0
    stopped: int = 0
    nano_usd: int = 0
    attempts: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def done(self) -> int:
        return self.answered + self.failed + self.stopped

    @property
    def outcomes(self) -> Counts:
        """Return the counts without what they cost."""
        return Counts(self.answered, self.failed, self.stopped)

    def plus(self, other: Counts) -> Counts:
        return Counts(
            self.answered + other.answered,
            self.failed + other.failed,
            self.stopped + other.stopped,
            self.nano_usd + other.nano_usd,
            self.attempts + other.attempts,
            self.unpriced + other.unpriced,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
        )


class Manifest(Struct, frozen=True):
    """All that a run depends on. It is written once by plan_job, read back, and used as read.

    Attributes:
        cut_key: the object whose bytes the chunks are ranges of: the source, or its staged form.
        cut_version: its version id.
        records, chunks: how many, in the whole file.
        ranges: prefix of the pages that say where the chunks lie.
        digest: SHA-256 of the source's bytes, in hex.
        notes: of the whole file, for status and summary: ``the gzip stream ends early, after line 812``.
        base: the run that a further run goes on from; 0 for the first.
        pending: chunks that a further run runs, in order; None for all.
        kept: outcomes of the others.
        answers_kept: answers of earlier runs that a further run takes over, in whatever chunk.
        version: of what this run stores: see ``layout.STORED_VERSION``.
    """

    job_id: str
    run: int
    recipe: Recipe
    source: Source
    cut_key: str
    cut_version: str
    facts: FileFacts
    records: int
    chunks: int
    ranges: str
    versions: Versions
    planned_at: str
    results_prefix: str
    digest: str = ""
    notes: tuple[str, ...] = ()
    base: int = 0
    rerun: Rerun = ""
    pending: tuple[int, ...] | None = None
    kept: Counts = Counts()
    answers_kept: int = 0
    version: int = field(default=STORED_VERSION, name=VERSION_FIELD)

    @property
    def to_run(self) -> Sequence[int]:
        """Return the numbers of the chunks that this run runs, in order. Progress goes by a chunk's place among them."""
        return range(self.chunks) if self.pending is None else self.pending

    def place_of(self, chunk: int) -> int:
        """Return the place of a chunk in ``to_run``. Raises ValueError: the run does not run it."""
        place = bisect_left(self.to_run, chunk)
        if not self.runs(chunk):
            raise ValueError(f"run {self.run} of job {self.job_id} does not run chunk {chunk}")
        return place

    def runs(self, chunk: int) -> bool:
        """Return whether this run runs the chunk."""
        place = bisect_left(self.to_run, chunk)
        return place < len(self.to_run) and self.to_run[place] == chunk


class JobRun(Struct, frozen=True):
    """One run of a job, as the jobs table holds it.

    Attributes:
        reason: in words, for people; never content.
        last_progress: RFC 3339.
        started_at: when its first calls were allowed; the time after which it gives up counts from there.
        records, chunks: 0 until planned.
        closed_routes: why, by route.
        stop: code of why it is to end early, "" while it may go on.
        waiting_for: what held a chunk up last; its message comes back by ``waiting_until``.
        swept_at: when a sweep last looked into it, "" if none has.
        rerun, route: what a further run is for, and the route that it takes first, "" for that of the run before.
        kept: outcomes of the chunks that a further run leaves as they are; what they cost is not this run's.
        answers_kept: answers of earlier runs that it takes over, also in the chunks that it runs; 0 until planned.
        notes: of the whole file, as its manifest has them.
        counts: the final ones, once terminal.
        planners: how many planned it without an end or an error: they are at work, or were brought down.
        files: keys of what was joined, by name: ``results``, ``errors``, ``attempts``, ``summary``.
    """

    job_id: str
    run: int
    state: JobState
    recipe: str
    source: Source
    results_prefix: str
    created_at: str
    last_progress: str
    reason: str = ""
    remedy: str = ""
    records: int = 0
    chunks: int = 0
    closed_routes: dict[str, str] = {}
    stop: str = ""
    started_at: str = ""
    waiting_for: str = ""
    waiting_until: str = ""
    swept_at: str = ""
    rerun: Rerun = ""
    route: str = ""
    kept: Counts = Counts()
    answers_kept: int = 0
    notes: tuple[str, ...] = ()
    counts: Counts = Counts()
    planners: int = 0
    files: dict[str, str] = {}


def make_job_id(source: Source) -> str:
    """Return the id of the job that a dropped version starts: the same at every delivery. Ids sort by the time of the drop."""
    moment = datetime.fromisoformat(source.dropped_at).astimezone(UTC)
    digest = hashlib.sha256(f"{source.key}\n{source.version}".encode()).hexdigest()[:10]
    return f"{moment:%Y%m%dt%H%M%Sz}-{digest}"
