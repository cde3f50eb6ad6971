"""The figures of a run that its report draws: latencies, answers and cost over time, and examples of what failed.

Each is of bounded size, whatever the job's, and adding up two in any order gives the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from promptmill.domain.record import Attempt, RecordResult

_GROWTH = 1.02
"""Each bin of latencies ends 2 % above its start, so that a percentile is at most 1 % off."""

STEPS_S = (1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 21_600, 86_400, 604_800)
"""Each is a whole number of the one before."""

MAX_STEPS = 48
_MAX_EXAMPLES = 5


Bins = tuple[tuple[int, int], ...]
"""Pairs of a number and what it counts, in order: as keys of an object, the numbers would be names that are stored."""


class Latencies(Struct, frozen=True):
    """How long answers took. ``bins`` are numbers of bins, each with how many calls are in it."""

    bins: Bins = ()

    @property
    def n(self) -> int:
        return sum(count for _, count in self.bins)

    def plus(self, other: Latencies) -> Latencies:
        return Latencies(_add(self.bins, other.bins))

    def percentile_ms(self, share: float) -> float | None:
        """Return the latency that this share of the calls stayed within, at most 1 % off, or None without calls."""
        rank, seen = max(1, math.ceil(share * self.n)), 0
        for number, count in self.bins:
            seen += count
            if seen >= rank:
                return middle_of(number)
        return None


def middle_of(number: int) -> float:
    """Return the middle of a bin of latencies in milliseconds."""
    return math.pow(_GROWTH, number + 0.5)


def _bin_of(latency_ms: int) -> int:
    return int(math.log(max(1, latency_ms)) / math.log(_GROWTH))


class Timeline(Struct, frozen=True):
    """Calls that came back, in steps of equal length. The step is the shortest by which they fill at most 48.

    Attributes:
        answers, nano_usd: how many answers came in a step, and what its calls cost. Steps are counted from 1970 on.
    """

    step_s: int = STEPS_S[0]
    answers: Bins = ()
    nano_usd: Bins = ()

    def plus(self, other: Timeline) -> Timeline:
        step = max(self.step_s, other.step_s)
        one, two = self._in_steps_of(step), other._in_steps_of(step)
        return Timeline(step, _add(one.answers, two.answers), _add(one.nano_usd, two.nano_usd)).shortened()

    def shortened(self) -> Timeline:
        """Return the same in longer steps, if it takes more than 48 of these from its first to its last."""
        longer = [step for step in STEPS_S if step >= self.step_s]
        for step in longer:
            found = self._in_steps_of(step)
            if len(found.steps) <= MAX_STEPS:
                return found
        return self._in_steps_of(longer[-1])

    @property
    def steps(self) -> range:
        """Return the numbers of all steps, those in which nothing came back included."""
        numbers = [number for number, _ in (*self.answers, *self.nano_usd)]
        return range(min(numbers), max(numbers) + 1) if numbers else range(0)

    def _in_steps_of(self, step_s: int) -> Timeline:
        if step_s == self.step_s:
            return self
        factor = step_s // self.step_s
        return Timeline(step_s, _merge(self.answers, factor), _merge(self.nano_usd, factor))


class Example(Struct, frozen=True):
    """A record that failed. ``line`` is counted from 1; ``id`` is "" where its line has none that can be read."""

    line: int
    id: str = ""


class FailureKind(Struct, frozen=True):
    """Failures of one code. ``kind`` is as in ``Failure``; ``examples`` are the first in the file's order."""

    kind: str
    examples: tuple[Example, ...]

    def plus(self, later: FailureKind) -> FailureKind:
        return FailureKind(self.kind, (*self.examples, *later.examples)[:_MAX_EXAMPLES])


class RunFigures(Struct, frozen=True):
    """The figures of some chunks of a run. ``latencies`` of answers are by route, ``failed`` is by code."""

    latencies: dict[str, Latencies] = {}
    timeline: Timeline = Timeline()
    failed: dict[str, FailureKind] = {}

    def followed_by(self, later: RunFigures) -> RunFigures:
        """Add the figures of chunks that come after these in the file."""
        latencies, failed = dict(self.latencies), dict(self.failed)
        for route, found in later.latencies.items():
            latencies[route] = latencies.get(route, Latencies()).plus(found)
        for code, found_kind in later.failed.items():
            failed[code] = failed[code].plus(found_kind) if code in failed else found_kind
        return RunFigures(latencies, self.timeline.plus(later.timeline), failed)


def figures_of(results: Iterable[RecordResult], attempts: Sequence[Attempt]) -> RunFigures:
    """Return the figures of a unit: its records in order, and all calls that it made."""
    latencies: dict[str, Counter[int]] = {}
    answers, nano_usd = Counter[int](), Counter[int]()
    for attempt in attempts:
        if not attempt.started_at:  # a call that is lost: nobody knows when it ended
            continue
        ended = int(datetime.fromisoformat(attempt.started_at).timestamp() + attempt.latency_ms / 1000)
        step = ended // STEPS_S[0]
        nano_usd[step] += attempt.price.nano_usd or 0
        if attempt.code == "ok":
            answers[step] += 1
            latencies.setdefault(attempt.route, Counter())[_bin_of(attempt.latency_ms)] += 1
    return RunFigures(
        {route: Latencies(_sorted(bins)) for route, bins in sorted(latencies.items())},
        Timeline(STEPS_S[0], _sorted(answers), _sorted(nano_usd)).shortened(),
        _examples_of(results),
    )


def _examples_of(results: Iterable[RecordResult]) -> dict[str, FailureKind]:
    failed: dict[str, FailureKind] = {}
    for result in results:
        if result.answered:
            continue
        one = FailureKind(result.kind, (Example(result.at_line, result.id),))
        failed[result.code] = failed[result.code].plus(one) if result.code in failed else one
    return failed


def _merge(bins: Bins, factor: int) -> Bins:
    merged = Counter[int]()
    for number, count in bins:
        merged[number // factor] += count
    return _sorted(merged)


def _add(one: Bins, other: Bins) -> Bins:
    total = Counter(dict(one))
    total.update(dict(other))
    return _sorted(total)


def _sorted(counts: Mapping[int, int]) -> Bins:
    return tuple(sorted(counts.items()))
