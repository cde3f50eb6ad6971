"""Units run beside each other in a process; one under suspicion runs alone."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.domain.units import Claim
from promptmill.engine.takeover import Free, must_run_alone
from promptmill.engine.unit import Turns
from tests.unit.engine.parts import turns as let_the_loop_turn


class Unit:
    """A unit that runs until it is told to end."""

    def __init__(self, turns: Turns, running: list[str], name: str, *, suspected: bool = False) -> None:
        self._turns, self._running, self._name, self._suspected = turns, running, name, suspected
        self.ends = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with self._turns.beside_others():
            if not self._suspected:
                await self._work()
                return
            async with self._turns.alone():
                await self._work()

    async def _work(self) -> None:
        self._running.append(self._name)
        await self.ends.wait()
        self._running.remove(self._name)


@pytest.mark.parametrize("come", ["pABq", "ApBq", "pqAB", "ABpq"])
async def test_one_under_suspicion_waits_for_all_others_and_runs_alone(come: str) -> None:
    turns, running, seen = Turns(), list[str](), []
    units = {name: Unit(turns, running, name, suspected=name in "AB") for name in come}
    await let_the_loop_turn()
    while running:
        seen.append("".join(sorted(running)))
        units[running[0]].ends.set()
        await let_the_loop_turn()
    await asyncio.gather(*(unit.task for unit in units.values()))
    assert sorted(seen) in (["A", "B", "p", "pq"], ["A", "B", "pq", "q"])


async def test_who_is_cancelled_while_it_waits_holds_nobody_up() -> None:
    turns, running = Turns(), list[str]()
    first, waiting, last = (Unit(turns, running, name, suspected=True) for name in "abc")
    await let_the_loop_turn()
    waiting.task.cancel()
    first.ends.set()
    await let_the_loop_turn()
    assert running == ["c"]
    last.ends.set()
    await asyncio.gather(first.task, last.task)
    async with turns.beside_others(), turns.alone():
        pass


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, False),
        (Claim(1, 0, "a"), False),
        (Claim(1, 0, "a", crashes=1, released=True), False),
        (Claim(1, 0, "a", crashes=1), True),
        (Claim(1, 0, "a", crashes=2, released=True), True),
        (Claim(1, 0, "a", released=True, trying=0, tries=1), True),
    ],
)
def test_who_would_be_the_second_that_is_brought_down_runs_alone(found: Claim | None, expected: bool) -> None:
    assert must_run_alone(Free(found)) is expected
