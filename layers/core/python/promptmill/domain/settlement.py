"""What a unit's calls cost, by epoch and route: what its charges say."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.domain.history import Call, History
from promptmill.domain.record import Attempt
from promptmill.domain.tally import RouteCost


def costs_of(history: History) -> tuple[RouteCost, ...]:
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
