"""Units on DynamoDB when its answers are lost, its writes conflict, and its reads may lag."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from promptmill.aws.dynamodb.jobs import DynamoDbJobs
from promptmill.aws.dynamodb.ledger import DynamoDbLedger
from promptmill.aws.dynamodb.unit_items import KEPT_S, group_values
from promptmill.aws.dynamodb.units import DynamoDbUnits
from promptmill.domain.budget import BudgetLine, Grant
from promptmill.domain.units import GATES, MAX_IN_GROUP, Intent, IntentGroup, Verdict, gate_of, gates_of
from tests.contract.ports.conftest import JOBS_INDEXES, create_table
from tests.contract.ports.test_ledger import CHARGE, NARROWING
from tests.fakes.clock import START, FakeClock

UNIT = "job-1.1.0"
DAY = "2026-11-22"
GATE = gate_of("job-1", 1, 0)
GROUP = IntentGroup(1, DAY, (Intent(0, 7, "openai/m", 1_000),))
LINES = (BudgetLine("job#job-1", 1_000, lasting=True), BudgetLine("day#2026-11-22", 1_000))
DONE = Verdict("completed")
FORGOTTEN_AT = str(int(START.timestamp()) + KEPT_S)
READS, WRITES = ("get_item", "query"), ("put_item", "update_item", "transact_write_items")


class Impatient(random.Random):
    """Waits for nothing."""

    def uniform(self, a: float, b: float) -> float:
        del b
        return a


class FaultyDynamo:
    """A client whose next writes fail as told: before they are applied, or after. Remembers every request."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.before: list[Exception] = []
        self.after: list[Exception] = []
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self.requests.append((name, request))
            if name in WRITES and self.before:
                raise self.before.pop(0)
            answer = getattr(self._client, name)(**request)
            if name in WRITES and self.after:
                raise self.after.pop(0)
            return answer

        return call

    def sent(self, name: str) -> list[dict[str, Any]]:
        return [request for called, request in self.requests if called == name]

    def tokens(self) -> list[str]:
        return [request["ClientRequestToken"] for request in self.sent("transact_write_items")]


def lost() -> Exception:
    return ConnectionClosedError(endpoint_url="https://dynamodb")


def cancelled(*codes: str) -> ClientError:
    response: Any = {"Error": {"Code": "TransactionCanceledException"}}
    response["CancellationReasons"] = [{"Code": code} for code in codes]
    return ClientError(response, "TransactWriteItems")


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "any")


@pytest.fixture
def dynamo(aws: boto3.Session) -> FaultyDynamo:
    client = aws.client("dynamodb")
    create_table(client, "jobs", JOBS_INDEXES)
    create_table(client, "charges", {"by_model": ("of_model", "day"), "by_recipe": ("of_recipe", "day")})
    return FaultyDynamo(client)


@pytest.fixture
def units(dynamo: FaultyDynamo) -> DynamoDbUnits:
    client: Any = dynamo
    return DynamoDbUnits(client, "jobs", Impatient(1), FakeClock())


async def granted(units: DynamoDbUnits) -> list[tuple[int, int]]:
    found = [await units.budget(line.key) for line in LINES]
    return [(state.granted, state.holders) for state in found]


async def money(units: DynamoDbUnits, what: str) -> Any:
    """One transaction on a unit that holds 400."""
    claim = await units.read(UNIT)
    assert claim is not None
    match what:
        case "grant":
            return await units.grant(UNIT, claim, 300, day=DAY, lines=LINES, gate=GATE)
        case "give_back":
            return await units.give_back(UNIT, claim, 300, lines=LINES)
        case "decide":
            return await units.decide(UNIT, claim, DONE, used=100, lines=LINES)
        case _:
            return await units.intend(UNIT, claim, GROUP, gate=GATE)


async def holding(units: DynamoDbUnits) -> None:
    claim = await units.claim(UNIT, seen=None, owner="a")
    assert claim is not None
    await units.grant(UNIT, claim, 400, day=DAY, lines=LINES, gate=GATE)


OUTCOMES = {
    "grant": (Grant("granted"), [(700, 1), (700, 1)]),
    "give_back": (True, [(100, 0), (100, 0)]),
    "decide": (True, [(100, 0), (100, 0)]),
    "intend": ("done", [(400, 1), (400, 1)]),
}


@pytest.mark.parametrize("what", OUTCOMES)
async def test_a_transaction_whose_answer_was_lost_is_known_for_our_own(
    dynamo: FaultyDynamo, units: DynamoDbUnits, what: str
) -> None:
    """moto forgets tokens, as DynamoDB does after ten minutes: the conditions fail, and only reading tells."""
    await holding(units)
    dynamo.after = [lost()]
    answer, budgets = OUTCOMES[what]
    assert await money(units, what) == answer
    assert not dynamo.after
    assert await granted(units) == budgets
    assert len(await units.intents(UNIT)) == (what == "intend")


@pytest.mark.parametrize("what", OUTCOMES)
@pytest.mark.parametrize(
    "failures",
    [
        [cancelled("TransactionConflict", "None")] * 5,
        [cancelled("None", "ThrottlingError"), cancelled("None", "None", "ProvisionedThroughputExceeded")],
        [cancelled("None", "ConditionalCheckFailed", "TransactionConflict")],
        [refused("TransactionInProgressException"), refused("ThrottlingException")],
        [lost(), lost()],
    ],
    ids=["conflicts", "throttled", "conflict and condition", "busy", "not connected"],
)
async def test_a_transaction_is_tried_again_under_its_token(
    dynamo: FaultyDynamo, units: DynamoDbUnits, what: str, failures: list[Exception]
) -> None:
    await holding(units)
    dynamo.before, dynamo.requests = list(failures), []
    answer, budgets = OUTCOMES[what]
    assert await money(units, what) == answer
    assert len(dynamo.tokens()) == len(failures) + 1
    assert len(set(dynamo.tokens())) == 1
    assert await granted(units) == budgets


async def test_every_transaction_has_a_token_of_its_own(dynamo: FaultyDynamo, units: DynamoDbUnits) -> None:
    """DynamoDB answers a token that it knows without doing anything: 300 given back, then granted, then given back."""
    await holding(units)
    for what in ("give_back", "grant", "give_back", "grant"):
        await money(units, what)
    assert len(set(dynamo.tokens())) == len(dynamo.tokens()) == 5
    assert await granted(units) == [(400, 1), (400, 1)]


@pytest.mark.parametrize("what", OUTCOMES)
async def test_a_conflict_does_not_hide_that_we_are_superseded(
    dynamo: FaultyDynamo, units: DynamoDbUnits, what: str
) -> None:
    await holding(units)
    stale = await units.read(UNIT)
    assert stale is not None
    await units.claim(UNIT, seen=stale, owner="b")
    dynamo.before, dynamo.requests = [cancelled("ConditionalCheckFailed", "TransactionConflict")], []
    answers: dict[str, Callable[[], Awaitable[Any]]] = {
        "grant": lambda: units.grant(UNIT, stale, 300, day=DAY, lines=LINES, gate=GATE),
        "give_back": lambda: units.give_back(UNIT, stale, 300, lines=LINES),
        "decide": lambda: units.decide(UNIT, stale, DONE, used=0, lines=LINES),
        "intend": lambda: units.intend(UNIT, stale, GROUP, gate=GATE),
    }
    answer = await answers[what]()
    assert answer in (False, "superseded", Grant("superseded"))
    assert len(dynamo.tokens()) == 1, "asked once"


@pytest.mark.parametrize("failure", [refused("ValidationException"), cancelled("ValidationError"), refused("Whatever")])
async def test_what_will_never_work_is_not_tried_again(
    dynamo: FaultyDynamo, units: DynamoDbUnits, failure: ClientError
) -> None:
    await holding(units)
    dynamo.before, dynamo.requests = [failure], []
    with pytest.raises(ClientError):
        await money(units, "grant")
    assert len(dynamo.tokens()) == 1


async def test_patience_ends(dynamo: FaultyDynamo, units: DynamoDbUnits) -> None:
    await holding(units)
    dynamo.before = [cancelled("TransactionConflict")] * 100
    with pytest.raises(ClientError):
        await money(units, "grant")
    dynamo.before = [lost()] * 100
    with pytest.raises(ConnectionClosedError):
        await money(units, "grant")
    dynamo.before = []
    assert await granted(units) == [(400, 1), (400, 1)]


@pytest.mark.parametrize("what", ["claim", "beat", "mark", "release"])
async def test_writes_outlive_conflicts_with_transactions(
    dynamo: FaultyDynamo, units: DynamoDbUnits, what: str
) -> None:
    """A heartbeat meets its own worker's intents."""
    await holding(units)
    claim = await units.read(UNIT)
    assert claim is not None
    dynamo.before = [refused("TransactionConflictException")] * 3
    done: dict[str, Callable[[], Awaitable[Any]]] = {
        "claim": lambda: units.claim(UNIT, seen=claim, owner="b"),
        "beat": lambda: units.beat(UNIT, claim),
        "mark": lambda: units.mark(UNIT, claim, crashes=1),
        "release": lambda: units.release(UNIT, claim),
    }
    answer = await done[what]()
    assert answer
    assert not dynamo.before


async def test_a_claim_whose_answer_was_lost_stands(dynamo: FaultyDynamo, units: DynamoDbUnits) -> None:
    dynamo.after = [lost()]
    assert await units.claim(UNIT, seen=None, owner="a.1") is None, "the caller reads whose it is"
    found = await units.read(UNIT)
    assert found is not None
    assert found.owner == "a.1"


async def test_gates_are_shut_whatever_meets_them(dynamo: FaultyDynamo, units: DynamoDbUnits) -> None:
    client: Any = dynamo
    dynamo.before = [refused("TransactionConflictException")] * 5
    await DynamoDbJobs(client, "jobs", Impatient(1), FakeClock()).shut_gates("job-1", 1)
    items = dynamo.scan(TableName="jobs")["Items"]
    assert [item["ttl"]["N"] for item in items] == [FORGOTTEN_AT] * GATES, "each an item of its own: one would be hot"
    for gate in gates_of("job-1", 1):
        unit = f"job-1.1.{gate.number}"
        claim = await units.claim(unit, seen=None, owner="a")
        assert claim is not None
        assert await units.intend(unit, claim, GROUP, gate=gate) == "shut"


async def test_reads_are_strongly_consistent(dynamo: FaultyDynamo, units: DynamoDbUnits) -> None:
    await holding(units)
    await units.read(UNIT)
    await units.intents(UNIT)
    await units.budget(LINES[0].key)
    reads = [request for name, request in dynamo.requests if name in READS]
    assert len(reads) == 3
    assert all(request["ConsistentRead"] for request in reads)


async def test_what_units_leave_is_forgotten_after_400_days(dynamo: FaultyDynamo, units: DynamoDbUnits) -> None:
    await holding(units)
    await money(units, "intend")
    items = dynamo.scan(TableName="jobs")["Items"]
    assert {item["sk"]["S"].partition("#")[0] for item in items} == {"CLAIM", "INTENTS", "STATE"}
    assert {item["ttl"]["N"] for item in items} == {FORGOTTEN_AT}


def test_a_full_group_is_written_for_the_price_of_a_kilobyte() -> None:
    intents = (Intent(450 + n, 99_000_000 + n, "bedrock/eu.anthropic.claude", 123_456_789) for n in range(MAX_IN_GROUP))
    assert len(group_values(IntentGroup(3, DAY, tuple(intents)))["intents"]) < 850


@pytest.mark.parametrize("entry", ["charge", "narrowing"])
async def test_a_ledger_entry_whose_answer_was_lost_counts_once(dynamo: FaultyDynamo, entry: str) -> None:
    client: Any = dynamo
    ledger = DynamoDbLedger(client, "charges", Impatient(1))
    dynamo.before, dynamo.after = [cancelled("None", "TransactionConflict")] * 3, [lost()]
    await (ledger.record(CHARGE) if entry == "charge" else ledger.narrow(NARROWING))
    assert len(dynamo.tokens()) == 5
    assert len(set(dynamo.tokens())) == 1
    (total,) = [spending async for spending in ledger.spending("day", "2026-11-22")]
    assert total.nano_usd == (CHARGE if entry == "charge" else NARROWING).nano_usd


async def leave_negative(dynamo: FaultyDynamo, key: str, *, granted: int, holders: int) -> None:
    """Leave a budget as earlier code left it when a cap was deployed while units held money."""
    item = {"pk": {"S": f"BUDGET#{key}"}, "sk": {"S": "STATE"}, "granted": {"N": f"{granted}"}}
    dynamo.put_item(TableName="jobs", Item=item | {"holders": {"N": f"{holders}"}})


@pytest.mark.parametrize(("granted_", "holders"), [(-2_000_000, -20), (-1, 0), (0, -3)])
async def test_a_budget_below_zero_is_healed_and_grants_no_more_than_its_limit(
    dynamo: FaultyDynamo, units: DynamoDbUnits, granted_: int, holders: int
) -> None:
    cap = LINES[1]
    await leave_negative(dynamo, cap.key, granted=granted_, holders=holders)
    state = await units.budget(cap.key)
    assert (state.granted, state.holders) == (0, 0), "nobody waits for holders that are none"
    claim = await units.claim(UNIT, seen=None, owner="a")
    assert claim is not None
    assert (await units.grant(UNIT, claim, cap.limit + 1, day=DAY, lines=LINES, gate=GATE)).verdict == "short"
    assert (await units.grant(UNIT, claim, cap.limit, day=DAY, lines=LINES, gate=GATE)).verdict == "granted"
    assert await granted(units) == [(1_000, 1), (1_000, 1)]


async def test_what_a_budget_below_zero_gets_back_heals_it(dynamo: FaultyDynamo, units: DynamoDbUnits) -> None:
    await holding(units)
    await leave_negative(dynamo, LINES[1].key, granted=-50, holders=-1)
    assert await money(units, "decide")
    assert await granted(units) == [(100, 0), (0, 0)]
    item = dynamo.get_item(TableName="jobs", Key={"pk": {"S": f"BUDGET#{LINES[1].key}"}, "sk": {"S": "STATE"}})
    assert (item["Item"]["granted"], item["Item"]["holders"]) == ({"N": "0"}, {"N": "0"})


async def test_a_budget_that_was_deleted_holds_no_unit_up(dynamo: FaultyDynamo, units: DynamoDbUnits) -> None:
    await holding(units)
    dynamo.delete_item(TableName="jobs", Key={"pk": {"S": f"BUDGET#{LINES[0].key}"}, "sk": {"S": "STATE"}})
    assert await money(units, "give_back")
    assert await granted(units) == [(0, 0), (100, 0)]


@pytest.mark.parametrize("what", ["give_back", "decide"])
async def test_a_return_whose_budgets_move_meanwhile_is_made_once(
    dynamo: FaultyDynamo, units: DynamoDbUnits, what: str
) -> None:
    """One line is refused, the claim is not: the next try has another token, and its answer is lost."""
    await holding(units)
    dynamo.before, dynamo.after = [cancelled("None", "ConditionalCheckFailed", "None")], [lost()]
    assert await money(units, what) is True
    assert await granted(units) == [(100, 0), (100, 0)]


async def test_a_group_says_which_models_it_calls(units: DynamoDbUnits) -> None:
    claim = await units.claim(UNIT, seen=None, owner="a")
    assert claim is not None
    intents = (Intent(0, 7, "b", 5), Intent(1, 8, "a", 5))
    group = IntentGroup(1, DAY, intents, {"a": "openai/one", "b": "azure/two"})
    assert await units.intend(UNIT, claim, group, gate=GATE) == "done"
    assert await units.intents(UNIT) == [group]
