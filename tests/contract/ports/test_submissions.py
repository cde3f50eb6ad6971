"""Submissions: every condition of the port has a test that fails without it."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import Struct, structs

from promptmill.aws.dynamodb.jobs import DynamoDbJobs
from promptmill.aws.dynamodb.submissions import DynamoDbSubmissions
from promptmill.aws.dynamodb.units import DynamoDbUnits
from promptmill.domain.job import JobState
from promptmill.domain.units import Intent, IntentGroup, Verdict, chunk_unit
from promptmill.ports.submissions import BatchEnd, FrozenChunk, Holder, Mark, Submission
from tests.contract.ports.conftest import JOBS_INDEXES, create_table
from tests.contract.ports.test_jobs import AT, ID, JOB, LATER
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import FakeJobs
from tests.fakes.recipes import ROUTE
from tests.fakes.submissions import FakeSubmissions
from tests.fakes.units import FakeUnits

NEW = Submission(
    id="5ab1e0000000000000000001",
    job_id=ID,
    run=1,
    recipe="r",
    route=structs.replace(ROUTE, body={"reasoning": {"effort": "low"}}),
    chunks=(0, 1, 2),
    created_at=AT,
    due_at=LATER,
    next_at=AT,
)
HELD = NEW.holder
FROZEN = (FrozenChunk(0, 1, 500, 90_000), FrozenChunk(2, 3, 7, 1_000))
MARK, END = Mark("stepper.1", AT), BatchEnd("completed", LATER, code="")
UNIT = chunk_unit(ID, 1, 0)
GROUP = IntentGroup(1, "2026-11-22", tuple(Intent(n, n, ROUTE.id, 1_000 + n) for n in range(500)))


class Stores(Struct):
    submissions: Any
    units: Any
    jobs: Any

    async def read(self) -> Submission:
        found = await self.submissions.read(HELD)
        assert isinstance(found, Submission)
        return found

    async def begin(self, stage: str = "filling") -> Submission:
        """Create the run and the submission, and bring it to a stage."""
        store, stages = self.submissions, ["filling", "ready", "in_doubt", "running", "collecting", "told"]
        await self.jobs.create(JOB)
        await self.jobs.move(ID, 1, JobState.RUNNING, at=AT)
        assert await store.create(NEW)
        acts: tuple[Callable[[], Awaitable[bool]], ...] = (
            lambda: store.freeze(HELD, FROZEN),
            lambda: store.mark_sent(HELD, MARK),
            lambda: store.note_batch(HELD, "batch-1", proven=True),
            lambda: store.note_end(HELD, "batch-1", END),
            lambda: store.note_told(HELD, LATER),
        )
        for act in acts[: stages.index(stage)]:
            assert await act()
        found = await self.read()
        assert found.stage == stage
        return found


@pytest.fixture(params=["fake", "dynamodb"])
def stores(request: pytest.FixtureRequest) -> Stores:
    if request.param == "fake":
        jobs = FakeJobs()
        units = FakeUnits(jobs.shut)
        return Stores(FakeSubmissions(jobs, units), units, jobs)
    client = request.getfixturevalue("aws").client("dynamodb")
    create_table(client, "jobs", JOBS_INDEXES)
    rest: Any = (client, "jobs", random.Random(1), FakeClock())
    return Stores(DynamoDbSubmissions(*rest), DynamoDbUnits(*rest), DynamoDbJobs(*rest))


async def test_it_is_read_as_it_was_written(stores: Stores) -> None:
    assert await stores.submissions.read(HELD) is None
    assert await stores.begin() == NEW
    assert {type(chunk) for chunk in (await stores.read()).chunks} == {int}, "they become parts of keys"
    assert await stores.submissions.create(NEW), "its own answer was lost"
    assert not await stores.submissions.create(structs.replace(NEW, chunks=(7,)))
    await stores.submissions.freeze(HELD, FROZEN)
    await stores.submissions.note_upload(HELD, "")
    await stores.submissions.mark_sent(HELD, MARK)
    await stores.submissions.note_batch(HELD, "batch-1", proven=True)
    await stores.submissions.note_end(HELD, "batch-1", END)
    changed = {"frozen": FROZEN, "upload": "", "sent": MARK, "batch": "batch-1", "proven": True, "ended": END}
    assert await stores.read() == structs.replace(NEW, **changed)


async def test_what_is_sent_is_fixed_once(stores: Stores) -> None:
    await stores.begin()
    assert await stores.submissions.freeze(HELD, FROZEN)
    assert await stores.submissions.freeze(HELD, FROZEN), "its own answer was lost"
    assert not await stores.submissions.freeze(HELD, FROZEN[:1])
    assert (await stores.read()).frozen == FROZEN


async def test_a_void_submission_is_never_frozen(stores: Stores) -> None:
    await stores.begin()
    assert await stores.submissions.void(HELD, "too_few_lines")
    assert not await stores.submissions.freeze(HELD, FROZEN)
    assert not await stores.submissions.mark_sent(HELD, MARK)
    assert (await stores.read()).stage == "void"


async def test_the_first_upload_counts(stores: Stores) -> None:
    await stores.begin("ready")
    assert await stores.submissions.note_upload(HELD, "file-1")
    assert not await stores.submissions.note_upload(HELD, "file-2")
    assert (await stores.read()).upload == "file-1"


async def test_one_mark_is_given(stores: Stores) -> None:
    await stores.begin()
    assert not await stores.submissions.mark_sent(HELD, MARK), "nothing is frozen"
    await stores.submissions.freeze(HELD, FROZEN)
    assert await stores.submissions.mark_sent(HELD, MARK)
    assert await stores.submissions.mark_sent(HELD, MARK), "its own answer was lost"
    assert not await stores.submissions.mark_sent(HELD, Mark("stepper.2", LATER))
    assert (await stores.read()).sent == MARK


async def test_no_mark_is_given_once_the_run_is_stopped(stores: Stores) -> None:
    await stores.begin("ready")
    await stores.jobs.stop(ID, 1, code="cancelled", at=LATER)
    assert not await stores.submissions.mark_sent(HELD, MARK)
    assert (await stores.read()).stage == "ready"


async def test_no_mark_is_given_once_the_run_is_over(stores: Stores) -> None:
    await stores.begin("ready")
    await stores.jobs.move(ID, 1, JobState.DONE, at=LATER)
    assert not await stores.submissions.mark_sent(HELD, MARK)


async def test_only_who_was_to_send_it_may_say_afterwards_that_it_was_not(stores: Stores) -> None:
    await stores.begin("in_doubt")
    assert not await stores.submissions.void(HELD, "stopped")
    assert not await stores.submissions.void(HELD, "too_late", stepper="stepper.2")
    assert (await stores.read()).stage == "in_doubt"
    assert await stores.submissions.void(HELD, "too_late", stepper=MARK.stepper)
    assert (await stores.read()).stage == "void"


async def test_what_has_a_batch_is_never_void(stores: Stores) -> None:
    await stores.begin("running")
    assert not await stores.submissions.void(HELD, "too_late", stepper=MARK.stepper)
    assert not await stores.submissions.void(HELD, "stopped")
    assert (await stores.read()).stage == "running"


async def test_a_void_reason_is_set_once(stores: Stores) -> None:
    await stores.begin()
    assert await stores.submissions.void(HELD, "stopped")
    assert not await stores.submissions.void(HELD, "due")
    assert await stores.submissions.void(HELD, "stopped"), "its own answer was lost"


async def test_a_batch_is_noted_only_of_a_create(stores: Stores) -> None:
    await stores.begin("ready")
    assert not await stores.submissions.note_batch(HELD, "batch-1", proven=True)


async def test_a_proven_batch_replaces_one_that_is_not_and_no_other(stores: Stores) -> None:
    await stores.begin("in_doubt")
    assert await stores.submissions.note_batch(HELD, "batch-1", proven=False)
    assert not await stores.submissions.note_batch(HELD, "batch-2", proven=False)
    assert await stores.submissions.note_batch(HELD, "batch-3", proven=True)
    assert not await stores.submissions.note_batch(HELD, "batch-4", proven=True)
    found = await stores.read()
    assert (found.batch, found.proven) == ("batch-3", True)


async def test_the_same_batch_can_be_proven_later(stores: Stores) -> None:
    await stores.begin("in_doubt")
    await stores.submissions.note_batch(HELD, "batch-1", proven=False)
    assert await stores.submissions.note_batch(HELD, "batch-1", proven=True)
    assert (await stores.read()).proven


async def test_a_batch_that_is_not_ours_is_looked_past(stores: Stores) -> None:
    await stores.begin("in_doubt")
    assert not await stores.submissions.reject_batch(HELD, "batch-1", certain=True)
    await stores.submissions.note_batch(HELD, "batch-1", proven=False)
    assert await stores.submissions.reject_batch(HELD, "batch-1", certain=True)
    assert await stores.submissions.reject_batch(HELD, "batch-1", certain=True), "its own answer was lost"
    found = await stores.read()
    assert (found.stage, found.batch, found.rejected) == ("in_doubt", "", ("batch-1",))
    assert not await stores.submissions.note_batch(HELD, "batch-1", proven=False)
    assert await stores.submissions.note_batch(HELD, "batch-2", proven=False)


async def test_a_batch_that_may_be_ours_is_looked_past_and_kept_in_mind(stores: Stores) -> None:
    await stores.begin("in_doubt")
    await stores.submissions.note_batch(HELD, "batch-1", proven=False)
    assert await stores.submissions.reject_batch(HELD, "batch-1", certain=False)
    assert await stores.submissions.reject_batch(HELD, "batch-1", certain=False), "its own answer was lost"
    found = await stores.read()
    assert (found.stage, found.rejected, found.doubted) == ("in_doubt", (), ("batch-1",))
    assert not await stores.submissions.note_batch(HELD, "batch-1", proven=False)


async def test_a_proven_batch_is_never_rejected(stores: Stores) -> None:
    await stores.begin("running")
    assert not await stores.submissions.reject_batch(HELD, "batch-1", certain=True)
    assert (await stores.read()).batch == "batch-1"


async def test_a_batch_ends_once_and_only_if_it_is_proven(stores: Stores) -> None:
    await stores.begin("in_doubt")
    await stores.submissions.note_batch(HELD, "batch-1", proven=False)
    assert not await stores.submissions.note_end(HELD, "batch-1", END)
    await stores.submissions.note_batch(HELD, "batch-1", proven=True)
    assert not await stores.submissions.note_end(HELD, "batch-2", END)
    assert await stores.submissions.note_end(HELD, "batch-1", END)
    assert await stores.submissions.note_end(HELD, "batch-1", END), "its own answer was lost"
    assert not await stores.submissions.note_end(HELD, "batch-1", structs.replace(END, state="expired"))
    assert not await stores.submissions.note_batch(HELD, "batch-2", proven=True)


async def test_a_create_that_made_nothing_ends_only_without_a_batch(stores: Stores) -> None:
    never = BatchEnd("never", LATER, has_results=False)
    await stores.begin("running")
    assert not await stores.submissions.note_end(HELD, "", never)


async def test_what_never_was_is_found_no_more(stores: Stores) -> None:
    await stores.begin("in_doubt")
    assert await stores.submissions.note_end(HELD, "", BatchEnd("never", LATER, has_results=False))
    assert not await stores.submissions.note_batch(HELD, "batch-1", proven=True)
    assert not await stores.submissions.void(HELD, "too_late", stepper=MARK.stepper)


async def test_moments_are_noted_once(stores: Stores) -> None:
    await stores.begin()
    for note, name in (("note_asked", "asked_at"), ("give", "given_at"), ("note_told", "told_at")):
        write = getattr(stores.submissions, note)
        assert await write(HELD, AT)
        assert await write(HELD, AT), "its own answer was lost"
        assert not await write(HELD, LATER)
        assert getattr(await stores.read(), name) == AT


async def test_it_is_settled_once_all_is_told(stores: Stores) -> None:
    await stores.begin("collecting")
    assert not await stores.submissions.settle(HELD, LATER)
    await stores.submissions.note_told(HELD, LATER)
    assert await stores.submissions.settle(HELD, LATER)
    assert await stores.submissions.settle(HELD, LATER), "its own answer was lost"
    assert (await stores.read()).stage == "settled"


async def test_those_that_are_due_are_listed_the_longest_overdue_first(stores: Stores) -> None:
    await stores.begin("told")
    other = structs.replace(NEW, id="other", next_at="2026-11-01T00:00:00.000Z")
    await stores.submissions.create(other)
    await stores.submissions.schedule(HELD, next_at="2026-11-02T00:00:00.000Z")

    async def due(at: str) -> list[str]:
        return [found.id async for found in stores.submissions.due(at)]

    assert await due("2026-11-01T12:00:00.000Z") == ["other"]
    assert await due("2026-11-03T00:00:00.000Z") == ["other", NEW.id]
    await stores.submissions.settle(HELD, LATER)
    await stores.submissions.schedule(HELD, next_at="2026-11-01T00:00:00.000Z")
    assert await due("2026-11-03T00:00:00.000Z") == ["other"]
    listed = [found.id async for found in stores.submissions.of_run(ID, 1)]
    assert sorted(listed) == sorted(["other", NEW.id])
    assert [found async for found in stores.submissions.of_run(ID, 2)] == []
    assert [job async for job in stores.jobs.open_runs()] == [await stores.jobs.read(ID, 1)]


async def test_a_chunk_is_taken_only_while_it_takes_chunks(stores: Stores) -> None:
    await stores.begin()
    mine = await stores.units.claim(UNIT, seen=None, owner="a", holder=HELD)
    assert (mine.epoch, mine.held) == (1, HELD.submission)
    assert await stores.units.read(UNIT) == mine
    assert await stores.units.claim(chunk_unit(ID, 1, 1), seen=None, owner="a", holder=Holder(ID, 1, "nobody")) is None
    await stores.submissions.freeze(HELD, FROZEN)
    assert await stores.units.claim(chunk_unit(ID, 1, 2), seen=None, owner="a", holder=HELD) is None
    assert await stores.units.read(chunk_unit(ID, 1, 2)) is None


async def test_a_chunk_that_was_given_back_can_be_taken(stores: Stores) -> None:
    await stores.begin()
    first = await stores.units.claim(UNIT, seen=None, owner="a")
    await stores.units.release(UNIT, first)
    mine = await stores.units.claim(UNIT, seen=await stores.units.read(UNIT), owner="b", holder=HELD)
    assert (mine.epoch, mine.held, mine.crashes, mine.owner) == (2, HELD.submission, 0, "b")


async def test_nothing_is_taken_for_a_void_submission(stores: Stores) -> None:
    await stores.begin()
    await stores.submissions.void(HELD, "due")
    assert await stores.units.claim(UNIT, seen=None, owner="a", holder=HELD) is None


async def test_its_intents_are_written_only_while_it_takes_chunks(stores: Stores) -> None:
    await stores.begin()
    mine = await stores.units.claim(UNIT, seen=None, owner="a", holder=HELD)
    assert await stores.units.intend(UNIT, mine, GROUP, gate=None, holder=HELD) == "done"
    assert await stores.units.intents(UNIT) == [GROUP]
    await stores.submissions.freeze(HELD, FROZEN)
    assert await stores.units.intend(UNIT, mine, GROUP, gate=None, holder=HELD) == "done", "it is its own"
    late = structs.replace(GROUP, intents=(Intent(500, 0, ROUTE.id, 1),))
    assert await stores.units.intend(UNIT, mine, late, gate=None, holder=HELD) == "shut"
    assert await stores.units.intents(UNIT) == [GROUP]


async def test_a_chunk_that_is_given_back_or_decided_is_held_no_more(stores: Stores) -> None:
    await stores.begin()
    mine = await stores.units.claim(UNIT, seen=None, owner="a", holder=HELD)
    assert await stores.units.decide(UNIT, mine, Verdict("completed"), used=0, lines=())
    found = await stores.units.read(UNIT)
    assert (found.held, found.released, found.verdict) == ("", True, Verdict("completed"))
    other = chunk_unit(ID, 1, 1)
    theirs = await stores.units.claim(other, seen=None, owner="a", holder=HELD)
    assert await stores.units.release(other, theirs)
    found = await stores.units.read(other)
    assert (found.held, found.released) == ("", True)
