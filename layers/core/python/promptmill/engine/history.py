"""What is known of a unit: a fold over its intents and journals, the same for whoever folds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from promptmill.domain.completion import Usage
from promptmill.domain.record import LOST, Attempt, Price, RecordResult
from promptmill.domain.tally import RouteCost
from promptmill.domain.units import Intent, IntentGroup, call_id
from promptmill.engine.journal import Page


def sum_costs(history: History) -> tuple[RouteCost, ...]:
    """One entry an epoch and route that calls were made on, in that order."""
    groups: dict[tuple[int, str], list[tuple[Call, Attempt]]] = {}
    for call, attempt in history.attempts():
        groups.setdefault((call.epoch, call.intent.route), []).append((call, attempt))
    return tuple(_cost(epoch, route, groups[epoch, route]) for epoch, route in sorted(groups))


def _cost(epoch: int, route: str, made: Sequence[tuple[Call, Attempt]]) -> RouteCost:
    attempts = [attempt for _, attempt in made]
    unknown = [call.intent.high for call, attempt in made if attempt.price.nano_usd is None]
    low = sum(attempt.price.nano_usd or 0 for attempt in attempts)
    return RouteCost(
        route=route,
        nano_usd=low,
        attempts=len(attempts),
        failed_attempts=sum(attempt.code != "ok" for attempt in attempts),
        unpriced=len(unknown),
        input_tokens=sum(attempt.usage.input_total for attempt in attempts),
        cache_read_tokens=sum(attempt.usage.cache_read for attempt in attempts),
        cache_write_tokens=sum(attempt.usage.cache_write for attempt in attempts),
        output_tokens=sum(attempt.usage.output_total for attempt in attempts),
        bases=tuple(sorted({attempt.price.basis for attempt in attempts})),
        high_nano_usd=low + sum(high or 0 for high in unknown),
        unbounded=sum(high is None for high in unknown),
        epoch=epoch,
        day=made[0][0].day,
    )


_NO_USAGE = Usage(source="none")
_UNKNOWN = Price(None, "unknown")


class Call(Struct, frozen=True):
    """One intent and what came of it.

    Attributes:
        attempt: None if it was never sent, else as journaled; of a lost one, what is known.
        high: the most it can have cost, None without a price.
    """

    epoch: int
    day: str
    intent: Intent
    attempt: Attempt | None

    @property
    def used(self) -> int:
        """Nano-dollars that it counts for against a budget: what is unknown counts at its most."""
        if self.attempt is None:
            return 0
        actual = self.attempt.price.nano_usd
        return (self.intent.high or 0) if actual is None else actual


class History(Struct, frozen=True):
    """Of one unit, up to the epoch that reads it."""

    calls: tuple[Call, ...] = ()
    results: Mapping[int, RecordResult] = {}

    def plus(self, later: History) -> History:
        """With what a later epoch did."""
        return History((*self.calls, *later.calls), {**later.results, **self.results})

    @property
    def used(self) -> int:
        """Nano-dollars counted against the budgets."""
        return sum(call.used for call in self.calls)

    def attempts(self) -> Iterator[tuple[Call, Attempt]]:
        """Every call that was made, or may have been."""
        return ((call, call.attempt) for call in self.calls if call.attempt is not None)

    def attempts_of(self, record: int) -> tuple[Attempt, ...]:
        return tuple(attempt for call, attempt in self.attempts() if call.intent.record == record)

    def suspects(self) -> set[int]:
        """Records whose calls are lost: one of them may have brought the worker down."""
        return {call.intent.record for call, attempt in self.attempts() if attempt.code == LOST}


def fold_history(unit: str, groups: Iterable[IntentGroup], pages: Mapping[int, Sequence[Page]]) -> History:
    """A pure function of what is durable.

    Args:
        unit: its name.
        groups: every intent of the unit.
        pages: the journal's, by epoch; all earlier epochs are sealed.
    """
    settled = {attempt.call_id: attempt for _, page in _in_order(pages) for attempt in page.attempts}
    voids = {call_id(unit, epoch, sequence) for epoch, page in _in_order(pages) for sequence in page.voids}
    results: dict[int, RecordResult] = {}
    for _, page in _in_order(pages):
        for result in page.results:
            results.setdefault(result.record, result)
    calls = []
    for group in sorted(groups, key=lambda group: (group.epoch, group.first)):
        for intent in group.intents:
            mine = call_id(unit, group.epoch, intent.sequence)
            attempt = None if mine in voids else settled.get(mine) or _lost(mine, intent)
            calls.append(Call(group.epoch, group.day, intent, attempt))
    return History(tuple(calls), results)


def _in_order(pages: Mapping[int, Sequence[Page]]) -> Iterator[tuple[int, Page]]:
    return ((epoch, page) for epoch in sorted(pages) for page in pages[epoch])


def _lost(call: str, intent: Intent) -> Attempt:
    return Attempt(call, intent.record, intent.route, "", 0, LOST, 0, _NO_USAGE, _UNKNOWN)
