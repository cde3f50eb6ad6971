"""Searches take their time: a worker hands over what it didn't get to, and shows life meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import structs

from promptmill.domain.recipe import RedactionPolicy
from promptmill.engine.answer_unit import Answering, Draining
from promptmill.engine.heartbeat import cancel_when_set
from promptmill.engine.history import History
from promptmill.engine.unit_budget import UnitBudget
from promptmill.ports.detectors import ExternalDetector, Findings
from promptmill.redaction import KNOWN_TYPES
from tests.fakes.clock import FakeClock
from tests.fakes.deployment import LEASE_S
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.engine.parts import DAY, GATE, House, LineUnit, answer_claimed

POLICY = RedactionPolicy(types=KNOWN_TYPES, engines=("ner",))


class OneByOne:
    """Both ports: a text takes a while, and only one is read at a time. ``begun`` and ``ended``: searches."""

    def __init__(self, clock: FakeClock, seconds: float) -> None:
        self.begun = self.ended = 0
        self._clock, self._seconds, self._turn = clock, seconds, asyncio.Lock()

    def detector(self, runtime: str) -> ExternalDetector:
        del runtime
        return self

    async def find(self, text: str, policy: RedactionPolicy) -> Findings:
        del text, policy
        async with self._turn:
            self.begun += 1
            await self._clock.sleep(self._seconds)
            self.ended += 1
        return Findings()


async def answer(house: House, unit: LineUnit, detectors: OneByOne, models: FakeModels, ends_at: float) -> Answering:
    runtime = structs.replace(house.runtime(models, ends_at=ends_at), detectors=detectors)
    claim = await house.claim(unit.name)
    known = History()
    unit_budget = UnitBudget(unit.name, claim, day=DAY, lines=(), gate=GATE, used=known.used, units=house.units)
    return await answer_claimed(unit, unit_budget, known, runtime=runtime, draining=Draining())


async def test_what_was_searched_in_time_is_answered_and_the_rest_is_left() -> None:
    house, models = House(), FakeModels()
    unit = LineUnit(30, of=recipe(redact=POLICY))
    detectors = OneByOne(house.clock, 60.0)
    ends_at = house.clock.monotonic() + ROUTE.timeout_s + 10 * 60.0 + 1
    answering = await answer(house, unit, detectors, models, ends_at)
    assert answering.why == "time"
    assert sorted(answering.history.results) == list(range(10))
    assert len(models.calls) == detectors.ended == 10
    assert detectors.begun == 11
    assert house.clock.monotonic() <= ends_at


async def test_a_worker_that_searches_shows_life() -> None:
    house, models = House(), FakeModels()
    unit = LineUnit(1, of=recipe(redact=POLICY))
    before = house.units.claims.get(unit.name)
    answering = await answer(house, unit, OneByOne(house.clock, 5.0 * LEASE_S), models, float("inf"))
    assert answering.why == ""
    assert before is None
    assert house.units.claims[unit.name].beat >= 5 * 5
    assert len(unit.told) >= 5 * 5


class TestUnlessSet:
    async def test_gives_what_the_work_returns_or_raises(self) -> None:
        async def work(*, fails: bool) -> int:
            await asyncio.sleep(0)
            if fails:
                raise ValueError("on purpose")
            return 7

        assert await cancel_when_set(asyncio.Event(), work(fails=False), LookupError) == 7
        with pytest.raises(ValueError, match="on purpose"):
            await cancel_when_set(asyncio.Event(), work(fails=True), LookupError)

    @pytest.mark.parametrize("early", [True, False])
    async def test_ends_the_work_with_the_event(self, *, early: bool) -> None:
        event, begun, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        if early:
            event.set()
        waiting = asyncio.create_task(cancel_when_set(event, work(), LookupError))
        if not early:
            await begun.wait()
            event.set()
        with pytest.raises(LookupError):
            await waiting
        assert begun.is_set() == ended.is_set() == (not early)
