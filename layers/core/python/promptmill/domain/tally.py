"""Sums over outcomes and attempts, for status, summary and charges."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from promptmill.domain.job import Counts
from promptmill.domain.record import ANSWERED, Attempt, Outcome, RecordResult

OTHERS = "(others)"
_MAX_NAMES = 100


class Tally(Struct, frozen=True):
    """Counts by name. ``asked`` and ``answered_by`` are models, ``failures`` are codes, ``redacted`` are types.

    ``searches``, ``unrestored``, ``labels_without_value``: see ``Outcome``.
    """

    counts: Counts = Counts()
    asked: dict[str, int] = {}
    answered_by: dict[str, int] = {}
    failures: dict[str, int] = {}
    redacted: dict[str, int] = {}
    searches: dict[str, int] = {}
    unrestored: dict[str, int] = {}
    labels_without_value: dict[str, int] = {}

    def plus(self, other: Tally) -> Tally:
        return Tally(
            self.counts.plus(other.counts),
            _add(self.asked, other.asked),
            _add(self.answered_by, other.answered_by),
            _add(self.failures, other.failures),
            _add(self.redacted, other.redacted),
            _add(self.searches, other.searches),
            _add(self.unrestored, other.unrestored),
            _add(self.labels_without_value, other.labels_without_value),
        )


def count_outcome(outcome: Outcome) -> Counts:
    failure = outcome.failure
    return Counts(
        answered=int(failure is None),
        failed=int(failure is not None and failure.kind != "stopped"),
        stopped=int(failure is not None and failure.kind == "stopped"),
        nano_usd=sum(a.price.nano_usd or 0 for a in outcome.attempts),
        attempts=len(outcome.attempts),
        unpriced=sum(a.price.nano_usd is None for a in outcome.attempts),
        input_tokens=sum(a.usage.input_total for a in outcome.attempts),
        output_tokens=sum(a.usage.output_total for a in outcome.attempts),
    )


class RouteCost(Struct, frozen=True):
    """The attempts of one epoch on one route, added up: what a charge is made of.

    Attributes:
        nano_usd: the sum of the attempts whose price is known: the least that was spent.
        unpriced: how many attempts have no known price.
        high_nano_usd: the most that was spent; it is open above where ``unbounded`` attempts have no price at all.
        day: the UTC day of the epoch's claim.
    """

    route: str
    nano_usd: int
    attempts: int
    failed_attempts: int
    unpriced: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    bases: tuple[str, ...]
    high_nano_usd: int = 0
    unbounded: int = 0
    epoch: int = 1
    day: str = ""


class RouteTotal(Struct, frozen=True):
    """The costs of one route, added up over epochs and chunks: see ``RouteCost``."""

    attempts: int = 0
    failed_attempts: int = 0
    unpriced: int = 0
    nano_usd: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    high_nano_usd: int = 0
    unbounded: int = 0

    def plus(self, cost: RouteCost | RouteTotal) -> RouteTotal:
        return RouteTotal(*(getattr(self, name) + getattr(cost, name) for name in self.__struct_fields__))


def _add(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Add two counters by name, of which the first names are kept and the others are added up."""
    # Names may come from the lines of a file, and each line may say a different one.
    total = Counter(one)
    for name, count in other.items():
        named = name in total or len(total) < _MAX_NAMES
        total[name if named else OTHERS] += count
    return dict(sorted(total.items()))


def tally_results(results: Iterable[RecordResult], attempts: Iterable[Attempt]) -> Tally:
    """Return the sums of a unit: what its records came to, and what its calls cost."""
    kinds, asked, answered_by, failures = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    redacted, searches, unrestored, unmasked = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
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
        if result.labels_without_value:
            unmasked.update(result.labels_without_value)
    outcomes = Counts(
        answered=kinds[ANSWERED],
        failed=kinds.total() - kinds[ANSWERED] - kinds["stopped"],
        stopped=kinds["stopped"],
    )
    counters = (asked, answered_by, failures, redacted, searches, unrestored, unmasked)
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
