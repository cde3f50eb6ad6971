"""Records, attempts and outcomes: what happens to one prompt."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from promptmill.domain.completion import Completion, Usage

PriceBasis = Literal[
    "bundled",
    "bundled-batch",
    "own-table",
    "own-multiplier",
    "provider-reported",
    "user-set",
    "estimated",
    "not-charged",  # the provider answered with an error, or was not reached
    "unknown",
]


class RawRecord(Struct, frozen=True):
    """One record as it stands in the file.

    Attributes:
        index: its place in the file, from 0: its identity.
        line: the line that it starts on, counted from 1, for people.
        data: its bytes, without the line's end.
        error: why it could not even be cut out of the file; None for a good one.
    """

    index: int
    line: int
    data: bytes
    error: Failure | None = None


class Failure(Struct, frozen=True):
    """Why a record has no answer.

    Attributes:
        kind: ``record``: the line is wrong; ``provider``: every route failed; ``stopped``: the job ended before it ran;
            ``worker``: its chunk could not be run at all.
        code: snake_case and stable.
        message: names the place and the reason. For results only: it may quote the line.
        field: the part of the line at fault, "" if none.
    """

    kind: Literal["record", "provider", "stopped", "worker"]
    code: str
    message: str
    field: str = ""


class Price(Struct, frozen=True):
    """Cost of one attempt in nano-dollars; None is unknown, and never counted as 0."""

    nano_usd: int | None
    basis: PriceBasis


LOST = "worker_lost"
"""Code of an attempt that may have been made and of which no journal tells."""


class Attempt(Struct, frozen=True):
    """One call to a provider.

    Attributes:
        call_id: job.run.chunk.epoch.sequence, used once.
        code: "ok", or the error's code.
        latency_ms: the time from the first byte sent to the last byte read.
        first_token_ms: the time to the first piece of a streamed answer, None where it was not streamed.
    """

    call_id: str
    record: int
    route: str
    started_at: str
    latency_ms: int
    code: str
    status: int
    usage: Usage
    price: Price
    model: str = ""
    request_id: str = ""
    first_token_ms: int | None = None

    @property
    def tokens_per_s(self) -> float | None:
        """Return the output tokens a second, after the first one where that was measured, or None without an answer."""
        answering_ms = self.latency_ms - (self.first_token_ms or 0)
        return self.usage.output_total * 1000 / answering_ms if self.code == "ok" and answering_ms > 0 else None


class Outcome(Struct, frozen=True):
    """The one outcome of a record: an answer or a failure, and the attempts it took.

    Attributes:
        searches: the calls to services that looked for sensitive values, and the units that those charge for.
        unrestored: placeholders in the answer that stand for nothing, by type.
        labels_without_value: labels with something behind them that was not redacted, by type.
    """

    record: RawRecord
    completion: Completion | None
    failure: Failure | None
    attempts: tuple[Attempt, ...] = ()
    route: str = ""
    requested_model: str = ""
    notes: tuple[str, ...] = ()
    redacted: dict[str, int] = {}
    searches: dict[str, int] = {}
    unrestored: dict[str, int] = {}
    labels_without_value: dict[str, int] = {}

    @property
    def status(self) -> Literal["answered", "failed", "stopped"]:
        """Return ``stopped`` for a record that the job's end left out, as results call it."""
        if self.failure is None:
            return "answered"
        return "stopped" if self.failure.kind == "stopped" else "failed"

    @property
    def cost_nano(self) -> int | None:
        """Return the cost of all attempts of the record, or None if one of them is unknown."""
        total = 0
        for attempt in self.attempts:
            if attempt.price.nano_usd is None:
                return None
            total += attempt.price.nano_usd
        return total


ANSWERED = "answered"


class RecordResult(Struct, frozen=True, array_like=True):
    """A record's outcome as it will stand in the files.

    Attributes:
        record: its place in the file, from 0.
        line: its lines in the results file, ends included.
        error: the record as it came, for the errors file; b"" if it has an answer.
        kind: ``answered``, or the kind of its failure.
        code: the code of its failure, "" if it has an answer.
        asked: the model that the line named.
        answered_by: the model that answered.
        redacted: counts by type.
        searches, unrestored, labels_without_value: see ``Outcome``.
        at_line, id: where a record that failed stands in the file, and its id as far as it can be read; else 0 and "".
    """

    record: int
    line: bytes
    error: bytes = b""
    kind: str = ANSWERED
    code: str = ""
    asked: str = ""
    answered_by: str = ""
    redacted: dict[str, int] = {}
    searches: dict[str, int] = {}
    unrestored: dict[str, int] = {}
    at_line: int = 0
    id: str = ""
    labels_without_value: dict[str, int] = {}

    @property
    def answered(self) -> bool:
        return self.kind == ANSWERED
