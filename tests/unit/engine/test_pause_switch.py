"""A worker looks at the switches every few seconds."""

from __future__ import annotations

import pytest

from promptmill.engine.unit import FRESH_S, PAUSED_DELAY_S, PauseSwitch
from promptmill.ports.recipe_source import EVERYTHING, Pause
from tests.fakes.clock import FakeClock
from tests.fakes.switches import FakeSwitches


class Counting(FakeSwitches):
    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    async def paused(self) -> dict[str, Pause]:
        self.looks += 1
        return await super().paused()


@pytest.mark.parametrize("name", ["r", EVERYTHING])
async def test_a_pause_is_in_force_after_a_few_seconds_and_so_is_its_end(name: str) -> None:
    clock, switches = FakeClock(), FakeSwitches()
    pause_switch = PauseSwitch(switches, clock)
    assert await pause_switch.find_pause_s("r") is None
    await switches.pause(name, by="me", at="now")
    clock.advance(FRESH_S - 0.1)
    assert await pause_switch.find_pause_s("r") is None
    clock.advance(0.1)
    assert await pause_switch.find_pause_s("r") == PAUSED_DELAY_S
    await switches.unpause(name)
    clock.advance(FRESH_S)
    assert await pause_switch.find_pause_s("r") is None


async def test_the_first_look_is_a_real_one() -> None:
    clock, switches = FakeClock(), FakeSwitches()
    await switches.pause("r", by="me", at="now")
    assert await PauseSwitch(switches, clock).find_pause_s("r") == PAUSED_DELAY_S


async def test_the_pause_of_one_recipe_holds_up_no_other() -> None:
    clock, switches = FakeClock(), FakeSwitches()
    pause_switch = PauseSwitch(switches, clock)
    await switches.pause("r", by="me", at="now")
    assert await pause_switch.find_pause_s("other") is None
    assert await pause_switch.find_pause_s("r") == PAUSED_DELAY_S


async def test_many_groups_cost_one_look() -> None:
    clock, switches = FakeClock(), Counting()
    pause_switch = PauseSwitch(switches, clock)
    for _ in range(100):
        await pause_switch.find_pause_s("r")
    assert switches.looks == 1
