from __future__ import annotations

from typing import Any

import pytest

from promptmill.aws.dynamodb.switches import DynamoDbSwitches
from promptmill.engine.unit import find_pause
from promptmill.ports.recipe_source import EVERYTHING, Pause
from tests.contract.ports.conftest import create_table
from tests.fakes.switches import FakeSwitches

ANN, BOB = Pause("ann", "2026-11-22T12:00:00Z"), Pause("bob", "2026-11-22T12:05:00Z")


@pytest.fixture(params=["fake", "dynamodb"])
def switches(request: pytest.FixtureRequest) -> Any:
    if request.param == "fake":
        return FakeSwitches()
    client = request.getfixturevalue("aws").client("dynamodb")
    create_table(client, "jobs", {"by_time": ("month", "job_id")})
    return DynamoDbSwitches(client, "jobs")


async def test_recipes_are_paused_and_unpaused(switches: Any) -> None:
    assert await switches.paused() == {}
    await switches.pause("r", by=ANN.by, at=ANN.at)
    await switches.pause(EVERYTHING, by=BOB.by, at=BOB.at)
    assert await switches.paused() == {"r": ANN, EVERYTHING: BOB}
    await switches.unpause("r")
    await switches.unpause("nobody's")
    assert await switches.paused() == {EVERYTHING: BOB}


def test_a_recipes_own_pause_comes_first() -> None:
    paused = {"r": ANN, EVERYTHING: BOB}
    assert (find_pause("r", paused), find_pause("other", paused)) == (ANN, BOB)
    assert find_pause("other", {"r": ANN}) is None
