"""Stories of many requests in one process: whoever brings it down is found, and nobody else is blamed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.errors import RetryLaterError
from tests.simulation.faults import FINE, At, Fate, ScriptedFaults
from tests.simulation.provider import LETHAL
from tests.simulation.run import play
from tests.simulation.scenario import POISON, Ask, prompt
from tests.simulation.stories import CRASH, REFUSE, codes, replies, statuses, story, tell
from tests.simulation.trace import Trace
from tests.simulation.world import World


def answered(word: str, count: int, poisoned: Collection[int], latency_s: float, **settings: Any) -> World:
    words = dict.fromkeys(poisoned, word)
    asks = [Ask(0.0, "r0", prompt("ask", n, poison=words.get(n, "")), f"a{n}") for n in range(count)]

    def begin(world: World) -> None:
        world.provider.temper = structs.replace(world.provider.temper, latency_s=latency_s)

    return tell(story(0, asks=asks, batch=10, workers=5, side_by_side=True, **settings), begin=begin)


def outcomes(world: World) -> dict[int, str]:
    return {
        int(reply["id"][1:]): "answered" if reply["status"] == "answered" else reply["error"]["code"]
        for reply in replies(world)
    }


@pytest.mark.parametrize("word", [POISON, LETHAL])
@pytest.mark.parametrize(
    ("count", "poisoned", "latency_s"),
    [
        (10, {4}, 5.0),
        (10, {4}, 0.5),
        (10, {4}, 12.0),
        (50, {7}, 5.0),
        (50, {7, 23, 41}, 8.0),
        (20, {0, 1, 2, 3, 4}, 5.0),
    ],
)
def test_the_innocent_of_a_batch_are_answered(word: str, count: int, poisoned: set[int], latency_s: float) -> None:
    world = answered(word, count, poisoned, latency_s)
    expected = {n: "worker_crashed" if n in poisoned else "answered" for n in range(count)}
    assert outcomes(world) == expected
    assert world.runtime.crashed <= 5 * len(poisoned)
    made = Counter(int(call.prompt.split()[2]) for call in world.provider.bill)
    assert max(made[n] for n in range(count) if n not in poisoned) <= 3


def test_requests_that_wait_to_be_tried_alone_are_not_touched_by_a_crash() -> None:
    """Five poisoned ones among ten: those that wait are received again and again, and no crash is counted for them."""
    world = answered(LETHAL, 10, {0, 2, 4, 6, 8}, 1.0, max_receives=3)
    assert Counter(outcomes(world).values()) == {"answered": 5, "worker_crashed": 5}
    innocent = [unit for unit, claim in world.units.claims.items() if claim.crashes == 0]
    assert len(innocent) >= 5


def test_a_time_limit_hands_those_that_still_wait_to_another_process() -> None:
    world = answered(POISON, 10, {3}, 55.0, limit_s=300.0)
    assert outcomes(world) == {n: "worker_crashed" if n == 3 else "answered" for n in range(10)}


_MARKS = 2
"""A worker marks that it looks for the records' places, and then the first record that it tries."""


class SickTable(ScriptedFaults):
    """Two crashes, and then a table, or a bucket, that fails several workers while they try a record alone."""

    def __init__(self, *steps: str, releases: int = 0, workers: int = 5) -> None:
        super().__init__(At("chunk", "units.intend", CRASH), At("chunk", "units.intend", CRASH))
        self._steps, self._left, self._releases = steps, workers, releases
        self._sick: Counter[str] = Counter()
        self._marks: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def fate(self, process: str, step: str, label: str) -> Fate:
        if not all(at.done for at in self.script):
            return super().fate(process, step, label)
        self._marks[process] += step == "units.mark"
        if step == "units.mark" and process not in self._sick and self._left:
            self._left -= 1  # the mark itself is written: whoever ends now seems to be ended by the record
            self._sick[process] = self._releases
            return FINE
        if step == "units.mark" and self._marks[process] == _MARKS:
            return FINE
        refuses = process in self._sick and (
            step in self._steps and "/000001/" not in label and "/000002/" not in label
        )
        if step == "units.release" and self._sick[process] > 0:
            self._sick[process] -= 1
            refuses = True
        self.refused[step] += refuses
        return REFUSE if refuses else FINE


@pytest.mark.parametrize("releases", [0, 1, 4])
@pytest.mark.parametrize("steps", [("units.intend", "units.mark"), ("objects.create", "units.mark"), ("units.mark",)])
def test_a_store_that_refuses_condemns_nobody(steps: tuple[str, ...], releases: int) -> None:
    """No worker is brought down here. What they had written down about a try that ended is taken back."""
    faults = SickTable(*steps, releases=releases)
    world = play(story(3, sweeps=True), faults, Trace(kept=False), random.Random(7))
    assert world.watch.broken == []
    assert faults.refused[steps[0]]
    assert statuses(world) == ["answered"] * 3
    assert world.runtime.crashed == 2


def test_a_record_that_kills_takes_no_other_of_its_job_with_it() -> None:
    """Chunks that are carried on with share the process, too."""
    world = tell(story(30, in_flight=1, lethal=[17], sweeps=True, workers=2))
    assert Counter(statuses(world)) == {"answered": 29, "failed": 1}
    assert codes(world) == ["worker_crashed"]


@pytest.mark.parametrize("retry_after_s", [1.0, None, 30.0])
def test_a_burst_of_requests_beyond_the_providers_limit_is_answered_late_and_whole(retry_after_s: float | None) -> None:
    """Two hundred requests in two seconds, at a provider that takes sixty a minute: a limit is a reason to wait, and no verdict."""
    asks = [Ask(n / 100, "r0", prompt("ask", n), f"a{n}") for n in range(200)]

    def begin(world: World) -> None:
        bucket = Bucket(world, retry_after_s)
        world.provider._mood = bucket.mood  # type: ignore[method-assign,assignment]

    world = tell(story(0, asks=asks, workers=5, batch=10), begin=begin)
    assert Counter(reply["status"] for reply in replies(world)) == {"answered": 200}


class Bucket:
    """A provider's limit of one request a second, and ten at once."""

    def __init__(self, world: World, retry_after_s: float | None) -> None:
        self._world, self._retry_after_s = world, retry_after_s
        self._tokens, self._at = 10.0, 0.0

    def mood(self, *_: object) -> Any:
        now = self._world.loop.time()
        self._tokens, self._at = min(10.0, self._tokens + now - self._at), now
        if self._tokens < 1:
            return RetryLaterError("rate_limited", "", status=429, retry_after_s=self._retry_after_s), False
        self._tokens -= 1
        return None, True
