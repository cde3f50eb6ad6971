"""A job whose workers are killed at random: see kills.py."""

from __future__ import annotations

import pytest

from tests.local.deployment import Deployment
from tests.local.kills import survive
from tests.local.worker_processes import CAN_FIND

pytestmark = pytest.mark.emulator
KILLS = 5


@pytest.mark.skipif(not CAN_FIND, reason="finds the worker by /proc")
def test_kills_cost_the_calls_in_flight_and_no_record(deployment: Deployment) -> None:
    killed = survive(deployment, kills=KILLS, seed=1)
    assert sum(killed.repeated) > 0, "no worker was killed with a call in flight"
    assert sum(killed.books.requests.values()) == killed.books.records + sum(killed.repeated)
