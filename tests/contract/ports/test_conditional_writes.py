"""Every conditional write ends right whatever it meets: applied once, known as our own, never counted twice.

A write that the contract suite makes, and that no case here makes, fails the last test.
"""

from __future__ import annotations

import random
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Callable
from copy import copy
from functools import lru_cache
from typing import Any

import boto3
import pytest
from msgspec import Struct, structs

from promptmill.aws.dynamodb.items import to_item
from promptmill.aws.dynamodb.jobs import DynamoDbJobs
from promptmill.aws.dynamodb.ledger import DynamoDbLedger
from promptmill.aws.dynamodb.limit_groups import DynamoDbLimitGroups
from promptmill.aws.dynamodb.submissions import DynamoDbSubmissions
from promptmill.aws.dynamodb.switches import DynamoDbSealKey
from promptmill.aws.dynamodb.unit_items import budget_key
from promptmill.aws.dynamodb.units import DynamoDbUnits
from promptmill.aws.s3.multipart import PART
from promptmill.aws.s3.object_store import S3ObjectStore
from promptmill.domain.budget import BudgetLine
from promptmill.domain.job import Counts, JobState
from promptmill.domain.limit_group import Circuit, Estimate
from promptmill.domain.units import Claim, Intent, IntentGroup, Verdict, gate_of
from promptmill.engine.takeover import Free, take_unit
from promptmill.ports.job_store import QueuedRun
from promptmill.ports.object_store import Piece
from promptmill.ports.submissions import Mark
from tests.contract.ports.conftest import BUCKET, JOBS_INDEXES, RECORDED, REGION, create_table
from tests.contract.ports.interposer import TROUBLES, Interposer, Trouble, until_answered
from tests.contract.ports.test_jobs import AT, ID, JOB, LATER
from tests.contract.ports.test_ledger import CHARGE, NARROWING
from tests.contract.ports.test_submissions import END, FROZEN, HELD, MARK, NEW
from tests.fakes.clock import FakeClock

UNIT, DAY, GATE = "job-1.1.0", "2026-11-22", gate_of("job-1", 1, 0)
LINES = (BudgetLine("job#job-1", 1_000, lasting=True), BudgetLine("day#2026-11-22", 1_000))
TIGHT = BudgetLine("tight", 100)
GROUP = IntentGroup(1, DAY, (Intent(0, 7, "openai/m", 1_000),))
LIMIT = "openai/m@key"
CIRCUIT, PROBED = Circuit(1_790_000_000.0, 1_790_000_030.0), Circuit(1_790_000_000.0, 1_790_000_090.0, 1)
VOLATILE = ("beat", "ttl")
"""Attributes that may move twice: whoever reads them only looks whether they moved."""


class Impatient(random.Random):
    """Waits for nothing."""

    def uniform(self, a: float, b: float) -> float:
        del b
        return a


@lru_cache(maxsize=1)
def _clients(session: boto3.Session) -> tuple[Any, Any]:
    """Return one client of each kind for a session: making them takes longer than what a test does with them."""
    return session.client("dynamodb"), session.client("s3")


class Stores:
    """The adapters on tables and a bucket of their own, and everything that these hold.

    Attributes:
        seen: the tag of the object ``k`` as somebody saw it.
    """

    seen = ""

    def __init__(self, session: boto3.Session, name: str) -> None:
        self._db, self._s3, self.name = *_clients(session), name
        create_table(self._db, f"{name}-jobs", JOBS_INDEXES)
        create_table(self._db, f"{name}-charges", {"by_model": ("of_model", "day"), "by_recipe": ("of_recipe", "day")})
        self.bucket = f"{BUCKET}-{name}"
        self._s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        self._bind()

    def _bind(self) -> None:
        self.db, self.s3 = Interposer(self._db), Interposer(self._s3)
        rng, clock, db, s3, name = Impatient(1), FakeClock(), self.db, self.s3, self.name
        jobs = f"{name}-jobs"
        self.jobs = DynamoDbJobs(db, jobs, rng, clock)  # type: ignore[arg-type]
        self.units = DynamoDbUnits(db, jobs, rng, clock)  # type: ignore[arg-type]
        self.groups = DynamoDbLimitGroups(db, jobs, rng, clock)  # type: ignore[arg-type]
        self.submissions = DynamoDbSubmissions(db, jobs, rng, clock)  # type: ignore[arg-type]
        self.ledger = DynamoDbLedger(db, f"{name}-charges", rng)  # type: ignore[arg-type]
        self.objects = S3ObjectStore(s3, self.bucket)  # type: ignore[arg-type]

    def another(self) -> Stores:
        """Return the same stores as another process has them: its calls meet nothing of what ours do."""
        found = copy(self)
        found._bind()
        return found

    def held(self) -> Any:
        tables = [self._db.scan(TableName=f"{self.name}-{table}")["Items"] for table in ("jobs", "charges")]
        rows = [{k: v for k, v in row.items() if k not in VOLATILE} for rows in tables for row in rows]
        keys = [found["Key"] for found in self._s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]
        bodies = {key: self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in keys}
        uploads = self._s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return sorted(rows, key=repr), bodies, len(uploads)

    async def claim(self) -> Claim:
        found = await self.units.read(UNIT)
        assert found is not None
        return found


Step = Callable[[Stores], Awaitable[Any]]


class Case(Struct, frozen=True):
    """A write: what is there before it, the write, the same one by another writer, and further answers that are right."""

    prepare: Step
    act: Step
    rival: Step
    also_right: tuple[Any, ...] = ()


async def nothing(_: Stores) -> None:
    """Begin with empty stores."""


async def seen(s: Stores) -> None:
    await s.objects.replace("k", b"0")
    s.seen = await s.objects.tag_of("k")


def replace_seen(body: bytes) -> Step:
    return lambda s: s.objects.replace("k", body, over=s.seen)


async def planned(s: Stores) -> None:
    await s.jobs.create(JOB)


async def claimed(s: Stores) -> None:
    await s.units.claim(UNIT, seen=None, owner="a")


async def released(s: Stores) -> None:
    await claimed(s)
    await s.units.release(UNIT, await s.claim())


async def holding(s: Stores) -> None:
    await claimed(s)
    await s.units.grant(UNIT, await s.claim(), 400, day=DAY, lines=LINES, gate=GATE)


async def partly_returned(s: Stores) -> None:
    await holding(s)
    await s.units.give_back(UNIT, await s.claim(), 300, lines=LINES)


def below_zero(name: str) -> Step:
    """A budget as earlier code could leave it."""
    item = budget_key(LINES[0].key) | {"granted": 0, "holders": 0, name: -5}
    return lambda s: to_thread(s.db.put_item, TableName=f"{s.name}-jobs", Item=to_item(item))


def plan_as(owner: str) -> Step:
    return lambda s: s.jobs.take_planner("r", owner, at=AT, until=LATER, most=1)


QUEUED = QueuedRun(ID, 1, 0, is_small=True, since=AT)


async def queued(s: Stores) -> None:
    await s.jobs.queue_run(QUEUED)


async def taken(s: Stores) -> None:
    await s.jobs.take(ID, 1, seen=0, to=1, taker="z")


async def open_circuit(s: Stores) -> None:
    await s.groups.set_circuit(LIMIT, seen=None, to=CIRCUIT)
    await s.groups.set_estimate(LIMIT, seen=None, to=Estimate(1.0, 1.0))


def take(seen: int, taker: str) -> Step:
    return lambda s: s.jobs.take(ID, 1, seen=seen, to=seen + 2, taker=taker)


def own(step: Callable[[Stores, Claim], Awaitable[Any]]) -> Step:
    """A write of the owner that the claim named when it was read."""

    async def act(s: Stores) -> Any:
        return await step(s, structs.replace(await s.claim(), epoch=1))

    return act


async def rob(s: Stores) -> None:
    await s.units.claim(UNIT, seen=await s.units.read(UNIT), owner="robber")


async def claim_as(s: Stores, owner: str, rng: random.Random) -> str:
    taking = await take_unit(UNIT, Free(s.__dict__.get("found")), owner=owner, units=s.units, rng=rng)
    return taking.mine.owner.split(".")[0] if taking.mine else "another's"


def claiming(owner: str) -> Step:
    return lambda s: claim_as(s, owner, random.Random(owner))


async def look(s: Stores) -> None:
    await released(s)
    s.__dict__["found"] = await s.units.read(UNIT)


async def blocks(first: bytes) -> AsyncIterator[bytes]:
    yield first * PART
    yield b"end"


async def pieces(s: Stores) -> None:
    await s.objects.create("p0", b"0" * (6 << 20))
    await s.objects.create("p1", b"1")


def draw_seal(seed: str) -> Step:
    """A process that needs the key of the seal, and knows none."""
    return lambda s: DynamoDbSealKey(s.db, f"{s.name}-jobs", random.Random(seed)).read()  # type: ignore[arg-type]


STAGES = ("filling", "ready", "in_doubt", "unproven", "running", "collecting", "told")


def submitted(stage: str) -> Step:
    """A submission at a stage of its life, and its run."""

    async def prepare(s: Stores) -> None:
        store = s.submissions
        await s.jobs.create(JOB)
        await s.jobs.move(ID, 1, JobState.RUNNING, at=AT)
        acts: tuple[Callable[[], Awaitable[bool]], ...] = (
            lambda: store.create(NEW),
            lambda: store.freeze(HELD, FROZEN),
            lambda: store.mark_sent(HELD, MARK),
            lambda: store.note_batch(HELD, "b", proven=False),
            lambda: store.note_batch(HELD, "b", proven=True),
            lambda: store.note_end(HELD, "b", END),
            lambda: store.note_told(HELD, AT),
        )
        for act in acts[: STAGES.index(stage) + 1]:
            await act()

    return prepare


def take_for(owner: str) -> Step:
    async def act(s: Stores) -> str:
        free = Free(s.__dict__.get("found"))
        rng = random.Random(owner)
        taking = await take_unit(UNIT, free, owner=owner, units=s.units, rng=rng, holder=HELD)
        return taking.mine.owner.split(".")[0] if taking.mine else "another's"

    return act


async def free_beside(s: Stores) -> None:
    await submitted("filling")(s)
    await look(s)


async def held(s: Stores) -> None:
    await submitted("filling")(s)
    await s.units.claim(UNIT, seen=None, owner="a", holder=HELD)


def stored(name: str, *args: Any, **more: Any) -> Step:
    return lambda s: getattr(s.submissions, name)(HELD, *args, **more)


OTHER_END, OTHER_MARK = structs.replace(END, state="expired"), Mark("stepper.2", AT)
SUBMISSION_CASES: dict[str, Case] = {
    "submission created": Case(
        planned,
        lambda s: s.submissions.create(NEW),
        lambda s: s.submissions.create(structs.replace(NEW, chunks=(9,))),
    ),
    "submission scheduled": Case(
        submitted("filling"), stored("schedule", next_at=LATER), stored("schedule", next_at=AT), also_right=(None,)
    ),
    "submission frozen": Case(submitted("filling"), stored("freeze", FROZEN), stored("freeze", FROZEN[:1])),
    "upload noted": Case(submitted("ready"), stored("note_upload", "a"), stored("note_upload", "b")),
    "mark given": Case(submitted("ready"), stored("mark_sent", MARK), stored("mark_sent", OTHER_MARK)),
    "batch noted": Case(
        submitted("in_doubt"), stored("note_batch", "b", proven=False), stored("note_batch", "c", proven=False)
    ),
    "batch proven": Case(
        submitted("unproven"), stored("note_batch", "b", proven=True), stored("note_batch", "c", proven=True)
    ),
    "batch rejected": Case(
        submitted("unproven"), stored("reject_batch", "b", certain=True), stored("note_batch", "c", proven=True)
    ),
    "batch doubted": Case(
        submitted("unproven"), stored("reject_batch", "b", certain=False), stored("note_batch", "c", proven=True)
    ),
    "void before it is sent": Case(submitted("ready"), stored("void", "due"), stored("mark_sent", MARK)),
    "void by the sender": Case(
        submitted("in_doubt"),
        stored("void", "refused", stepper=MARK.stepper),
        stored("note_batch", "b", proven=True),
    ),
    "asked": Case(submitted("running"), stored("note_asked", AT), stored("note_asked", LATER)),
    "given": Case(submitted("running"), stored("give", AT), stored("give", LATER)),
    "told": Case(submitted("collecting"), stored("note_told", AT), stored("note_told", LATER)),
    "batch ended": Case(submitted("running"), stored("note_end", "b", END), stored("note_end", "b", OTHER_END)),
    "never made": Case(
        submitted("in_doubt"), stored("note_end", "", OTHER_END), stored("note_batch", "b", proven=True)
    ),
    "submission settled": Case(submitted("told"), stored("settle", AT), stored("settle", LATER)),
    "chunk taken first": Case(submitted("filling"), take_for("a"), take_for("b")),
    "chunk taken again": Case(free_beside, take_for("b"), take_for("c")),
    "intended for a submission": Case(
        held, own(lambda s, c: s.units.intend(UNIT, c, GROUP, gate=GATE, holder=HELD)), rob
    ),
    "intended for a submission of no gate": Case(
        held, own(lambda s, c: s.units.intend(UNIT, c, GROUP, gate=None, holder=HELD)), rob
    ),
    "held chunk decided": Case(
        held, own(lambda s, c: s.units.decide(UNIT, c, Verdict("completed"), used=0, lines=())), rob
    ),
}

COUNTS = Counts(answered=2, nano_usd=30)
CASES: dict[str, Case] = {
    "run created": Case(
        nothing,
        lambda s: s.jobs.create(JOB),
        lambda s: s.jobs.create(structs.replace(JOB, created_at=LATER)),
        also_right=(False,),  # callers read what is there, and compare
    ),
    "run moved": Case(
        planned,
        lambda s: s.jobs.move(ID, 1, JobState.RUNNING, at=LATER, records=5, chunks=1),
        lambda s: s.jobs.move(ID, 1, JobState.JOINING, at=LATER),
        also_right=(False,),  # callers read the state
    ),
    "route closed": Case(
        planned, lambda s: s.jobs.close_route(ID, 1, "r", "c"), lambda s: s.jobs.close_route(ID, 1, "q", "c")
    ),
    "wait noted": Case(
        planned,
        lambda s: s.jobs.note_waiting(ID, 1, waiting_for="money", until=LATER),
        lambda s: s.jobs.note_waiting(ID, 1, waiting_for="a limit", until=AT),
    ),
    "status turn": Case(
        planned,
        lambda s: s.jobs.take_status_turn(ID, 1, at=LATER, not_since=AT),
        lambda s: s.jobs.take_status_turn(ID, 1, at=LATER, not_since=AT),
        also_right=(False,),  # the status is written at the next turn, seconds later
    ),
    "run stopped": Case(
        planned,
        lambda s: s.jobs.stop(ID, 1, code="cancelled", at=LATER),
        lambda s: s.jobs.stop(ID, 1, code="gave_up", at=LATER),
        also_right=(False,),  # callers read the code
    ),
    "first drop": Case(
        nothing,
        lambda s: s.jobs.first_drop("r", "d", "a", at=AT, not_since=""),
        lambda s: s.jobs.first_drop("r", "d", "b", at=AT, not_since=""),
    ),
    "window taken": Case(nothing, take(0, "a"), take(0, "b")),
    "queued run taken": Case(
        queued,
        lambda s: s.jobs.take_queued(QUEUED),
        lambda s: s.jobs.take_queued(QUEUED),
        also_right=(False,),  # nobody takes it then, and it waits for its message
    ),
    "window moved on": Case(taken, take(1, "a"), take(1, "b")),
    "chunk drained": Case(nothing, lambda s: s.jobs.note_drained(ID, 1, 0), lambda s: s.jobs.note_drained(ID, 1, 0)),
    "chunk ended": Case(
        planned,
        lambda s: s.jobs.chunk_ended(ID, 1, 0, COUNTS, of=2, at=AT),
        lambda s: s.jobs.chunk_ended(ID, 1, 0, COUNTS, of=2, at=AT),
    ),
    "unit claimed first": Case(nothing, claiming("a"), claiming("b")),
    "unit claimed again": Case(look, claiming("b"), claiming("c")),
    "beat": Case(claimed, own(lambda s, c: s.units.beat(UNIT, c)), rob),
    "marked": Case(claimed, own(lambda s, c: s.units.mark(UNIT, c, crashes=0, trying=3, tries=1)), rob),
    "released": Case(claimed, own(lambda s, c: s.units.release(UNIT, c)), rob),
    "granted": Case(claimed, own(lambda s, c: s.units.grant(UNIT, c, 300, day=DAY, lines=LINES, gate=GATE)), rob),
    "given back": Case(holding, own(lambda s, c: s.units.give_back(UNIT, c, 300, lines=LINES)), rob),
    "decided": Case(
        holding, own(lambda s, c: s.units.decide(UNIT, c, Verdict("completed"), used=100, lines=LINES)), rob
    ),
    "granted beyond the limit": Case(
        claimed, own(lambda s, c: s.units.grant(UNIT, c, 300, day=DAY, lines=[TIGHT], gate=None)), rob
    ),
    "decided, all used": Case(
        holding, own(lambda s, c: s.units.decide(UNIT, c, Verdict("completed"), used=400, lines=LINES)), rob
    ),
    "decided, a part was given back": Case(
        partly_returned, own(lambda s, c: s.units.decide(UNIT, c, Verdict("completed"), used=60, lines=LINES)), rob
    ),
    "decided, nothing was granted": Case(
        claimed, own(lambda s, c: s.units.decide(UNIT, c, Verdict("completed"), used=100, lines=LINES)), rob
    ),
    "budget healed": Case(
        below_zero("granted"), lambda s: s.units._heal(LINES[0].key), lambda s: s.units._heal(LINES[0].key)
    ),
    "holders healed": Case(
        below_zero("holders"), lambda s: s.units._heal(LINES[0].key), lambda s: s.units._heal(LINES[0].key)
    ),
    "planner taken": Case(nothing, plan_as("a"), plan_as("b")),
    "planner freed": Case(
        plan_as("a"), lambda s: s.jobs.free_planner("r", "a", most=1), lambda s: s.jobs.free_planner("r", "a", most=1)
    ),
    "intended": Case(holding, own(lambda s, c: s.units.intend(UNIT, c, GROUP, gate=GATE)), rob),
    "charged": Case(nothing, lambda s: s.ledger.record(CHARGE), lambda s: s.ledger.record(CHARGE), also_right=(False,)),
    "corrected": Case(
        nothing, lambda s: s.ledger.narrow(NARROWING), lambda s: s.ledger.narrow(NARROWING), also_right=(False,)
    ),
    "circuit opened": Case(
        nothing,
        lambda s: s.groups.set_circuit(LIMIT, seen=None, to=CIRCUIT),
        lambda s: s.groups.set_circuit(LIMIT, seen=None, to=PROBED),
    ),
    "circuit probed": Case(
        open_circuit,
        lambda s: s.groups.set_circuit(LIMIT, seen=CIRCUIT, to=PROBED),
        lambda s: s.groups.set_circuit(LIMIT, seen=CIRCUIT, to=None),
    ),
    "estimate set": Case(
        open_circuit,
        lambda s: s.groups.set_estimate(LIMIT, seen=Estimate(1.0, 1.0), to=Estimate(2.0, 2.0)),
        lambda s: s.groups.set_estimate(LIMIT, seen=Estimate(1.0, 1.0), to=Estimate(3.0, 3.0)),
    ),
    "seal drawn": Case(nothing, draw_seal("a"), draw_seal("b")),
    "object created": Case(nothing, lambda s: s.objects.create("k", b"a"), lambda s: s.objects.create("k", b"b")),
    "object replaced where none was": Case(
        nothing,
        lambda s: s.objects.replace("k", b"a", over=""),
        lambda s: s.objects.replace("k", b"b", over=""),
    ),
    "object replaced as it was seen": Case(seen, replace_seen(b"a"), replace_seen(b"b")),
    "object created in parts": Case(
        nothing,
        lambda s: s.objects.create_from("k", blocks(b"a")),
        lambda s: s.objects.create_from("k", blocks(b"b")),
        also_right=(False,),  # joined files are the same whoever writes them
    ),
    "objects concatenated": Case(
        pieces,
        lambda s: s.objects.concatenate("k", [Piece("p0", 6 << 20), Piece("p1", 1)]),
        lambda s: s.objects.concatenate("k", [Piece("p1", 1), Piece("p0", 6 << 20)]),
        also_right=(False,),
    ),
    **SUBMISSION_CASES,
}


async def play(session: boto3.Session, name: str, *steps: Step) -> tuple[Any, Any]:
    """Return the last step's answer, and what the stores hold after all steps."""
    stores = Stores(session, name)
    answer = None
    for step in steps:
        answer = await step(stores)
    return answer, stores.held()


def meeting(case: Case, trouble: Trouble) -> Step:
    async def act(stores: Stores) -> Any:
        stores.db.trouble = stores.s3.trouble = trouble
        # Callers of S3 writes repeat them: those say themselves whether the very same bytes were there.
        answer = await until_answered(lambda: case.act(stores)) if _is_of_s3(case) else await case.act(stores)
        assert stores.db.met + stores.s3.met == 1, "else this shows nothing"
        return answer

    return act


def _is_of_s3(case: Case) -> bool:
    return case in [case for name, case in CASES.items() if name.startswith("object")]


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptmill.aws.s3.object_store._RACE_S", 0.0)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", CASES)
async def test_a_write_that_meets_trouble_is_made_once(aws: boto3.Session, name: str, trouble: Trouble) -> None:
    case = CASES[name]
    calm, wanted = await play(aws, "calm", case.prepare, case.act)
    answer, held = await play(aws, "stormy", case.prepare, meeting(case, trouble))
    assert held == wanted
    assert answer in (calm, *(case.also_right if trouble in ("lost", "repeated") else ()))


async def rivals_alone(session: boto3.Session, case: Case) -> Any:
    stores = Stores(session, "alone")
    await case.prepare(stores)
    await case.rival(stores)
    return stores.held()


@pytest.mark.parametrize("name", CASES)
async def test_another_write_that_was_faster_is_noticed(aws: boto3.Session, name: str) -> None:
    """We still go by what was there before it."""
    case = CASES[name]
    calm, _ = await play(aws, "calm", case.prepare, case.act)
    answer, held = await play(aws, "stormy", case.prepare, case.rival, case.act)
    if name in ADD_UP:
        assert answer == calm
    else:
        assert held == await rivals_alone(aws, case), "nothing of what the other wrote is changed, or counted twice"
        assert answer != calm or name in NOTED_ONCE


ADD_UP = ("route closed", "wait noted", "submission scheduled")
"""Writes that do not exclude each other: the run only has to be there."""
NOTED_ONCE = ("chunk drained", "chunk ended", "planner freed")
"""Facts that several workers may note: the answer is what all of them came to."""


async def test_every_conditional_write_of_the_suite_has_a_case(aws: boto3.Session) -> None:
    """It runs last (conftest.py). Run alone, it only knows the writes of the cases."""
    elsewhere = dict(RECORDED)
    RECORDED.clear()
    for number, case in enumerate(CASES.values()):
        await play(aws, f"n{number}", case.prepare, case.act)
    covered = {part for signature in RECORDED for part in signature}
    assert {s: test for s, test in elsewhere.items() if not covered.issuperset(s)} == {}
