from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec import structs

from promptmill.aws.dynamodb.limit_groups import DynamoDbLimitGroups
from promptmill.domain.limit_group import Circuit, Estimate, Found, GroupState, InFlight, Learnt, Member
from promptmill.domain.limits import Told
from tests.contract.ports.conftest import create_table
from tests.fakes.clock import FakeClock
from tests.fakes.limit_groups import FakeLimitGroups

GROUP = "openai/gpt-6-luna@promptmill/openai"
MEMBER = Member("job.1", 1_790_000_025.25, 6.75, 612.5, 0.25, used_of_share=0.5)
OTHER = Member("recipe:reviews", 1_790_000_026.0, braked=True)


@pytest.fixture(params=["fake", "dynamodb"])
def groups(request: pytest.FixtureRequest) -> Any:
    if request.param == "fake":
        return FakeLimitGroups()
    client = request.getfixturevalue("aws").client("dynamodb")
    create_table(client, "jobs", {"open": ("open", "sk_time"), "by_time": ("month", "job_id")})
    return DynamoDbLimitGroups(client, "jobs", random.Random(1), FakeClock())


async def test_a_group_that_nobody_joined_is_empty(groups: Any) -> None:
    assert await groups.read(GROUP) == GroupState()


async def test_what_was_told_stays_until_something_else_is_told(groups: Any) -> None:
    told, moved = Told(1_790_000_000.5, 600.0, input_tokens=0.75), Told(1_790_000_001.0, doubted=True)
    assert (await groups.show(GROUP, "a", MEMBER, found=Found(told))).told == told
    assert (await groups.show(GROUP, "b", OTHER)).told == told
    await groups.leave(GROUP, "a")
    await groups.leave(GROUP, "b")
    assert (await groups.read(GROUP)).told == told
    assert (await groups.show(GROUP, "b", OTHER, found=Found(moved))).told == moved


async def test_the_best_number_in_flight_stays_until_another_one_is_found(groups: Any) -> None:
    found = InFlight(1_790_000_000.5, 96)
    assert (await groups.show(GROUP, "a", MEMBER, found=Found(in_flight=found))).in_flight == found
    await groups.leave(GROUP, "a")
    assert (await groups.show(GROUP, "b", OTHER)).in_flight == found
    assert (await groups.show(GROUP, "b", OTHER, found=Found(in_flight=InFlight(1.0, 4)))).in_flight == InFlight(1.0, 4)


async def test_a_write_returns_all_members(groups: Any) -> None:
    assert (await groups.show(GROUP, "a", MEMBER)).members == {"a": MEMBER}
    assert (await groups.show(GROUP, "b", OTHER)).members == {"a": MEMBER, "b": OTHER}
    again = structs.replace(MEMBER, latency_s=7.5)
    assert (await groups.show(GROUP, "a", again)).members == {"a": again, "b": OTHER}
    assert (await groups.read(GROUP)).members == {"a": again, "b": OTHER}
    assert await groups.read("another") == GroupState()


async def test_the_dead_are_forgotten_but_not_oneself(groups: Any) -> None:
    await groups.show(GROUP, "a", MEMBER)
    await groups.show(GROUP, "b", OTHER)
    state = await groups.show(GROUP, "c", MEMBER, forget=["a", "c", "never was"])
    assert set(state.members) == {"b", "c"}


async def test_who_leaves_takes_only_itself_and_what_it_learnt_stays(groups: Any) -> None:
    await groups.show(GROUP, "a", MEMBER)
    await groups.show(GROUP, "b", OTHER)
    await groups.leave(GROUP, "a", learnt=Learnt(6.5, 600.0, 0.5))
    await groups.leave(GROUP, "never was")
    assert await groups.read(GROUP) == GroupState({"b": OTHER}, learnt=Learnt(6.5, 600.0, 0.5))


async def test_a_job_waits_until_one_of_its_workers_joins(groups: Any) -> None:
    await groups.wait(GROUP, "job.1", until=1_790_000_015.5)
    await groups.wait(GROUP, "job.2", until=1_790_000_016.5)
    assert (await groups.read(GROUP)).waiting == {"job.1": 1_790_000_015.5, "job.2": 1_790_000_016.5}
    assert (await groups.show(GROUP, "a", MEMBER)).waiting == {"job.2": 1_790_000_016.5}
    await groups.wait(GROUP, "job.3", until=1_790_000_017.0, forget=["job.2", "job.3"])
    assert (await groups.read(GROUP)).waiting == {"job.3": 1_790_000_017.0}


async def test_a_circuit_moves_only_from_what_was_seen(groups: Any) -> None:
    opened, probed = Circuit(1_790_000_000.123456, 1_790_000_005.0), Circuit(1_790_000_000.123456, 1_790_000_015.0, 1)
    assert await groups.set_circuit(GROUP, seen=None, to=opened)
    assert not await groups.set_circuit(GROUP, seen=None, to=probed), "somebody opened it"
    assert await groups.set_circuit(GROUP, seen=opened, to=probed), "as written, whatever was rounded"
    assert not await groups.set_circuit(GROUP, seen=opened, to=None), "somebody probed meanwhile"
    seen = (await groups.read(GROUP)).circuit
    assert seen.probes == 1
    assert await groups.set_circuit(GROUP, seen=seen, to=None)
    assert (await groups.read(GROUP)).circuit is None
    assert await groups.set_circuit(GROUP, seen=None, to=opened)


async def test_an_estimate_moves_only_from_what_was_seen(groups: Any) -> None:
    first, second = Estimate(5.0, 1_790_000_000.5), Estimate(10.0, 1_790_000_010.5, reached=True)
    assert await groups.set_estimate(GROUP, seen=None, to=first)
    assert not await groups.set_estimate(GROUP, seen=None, to=second)
    assert await groups.set_estimate(GROUP, seen=first, to=second)
    assert (await groups.read(GROUP)).estimate == second
