"""A heartbeat waits for nothing but itself, and lasts from the claim to the end of the close."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest
from msgspec import structs

from promptmill.aws.dynamodb.units import DynamoDbUnits
from promptmill.aws.s3.object_store import S3ObjectStore
from promptmill.aws.sqs import SqsMessageLease
from promptmill.domain.units import Claim
from promptmill.engine.heartbeat import Heartbeat
from promptmill.engine.run_unit import UnitEnd, run_unit
from promptmill.ports.blocking_calls import create_task_on
from promptmill.system_clock import SystemClock
from tests.fakes.failing import ALWAYS
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.engine.parts import UNIT, House, LineUnit

FAILSAFE_S = 30.0
"""After which what hangs is let go, so that a broken heartbeat fails the test instead of hanging it."""
MANY = 200
"""More calls than there are threads of any kind."""
LEASE_S = 120


class Hanging:
    """Clients of S3, DynamoDB and SQS. Those named hang on a real thread until they are let go."""

    def __init__(self, *names: str) -> None:
        self.names, self.let_go = names, threading.Event()
        self.order: list[str] = []

    def _call(self, name: str) -> None:
        if name in self.names:
            if not self.let_go.wait(FAILSAFE_S):
                self.order.append("failsafe")
        else:
            self.order.append(name)

    def put_object(self, **_: Any) -> dict[str, Any]:
        self._call("put_object")
        return {}

    def update_item(self, **_: Any) -> dict[str, Any]:
        self._call("update_item")
        return {"Attributes": {"epoch": {"N": "1"}, "beat": {"N": "1"}, "owner": {"S": "me"}}}

    def change_message_visibility(self, **_: Any) -> dict[str, Any]:
        self._call("change_message_visibility")
        return {}


def adapters(client: Any) -> tuple[S3ObjectStore, DynamoDbUnits, SqsMessageLease]:
    units = DynamoDbUnits(client, "t", random.Random(1), SystemClock())
    return S3ObjectStore(client, "b"), units, SqsMessageLease(client, "https://queue", "receipt")


async def let_go(client: Hanging, *tasks: asyncio.Task[Any]) -> None:
    client.let_go.set()
    await asyncio.gather(*tasks, return_exceptions=True)


class Signs:
    """The two signs of life over real adapters. ``enough`` is set once both came through, or nothing hangs any more."""

    def __init__(self, client: Hanging, *wanted: str) -> None:
        _, self._units, self._lease = adapters(client)
        self._client, self._wanted, self.enough = client, wanted, asyncio.Event()

    async def beat(self) -> bool:
        alive = await self._units.beat("u", Claim(1, 0, "me"))
        self._look()
        return alive

    async def renew(self) -> None:
        await self._lease.renew(LEASE_S)
        self._look()

    def _look(self) -> None:
        order = self._client.order
        if "failsafe" in order or all(order.count(name) >= 3 for name in self._wanted):
            self.enough.set()

    async def show(self) -> list[str]:
        """Show signs of life until the wanted ones came three times. Return what came through."""
        async with Heartbeat(self.beat, self.renew, every_s=0.01, clock=SystemClock()):
            await self.enough.wait()
            return list(self._client.order)


async def test_uploads_that_hang_on_every_thread_hold_up_no_heartbeat() -> None:
    client = Hanging("put_object")
    store, _, _ = adapters(client)
    uploads = [asyncio.create_task(store.create(f"k{n}", b"x")) for n in range(MANY)]
    await asyncio.sleep(0)
    order = await Signs(client, "update_item", "change_message_visibility").show()
    assert "failsafe" not in order, "a sign of life waited for uploads"
    await let_go(client, *uploads)


async def test_a_status_that_hangs_holds_up_neither_heartbeats_nor_the_work() -> None:
    client = Hanging("put_object")
    store, units, _ = adapters(client)
    statuses = [create_task_on("status", store.replace("status.json", b"{}")) for _ in range(MANY)]
    await asyncio.sleep(0)
    beat = create_task_on("heartbeat", units.beat("u", Claim(1, 0, "me")))
    work = asyncio.create_task(units.beat("u", Claim(1, 0, "me")))
    await asyncio.gather(beat, work)
    assert client.order == ["update_item"] * 2, "the statuses still hang"
    await let_go(client, *statuses)


async def test_a_lease_that_hangs_holds_up_no_beat() -> None:
    client = Hanging("change_message_visibility")
    assert await Signs(client, "update_item").show() == ["update_item"] * 3
    await let_go(client)


async def test_a_beat_that_hangs_is_not_waited_for_by_the_next() -> None:
    house, begun = House(), list[float]()

    async def hang(*_: Any) -> None:
        begun.append(house.clock.monotonic())
        if len(begun) == 1:
            await house.clock.sleep(1e6)

    claim = await house.claim()
    house.units.before("beat", hang)
    beats = Heartbeat(
        lambda: house.units.beat(UNIT, claim), lambda: house.clock.sleep(0), every_s=20.0, clock=house.clock
    )
    async with beats:
        await house.clock.sleep(100.0)
    assert begun[:3] == [20.0, 40.0, 60.0]


class SlowUnit(LineUnit):
    """A unit one step of which takes several leases."""

    def __init__(self, house: House, step: str) -> None:
        super().__init__(3)
        self._house, self._step = house, step

    async def hang(self, step: str) -> None:
        if step == self._step:
            await self._house.clock.sleep(5.0 * LEASE_S)

    async def close(self, *args: Any) -> None:
        await self.hang("close")
        await super().close(*args)

    async def progress(self, counts: Any) -> None:
        await self.hang("progress")
        await super().progress(counts)


@pytest.mark.parametrize("step", ["recovery", "flush", "verdict", "close", "progress"])
async def test_beats_go_on_while_a_step_takes_several_leases(step: str) -> None:
    house = House()
    unit = SlowUnit(house, step)
    unit.recipe = recipe(routes=(structs.replace(ROUTE, timeout_s=1000.0),))
    await house.claim()
    mine = await house.claim()
    beats = list[float]()

    async def note(*_: Any) -> None:
        beats.append(house.clock.monotonic())

    async def slow(*_: Any, **__: Any) -> None:
        await unit.hang(step)

    house.units.before("beat", note)
    where = {
        "recovery": (house.units, "intents"),
        "flush": (house.objects, "create"),
        "verdict": (house.units, "decide"),
    }
    if step in where:
        port, operation = where[step]
        port.before(operation, slow)
    models = FakeModels()
    models._clock, models._latency_s = house.clock, 300.0
    assert await run_unit(unit, mine, runtime=house.runtime(models)) == UnitEnd("ended")
    end = house.clock.monotonic()
    gaps = [later - earlier for earlier, later in zip([0.0, *beats], [*beats, end], strict=True)]
    assert max(gaps) < LEASE_S / 2
    assert min(unit.lease.renewals) == LEASE_S


async def test_a_lease_that_cannot_be_renewed_ends_no_work() -> None:
    """Whoever gets the message meanwhile sees the claim's beats, and leaves the unit alone."""
    house, unit = House(), LineUnit(3)
    mine = await house.claim()
    unit.lease.fail_next("renew", times=ALWAYS)
    models = FakeModels()
    models._clock, models._latency_s = house.clock, 100.0
    assert await run_unit(unit, mine, runtime=house.runtime(models)) == UnitEnd("ended")
