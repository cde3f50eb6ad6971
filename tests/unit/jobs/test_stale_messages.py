"""Messages of a chunk that was given back since: those that are left over end, the only one is never lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.job import JobState
from promptmill.domain.messages import ChunkMessage
from promptmill.domain.units import chunk_unit
from promptmill.jobs.run_chunk import RECHECK_DELAY_S, run_chunk
from tests.fakes.deployment import LEASE_S
from tests.fakes.failing import ALWAYS
from tests.fakes.mill import Mill, jsonl, vanish
from tests.fakes.recipes import recipe

KEY = "inbox/r/prompts.jsonl"


async def planned() -> tuple[Mill, ChunkMessage]:
    mill = Mill(recipe())
    await mill.plan(mill.drop(KEY, jsonl({"id": n, "prompt": "x"} for n in range(10))))
    message = mill.queue.waiting.pop(0)
    assert isinstance(message, ChunkMessage)
    return mill, message


async def given_back(mill: Mill, message: ChunkMessage, *, times: int = 1) -> None:
    unit = chunk_unit(message.job_id, message.run, message.chunk)
    for _ in range(times):
        claim = await mill.units.claim(unit, seen=mill.units.claims.get(unit), owner="worker")
        assert claim is not None
        await mill.units.release(unit, claim)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_message_from_before_the_chunk_was_given_back_is_put_aside(after: int) -> None:
    mill, message = await planned()
    await given_back(mill, message, times=2)
    assert (
        await mill.run_chunk(structs.replace(message, released_at_epoch=after, owner_seen=(1, 7)))
    ).verdict == "stale"
    assert mill.queue.sent[-1] == (structs.replace(message, released_at_epoch=2, is_recheck=True), RECHECK_DELAY_S)
    assert mill.units.claims[chunk_unit(message.job_id, 1, 0)].epoch == 2, "it was not even claimed"


@pytest.mark.parametrize("alive", [False, True])
async def test_what_was_put_aside_ends_if_another_message_was_worked_on(*, alive: bool) -> None:
    mill, message = await planned()
    await given_back(mill, message, times=2)
    unit = chunk_unit(message.job_id, 1, 0)
    if alive:
        await mill.units.claim(unit, seen=mill.units.claims[unit], owner="alive")
    assert (await mill.run_chunk(structs.replace(message, released_at_epoch=1, is_recheck=True))).verdict == "stale"
    assert mill.queue.waiting == []


async def test_what_was_put_aside_is_worked_on_if_no_other_message_came() -> None:
    mill, message = await planned()
    await given_back(mill, message, times=2)
    assert (await mill.run_chunk(structs.replace(message, released_at_epoch=2, is_recheck=True))).verdict == "ended"


async def test_a_fault_in_a_chunk_taken_by_carrying_on_sends_it_again() -> None:
    mill, message = await planned()
    mill.units.fail_next("intend", times=ALWAYS)
    with pytest.raises(ConnectionAbortedError):
        await run_chunk(message, structs.replace(mill.chunk_worker("worker", message), joined=True))
    assert mill.queue.sent[-1] == (structs.replace(message, released_at_epoch=1), LEASE_S)


async def test_a_chunk_under_suspicion_is_not_carried_on_with_beside_another() -> None:
    mill, planned_message = await planned()
    message = structs.replace(planned_message, released_at_epoch=1)
    unit = chunk_unit(message.job_id, 1, 0)
    claim = await mill.units.claim(unit, seen=None, owner="worker")
    assert claim is not None
    await mill.units.mark(unit, claim, crashes=2)
    await mill.units.release(unit, claim)
    report = await run_chunk(message, structs.replace(mill.chunk_worker("worker", message), joined=True))
    assert (report.verdict, mill.queue.sent[-1]) == ("deferred", (message, 0))
    assert mill.units.claims[unit].epoch == 1, "nobody has touched it"
    assert (await mill.run_chunk(message)).verdict == "ended"


@pytest.mark.parametrize("after", [2, None])
async def test_the_message_of_the_last_owner_and_those_of_the_sweep_are_worked_on(after: int | None) -> None:
    mill, message = await planned()
    await given_back(mill, message, times=2)
    assert (await mill.run_chunk(structs.replace(message, released_at_epoch=after))).verdict == "ended"


async def test_a_message_of_a_chunk_that_is_owned_is_not_stale() -> None:
    mill, message = await planned()
    await given_back(mill, message)
    unit = chunk_unit(message.job_id, 1, 0)
    await mill.units.claim(unit, seen=mill.units.claims[unit], owner="alive")
    assert (await mill.run_chunk(message)).verdict == "deferred", "its owner may end without a word"


async def test_a_message_that_comes_back_after_an_error_is_worked_on() -> None:
    mill, message = await planned()
    mill.units.fail_next("intend", times=ALWAYS)
    with pytest.raises(ConnectionAbortedError):
        await mill.run_chunk(message)
    mill.units.mend("intend")
    mill.queue.waiting.append(message)
    await mill.pump()
    assert mill.job(message.job_id).state is JobState.DONE


async def test_a_message_whose_worker_vanished_between_giving_back_and_sending_again_is_worked_on() -> None:
    mill, message = await planned()
    await mill.switches.pause("r", by="me", at="now")
    mill.clock.advance(10)
    paused = iter([None])

    async def hang(*_: Any, **__: Any) -> None:
        await asyncio.Future()

    mill.queue.before("send", hang)
    worker = mill.chunk_worker("worker", message)

    async def unpaused_at_first(recipe: str) -> int | None:
        del recipe
        return next(paused, 60)

    worker.runtime.pause_switch.find_pause_s = unpaused_at_first  # type: ignore[method-assign]
    await vanish(run_chunk(message, worker), after_turns=500)
    assert mill.units.claims[chunk_unit(message.job_id, 1, 0)].released
    mill.queue.mend("send")
    await mill.switches.unpause("r")
    mill.queue.waiting.append(message)
    await mill.pump()
    assert mill.job(message.job_id).state is JobState.DONE
