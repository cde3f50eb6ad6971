"""The history of a unit: a fold over its intents and journals, which is the same for whoever folds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from promptmill.domain.completion import Usage
from promptmill.domain.record import LOST, Attempt, Price, RecordResult
from promptmill.domain.tally import RouteCost
from promptmill.domain.units import Intent, IntentGroup, call_id
from promptmill.engine.journal import Page


def sum_costs(history: History) -> tuple[RouteCost, ...]:
    """Return the costs of each epoch and route that calls were made on, in that order."""
    groups: dict[tuple[int, str], list[tuple[Call, Attempt]]] = {}
    for call, attempt in history.attempts():
        groups.setdefault((call.epoch, call.intent.route), []).append((call, attempt))
    return tuple(_add_up(epoch, route, groups[epoch, route]) for epoch, route in sorted(groups))


def _add_up(epoch: int, route: str, made: Sequence[tuple[Call, Attempt]]) -> RouteCost:
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
        attempt: as it was journaled; None if the call was never sent. Where no journal tells, it is an attempt with
            the code ``LOST`` and an unknown cost.
        model: the ``provider/model`` that was called; "" where earlier code has not noted it.
    """

    epoch: int
    day: str
    intent: Intent
    attempt: Attempt | None
    model: str = ""

    @property
    def used(self) -> int:
        """The nano-dollars that the call counts for against a budget. An unknown cost counts at its most."""
        if self.attempt is None:
            return 0
        actual = self.attempt.price.nano_usd  # None is unknown, not free: the provider may have charged the most
        return (self.intent.high or 0) if actual is None else actual


class History(Struct, frozen=True):
    """The calls and outcomes of one unit, up to the epoch that reads them."""

    calls: tuple[Call, ...] = ()
    results: Mapping[int, RecordResult] = {}

    def plus(self, later: History) -> History:
        """Return this history with that of a later epoch added."""
        # An outcome that was journaled once is never replaced.
        return History((*self.calls, *later.calls), {**later.results, **self.results})

    @property
    def used(self) -> int:
        """The nano-dollars that all calls count for against the budgets."""
        return sum(call.used for call in self.calls)

    def attempts(self) -> Iterator[tuple[Call, Attempt]]:
        """Yield every call that was made, or may have been."""
        return ((call, call.attempt) for call in self.calls if call.attempt is not None)

    def attempts_of(self, record: int) -> tuple[Attempt, ...]:
        return tuple(attempt for call, attempt in self.attempts() if call.intent.record == record)

    def models(self) -> Mapping[tuple[int, str], str]:
        """Return which model each epoch called on each route."""
        return {(call.epoch, call.intent.route): call.model for call in self.calls}

    def suspects(self) -> set[int]:
        """Return the records whose calls are lost: one of them may have brought the worker down."""
        return {call.intent.record for call, attempt in self.attempts() if attempt.code == LOST}


def fold_history(unit: str, groups: Iterable[IntentGroup], pages: Mapping[int, Sequence[Page]]) -> History:
    """Fold a unit's intents and pages into its history; a pure function of what is durable.

    Args:
        unit: its name.
        groups: every intent of the unit.
        pages: the pages of its journals, by epoch. All epochs but the reader's own must be sealed: else a late page could
            still add to them, and two readers would fold different histories.
    """
    settled = {attempt.call_id: attempt for _, page in _in_order(pages) for attempt in page.attempts}
    voids = {call_id(unit, epoch, sequence) for epoch, page in _in_order(pages) for sequence in page.voids}
    results: dict[int, RecordResult] = {}
    for _, page in _in_order(pages):
        for result in page.results:
            results.setdefault(result.record, result)  # the first outcome of a record is the one that counts
    calls = []
    for group in sorted(groups, key=lambda group: (group.epoch, group.first)):
        for intent in group.intents:
            mine = call_id(unit, group.epoch, intent.sequence)
            # Only the worker itself can say that a call was not sent. Without its word the call may have been made.
            attempt = None if mine in voids else settled.get(mine) or _presume_lost(mine, intent)
            calls.append(Call(group.epoch, group.day, intent, attempt, group.models.get(intent.route, "")))
    return History(tuple(calls), results)


def _in_order(pages: Mapping[int, Sequence[Page]]) -> Iterator[tuple[int, Page]]:
    return ((epoch, page) for epoch in sorted(pages) for page in pages[epoch])


def _presume_lost(call: str, intent: Intent) -> Attempt:
    return Attempt(call, intent.record, intent.route, "", 0, LOST, 0, _NO_USAGE, _UNKNOWN)
