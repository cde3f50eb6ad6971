"""A second writer between every two calls of an adapter to its store: what comes of both is what one after the other gives.

The fakes and moto answer a whole operation at once, so they never show what an adapter reads and another changes before
it writes. Here the other writer does its work before the first, the second, ... call of an operation, until it has been
at every place. Either order of the two has to explain both answers and all that is held.
"""

from __future__ import annotations

import asyncio
from typing import Any

import boto3
import pytest

from promptmill.aws.dynamodb.items import to_item
from promptmill.aws.dynamodb.unit_items import budget_key
from promptmill.domain.job import JobState
from promptmill.domain.limit_group import Estimate
from promptmill.domain.units import Verdict
from tests.contract.ports.test_conditional_writes import (
    CASES,
    COUNTS,
    DAY,
    GATE,
    LIMIT,
    LINES,
    UNIT,
    Case,
    Step,
    Stores,
    own,
    plan_as,
)
from tests.contract.ports.test_jobs import AT, ID

OTHER = "job-1.1.1"


async def other_unit_draws(s: Stores) -> str:
    claim = await s.units.claim(OTHER, seen=None, owner="o")
    assert claim is not None
    return (await s.units.grant(OTHER, claim, 800, day=DAY, lines=LINES, gate=None)).verdict


async def gates_shut(s: Stores) -> None:
    await s.jobs.shut_gates(GATE.job_id, GATE.run)


async def budget_forgotten(s: Stores) -> None:
    """What DynamoDB does with an item whose time to live is over."""
    await asyncio.to_thread(s.db.delete_item, TableName=f"{s.name}-jobs", Key=to_item(budget_key(LINES[0].key)))


async def first_drop_forgotten(s: Stores) -> None:
    key = {"pk": "DUPLICATE#r#d", "sk": "FIRST"}
    await asyncio.to_thread(s.db.delete_item, TableName=f"{s.name}-jobs", Key=to_item(key))


async def window_moved_twice(s: Stores) -> list[bool]:
    return [await s.jobs.take(ID, 1, seen=seen, to=seen + 2, taker=f"z{seen}") for seen in (1, 3)]


def end_chunk(chunk: int) -> Step:
    return lambda s: s.jobs.chunk_ended(ID, 1, chunk, COUNTS, of=2, at=AT)


UNITS: dict[str, Step] = {
    "another unit draws": other_unit_draws,
    "the gates are shut": gates_shut,
    "the budget is forgotten": budget_forgotten,
    "a decision": own(lambda s, c: s.units.decide(UNIT, c, Verdict("stopped", "x"), used=c.granted, lines=LINES)),
}
OF_UNITS = ("granted", "granted beyond the limit", "given back", "decided", "intended", "released")
RUNS: dict[str, Step] = {
    "it is stopped": lambda s: s.jobs.stop(ID, 1, code="other", at=AT),
    "it is joined": lambda s: s.jobs.move(ID, 1, JobState.JOINING, at=AT),
    "it ends": lambda s: s.jobs.move(ID, 1, JobState.STOPPED, at=AT),
}
OF_RUNS = ("run moved", "run stopped", "status turn")
MEETINGS: list[tuple[str, str, Step]] = [
    *((name, "the same", case.rival) for name, case in CASES.items()),
    *((name, rival, step) for name in OF_UNITS for rival, step in UNITS.items()),
    *((name, rival, step) for name in OF_RUNS for rival, step in RUNS.items()),
    *(("budget healed", rival, UNITS[rival]) for rival in ("another unit draws", "the budget is forgotten")),
    ("window moved on", "twice", window_moved_twice),
    ("chunk drained", "another chunk", lambda s: s.jobs.note_drained(ID, 1, 1)),
    ("chunk ended", "the last other chunk", end_chunk(1)),
    ("first drop", "it is forgotten", first_drop_forgotten),
    ("planner freed", "another takes it", plan_as("b")),
    ("circuit opened", "an estimate", lambda s: s.groups.set_estimate(LIMIT, seen=None, to=Estimate(3.0, 3.0))),
]
LATER_ANSWERS = {
    "budget healed": "it says that the budget was wrong as it was read, whoever has healed it since",
    "holders healed": "likewise",
    "chunk drained": "it tells of the window as it is after the note, with what others have noted since",
}
"""Operations whose answer may know more than their write did, and why that is right."""


async def after_each_other(session: boto3.Session, name: str, case: Case, *steps: Step) -> tuple[list[Any], Any]:
    stores = Stores(session, name)
    await case.prepare(stores)
    answers = [await step(stores) for step in steps]
    return answers, stores.held()


async def in_between(session: boto3.Session, name: str, case: Case, rival: Step, place: tuple[str, int]) -> Any:
    """Let the rival do its work before one call of the operation: ``("db", 1)`` is the second call to DynamoDB."""
    stores = Stores(session, name)
    await case.prepare(stores)
    theirs: list[Any] = []
    client, number = getattr(stores, place[0]), place[1]
    client.calls = 0
    client.before_call[number] = lambda: theirs.append(asyncio.run(_run(rival, stores.another())))
    answer = await case.act(stores)
    assert theirs, "the rival was never let in"
    return [answer, *theirs], stores.held()


async def _run(step: Step, stores: Stores) -> Any:
    return await step(stores)


async def places_of(session: boto3.Session, case: Case) -> list[tuple[str, int]]:
    """Return every call that the operation makes when nobody comes between."""
    stores = Stores(session, "counted")
    await case.prepare(stores)
    stores.db.calls = stores.s3.calls = 0
    await case.act(stores)
    return [("db", n) for n in range(stores.db.calls)] + [("s3", n) for n in range(stores.s3.calls)]


@pytest.mark.parametrize(("name", "rival", "step"), MEETINGS, ids=[f"{name}: {rival}" for name, rival, _ in MEETINGS])
async def test_two_writers_leave_what_one_after_the_other_leaves(
    aws: boto3.Session, name: str, rival: str, step: Step
) -> None:
    del rival
    case = CASES[name]
    (ours, theirs), held = await after_each_other(aws, "first", case, case.act, step)
    (theirs_first, ours_second), held_second = await after_each_other(aws, "second", case, step, case.act)
    possible = [([ours, theirs], held), ([ours_second, theirs_first], held_second)]
    for number, place in enumerate(await places_of(aws, case)):
        answers, found = await in_between(aws, f"n{number}", case, step, place)
        if name in LATER_ANSWERS:
            assert found in (held, held_second), place
        else:
            assert (answers, found) in possible, place
