"""Journals: what came of a unit's calls, page by page, in the bucket.

A page is written once, under the next free number of its epoch. A later owner ends an epoch with a *seal* in the place
of its next page: from then on the epoch's journal is complete and fixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from promptmill.domain.job import Counts
from promptmill.domain.record import Attempt
from promptmill.domain.tally import Tally

LOST = "worker_lost"
"""Code of an attempt that may have been made and of which no journal tells."""


ANSWERED = "answered"


class RecordResult(Struct, frozen=True, array_like=True):
    """A record's outcome as it will stand in the files.

    Attributes:
        record: its place in the file, from 0.
        line: its lines in the results file, ends included.
        error: the record as it came, for the errors file; b"" if it has an answer.
        kind: ``answered``, or the kind of its failure.
        code: of its failure.
        asked: the model that the line named.
        answered_by: the model that answered.
        redacted: counts by type.
        searches, unrestored: see ``Outcome``.
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

    @property
    def answered(self) -> bool:
        return self.kind == ANSWERED


class Page(Struct, frozen=True, tag="page", array_like=True):
    """What was learned since the page before.

    Attributes:
        attempts: calls that ended.
        voids: sequences of intents that were never sent.
        results: outcomes that are final.
    """

    attempts: tuple[Attempt, ...] = ()
    voids: tuple[int, ...] = ()
    results: tuple[RecordResult, ...] = ()


class Seal(Struct, frozen=True, tag="seal", array_like=True):
    """The end of an epoch's journal: the same bytes, whoever writes it."""


_decoder = msgspec.msgpack.Decoder(Page | Seal)
_encoder = msgspec.msgpack.Encoder()
SEAL = _encoder.encode(Seal())


def encode(page: Page) -> bytes:
    return _encoder.encode(page)


def decode(data: bytes) -> Page | Seal:
    """Raises msgspec.DecodeError: not a page of a journal."""
    found: Page | Seal = _decoder.decode(data)
    return found


def tally_of_results(results: Iterable[RecordResult], attempts: Iterable[Attempt]) -> Tally:
    """Of a unit: what its records came to, and what its calls cost."""
    kinds, asked, answered_by, failures = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    redacted, searches, unrestored = Counter[str](), Counter[str](), Counter[str]()
    for result in results:
        kinds[result.kind] += 1
        asked[result.asked] += 1
        answered_by[result.answered_by] += 1
        failures[result.code] += 1
        if result.redacted:
            redacted.update(result.redacted)
        if result.searches:
            searches.update(result.searches)
        if result.unrestored:
            unrestored.update(result.unrestored)
    outcomes = Counts(
        answered=kinds[ANSWERED],
        failed=kinds.total() - kinds[ANSWERED] - kinds["stopped"],
        stopped=kinds["stopped"],
    )
    counters = (asked, answered_by, failures, redacted, searches, unrestored)
    names = [{name: counter[name] for name in counter if name} for counter in counters]
    return Tally().plus(Tally(outcomes.plus(_counts_of(attempts)), *names))


def _counts_of(attempts: Iterable[Attempt]) -> Counts:
    made = list(attempts)
    return Counts(
        nano_usd=sum(attempt.price.nano_usd or 0 for attempt in made),
        attempts=len(made),
        unpriced=sum(attempt.price.nano_usd is None for attempt in made),
        input_tokens=sum(attempt.usage.input_total for attempt in made),
        output_tokens=sum(attempt.usage.output_total for attempt in made),
    )
