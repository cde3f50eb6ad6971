"""A sweep serves every run in the end, however many are quiet and whatever goes wrong with some of them."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.domain.messages import ChunkMessage
from promptmill.jobs.sweep import AT_ONCE, RUN_LIMIT_S, sweep
from tests.fakes.mill import Mill, jsonl
from tests.fakes.recipes import recipe

HOUR_S = 3600.0
LIMIT_S = 120.0
EVERY_S = 120.0


async def quiet(runs: int) -> Mill:
    """Return a deployment whose runs have lost all of their messages."""
    mill = Mill(recipe())
    for n in range(runs):
        await mill.plan(mill.drop(f"inbox/r/f{n}.jsonl", jsonl([{"id": n, "prompt": f"p{n}"}])))
    mill.queue.waiting.clear()
    mill.clock.advance(HOUR_S)
    return mill


def jobs_sent(mill: Mill) -> set[str]:
    return {sent.job_id for sent in mill.queue.waiting if isinstance(sent, ChunkMessage)}


async def test_hundreds_of_quiet_runs_are_all_served_by_sweeps_that_end_in_time() -> None:
    mill = await quiet(300)

    async def slow(*_: object, **__: object) -> None:
        await mill.clock.sleep(8.0)

    mill.objects.before("read", slow)
    mill.queue.waiting.clear()
    sweeps, least = 0, AT_ONCE * int(LIMIT_S / 8.0 / 2)
    while len(jobs_sent(mill)) < 300:
        began = mill.clock.monotonic()
        swept = await sweep(mill.context(), ends_at=began + LIMIT_S)
        assert mill.clock.monotonic() <= began + LIMIT_S
        sweeps += 1
        assert sweeps <= 300 // least, "each sweep gets on, and goes on where the last one stopped"
        assert swept.left + swept.looked_at == swept.due
        mill.clock.advance(EVERY_S - (mill.clock.monotonic() - began))
    assert sweeps > 1, "else this shows nothing"


async def test_what_is_sent_for_one_run_does_not_wait_for_the_others() -> None:
    """A sweep that is ended in its second run has sent what the first one needs."""
    mill = await quiet(2)
    reads, second = 0, asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        nonlocal reads
        reads += 1
        if reads > 1:
            second.set()
            await asyncio.Event().wait()

    mill.objects.before("read", hang)
    sweeping = asyncio.create_task(sweep(mill.context(), ends_at=mill.clock.monotonic() + LIMIT_S, at_once=1))
    await second.wait()
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)
    assert len(jobs_sent(mill)) == 1


async def test_runs_that_hang_do_not_keep_others_from_their_turn() -> None:
    """They are the oldest, and stay it: whoever began with them each time would never get to the others."""
    mill = await quiet(80)
    bad = [job for job, _ in mill.jobs.runs][:70]

    async def hang(key: str, **_: object) -> None:
        if any(job in key for job in bad):
            await mill.clock.sleep(1e6)

    mill.objects.before("read", hang)
    for _ in range(4):
        began = mill.clock.monotonic()
        with pytest.raises(ExceptionGroup):
            await sweep(mill.context(), ends_at=began + LIMIT_S)
        mill.clock.advance(max(0.0, EVERY_S - (mill.clock.monotonic() - began)))
    assert len(jobs_sent(mill)) == 10
    assert LIMIT_S / RUN_LIMIT_S * AT_ONCE < 70, "else one sweep is enough"


async def test_one_run_whose_gates_cannot_be_shut_is_no_obstacle() -> None:
    mill = await quiet(3)
    first, *others = sorted(job for job, _ in mill.jobs.runs)
    await mill.jobs.stop(first, 1, code="cancelled", at="")
    mill.jobs.fail_next("shut_gates", times=99)
    with pytest.raises(ExceptionGroup):
        await mill.sweep()
    assert jobs_sent(mill) == set(others)


async def test_a_sweep_says_where_it_stopped() -> None:
    mill = await quiet(5)

    async def slow(*_: object, **__: object) -> None:
        await mill.clock.sleep(50.0)

    mill.objects.before("read", slow)
    swept = await sweep(mill.context(), ends_at=mill.clock.monotonic() + LIMIT_S, run_limit_s=80.0, at_once=2)
    assert (swept.open, swept.due, swept.looked_at, swept.left) == (5, 5, 4, 1)
    mill.objects.mend("read")
    assert (await mill.sweep()).looked_at == 1


async def test_nothing_is_left_where_there_is_time() -> None:
    mill = await quiet(3)
    swept = await mill.sweep()
    assert (swept.open, swept.due, swept.looked_at, swept.left, swept.chunks) == (3, 3, 3, 0, 3)
