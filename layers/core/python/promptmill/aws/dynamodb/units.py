"""Claims, intents, gates and budgets as items of the jobs table.

| pk | sk | what |
|---|---|---|
| ``UNIT#<unit>`` | ``CLAIM`` | who works on it, and what it holds |
| ``UNIT#<unit>`` | ``INTENTS#<epoch>#<first sequence>`` | up to 50 intents, packed: they are most of what a job writes |
| ``BUDGET#<key>`` | ``STATE`` | granted, in nano-dollars, and its holders |
| ``JOB#<job>`` | ``RUN#0001#GATE#03`` | a gate that is shut; there is none while it is open |
"""

from __future__ import annotations

import random
from asyncio import to_thread
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from promptmill.aws.dynamodb.items import failed_condition, from_item, query, to_item
from promptmill.aws.dynamodb.transactions import insist, transact, update
from promptmill.domain.budget import BudgetLine, BudgetState, Grant
from promptmill.domain.units import Claim, Gate, Intent, IntentGroup, Verdict
from promptmill.ports.clock import Clock
from promptmill.ports.units import Intended

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


KEPT_S = int(timedelta(days=400).total_seconds())
INTENTS = "INTENTS#"

_Packed = tuple[list[str], list[tuple[int, int, int, int | None]]]
_decoder = msgspec.msgpack.Decoder(_Packed)


def claim_key(unit: str) -> dict[str, str]:
    return {"pk": f"UNIT#{unit}", "sk": "CLAIM"}


def group_key(unit: str, group: IntentGroup) -> dict[str, str]:
    return {"pk": f"UNIT#{unit}", "sk": f"{INTENTS}{group.epoch:06d}#{group.first:08d}"}


def gate_key(gate: Gate) -> dict[str, str]:
    return {"pk": f"JOB#{gate.job_id}", "sk": f"RUN#{gate.run:04d}#GATE#{gate.number:02d}"}


def budget_key(key: str) -> dict[str, str]:
    return {"pk": f"BUDGET#{key}", "sk": "STATE"}


def claim_values(claim: Claim) -> dict[str, Any]:
    """Return the attributes of a claim's item, without the verdict while there is none."""
    values = {name: getattr(claim, name) for name in claim.__struct_fields__}
    if claim.verdict is not None:
        return values | {"verdict": verdict_value(claim.verdict)}
    values.pop("verdict")
    return values


def verdict_value(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in verdict.__struct_fields__}


def claim_from(item: dict[str, Any]) -> Claim:
    fields = {name: item[name] for name in Claim.__struct_fields__ if name in item}
    if "verdict" in fields:
        fields["verdict"] = Verdict(**fields["verdict"])
    return Claim(**fields)


def group_values(group: IntentGroup) -> dict[str, Any]:
    """Pack a group of intents. A route's name is written once, so that 50 intents take about a kilobyte."""
    routes = sorted({intent.route for intent in group.intents})
    places = {route: place for place, route in enumerate(routes)}
    packed: _Packed = (routes, [(i.sequence, i.record, places[i.route], i.high) for i in group.intents])
    return {"epoch": group.epoch, "day": group.day, "intents": msgspec.msgpack.encode(packed)}


def group_from(item: dict[str, Any]) -> IntentGroup:
    routes, packed = _decoder.decode(bytes(item["intents"]))
    intents = (Intent(sequence, record, routes[place], high) for sequence, record, place, high in packed)
    return IntentGroup(item["epoch"], item["day"], tuple(intents))


_OWNED = "#epoch = :own_epoch AND attribute_not_exists(#verdict)"
_AS_KNOWN = f"{_OWNED} AND #granted = :known_granted AND #holds = :known_holds"


class DynamoDbUnitBudgets:
    """The ``UnitBudgets`` port."""

    _db: DynamoDBClient
    _table: str
    _rng: random.Random
    _clock: Clock

    async def read(self, unit: str) -> Claim | None:
        item = await self._get(claim_key(unit))
        return claim_from(item) if item else None

    async def grant(
        self, unit: str, claim: Claim, amount: int, *, day: str, lines: Sequence[BudgetLine], gate: Gate | None
    ) -> Grant:
        if claim.holds and claim.day != day:
            raise ValueError(f"what is left of {claim.day} is given back before {day} grants more")
        gates = list(self._gate(gate))
        items = [
            self._money(unit, claim, amount, day=day, holds=True),
            *gates,
            *(self._budget(line, amount, holders=int(not claim.holds), most=line.limit) for line in lines),
        ]
        refused = await transact(self._db, items, rng=self._rng)
        if not refused:
            return Grant("granted")
        if 0 in refused:
            found = await self.read(unit)
            own = _money_is(found, claim, claim.granted + amount, holds=True, day=day)
            return Grant("granted" if own else "superseded")
        place = refused[0] - 1 - len(gates)
        return Grant("short", lines[place].key) if place >= 0 else Grant("shut")

    async def give_back(self, unit: str, claim: Claim, amount: int, *, lines: Sequence[BudgetLine]) -> bool:
        items = [self._money(unit, claim, -amount, day="", holds=False), *self._return(claim, -amount, lines)]
        if not await transact(self._db, items, rng=self._rng):
            return True
        return _money_is(await self.read(unit), claim, claim.granted - amount, holds=False, day="")

    async def decide(
        self, unit: str, claim: Claim, verdict: Verdict, *, used: int, lines: Sequence[BudgetLine]
    ) -> bool:
        rest = used - claim.granted
        said = {"verdict": verdict_value(verdict)}
        items = [self._money(unit, claim, rest, day="", holds=False, more=said), *self._return(claim, rest, lines)]
        if not await transact(self._db, items, rng=self._rng):
            return True
        found = await self.read(unit)
        return found is not None and (found.epoch, found.verdict, found.granted) == (claim.epoch, verdict, used)

    async def budget(self, key: str) -> BudgetState:
        item = await self._get(budget_key(key))
        return BudgetState(item.get("granted", 0), item.get("holders", 0))

    async def _get(self, key: Mapping[str, str]) -> dict[str, Any]:
        """Read an item, strongly consistent; return an empty dictionary if there is none."""
        found = await to_thread(self._db.get_item, TableName=self._table, Key=to_item(key), ConsistentRead=True)
        return from_item(found.get("Item", {}))

    def _money(
        self, unit: str, claim: Claim, amount: int, *, day: str, holds: bool, more: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return {
            "Update": update(
                self._table,
                claim_key(unit),
                sets={"day": day, "holds": holds, "ttl": self._ttl(), **(more or {})},
                adds={"granted": amount, "beat": 1},
                condition=_AS_KNOWN,
                values={"own_epoch": claim.epoch, "known_granted": claim.granted, "known_holds": claim.holds},
            )
        }

    def _return(self, claim: Claim, amount: int, lines: Sequence[BudgetLine]) -> Iterator[dict[str, Any]]:
        return (self._budget(line, amount, holders=-int(claim.holds)) for line in lines)

    def _budget(self, line: BudgetLine, amount: int, *, holders: int, most: int | None = None) -> dict[str, Any]:
        """Build the update of one budget. ``most`` is what may be granted in all afterwards."""
        condition, values = "", {}
        if most is not None:
            first = "attribute_not_exists(#granted) OR " if amount <= most else ""
            condition, values = f"{first}#granted <= :room", {"room": most - amount}
        return {
            "Update": update(
                self._table,
                budget_key(line.key),
                sets={"ttl": self._ttl()},
                adds={"granted": amount, "holders": holders},
                condition=condition,
                values=values,
            )
        }

    def _gate(self, gate: Gate | None) -> Iterator[dict[str, Any]]:
        if gate is not None:
            check = {"TableName": self._table, "Key": to_item(gate_key(gate))}
            yield {"ConditionCheck": check | {"ConditionExpression": "attribute_not_exists(shut)"}}

    def _owned(self, unit: str, claim: Claim) -> dict[str, Any]:
        """Build the update that shows life, on condition that the epoch is the claim's and nothing is decided."""
        return update(
            self._table,
            claim_key(unit),
            sets={"ttl": self._ttl()},
            adds={"beat": 1},
            condition=_OWNED,
            values={"own_epoch": claim.epoch},
        )

    def _ttl(self) -> int:
        return int(self._clock.now().timestamp()) + KEPT_S


def _money_is(found: Claim | None, claim: Claim, granted: int, *, holds: bool, day: str) -> bool:
    """Return True if the claim holds what the write should have made it: our own earlier try had got through."""
    if found is None or found.epoch != claim.epoch or found.verdict is not None:
        return False
    return (found.granted, found.holds, found.day) == (granted, holds, day)


class DynamoDbUnits(DynamoDbUnitBudgets):
    """The ``Units`` port: claims and intents here, budgets in the parent class. ``clock`` says when items may be forgotten."""

    def __init__(self, client: DynamoDBClient, table: str, rng: random.Random, clock: Clock) -> None:
        self._db, self._table, self._rng, self._clock = client, table, rng, clock

    async def claim(self, unit: str, *, seen: Claim | None, owner: str, body_hash: str = "") -> Claim | None:
        if seen is None:
            first = claim_values(Claim(1, 0, owner, body_hash=body_hash))
            return await self._write(unit, sets=first, condition="attribute_not_exists(#pk)")
        return await self._write(
            unit,
            sets={"epoch": seen.epoch + 1, "beat": 0, "owner": owner, "released": False},
            adds={"crashes": int(not seen.released)},
            condition="#epoch = :seen_epoch AND #beat = :seen_beat",
            values={"seen_epoch": seen.epoch, "seen_beat": seen.beat},
        )

    async def beat(self, unit: str, claim: Claim) -> bool:
        return await self._write_own(unit, claim)

    async def mark(self, unit: str, claim: Claim, *, crashes: int, trying: int = -1, tries: int = 0) -> bool:
        marks = {"crashes": crashes, "trying": trying, "tries": tries}
        return await self._write_own(unit, claim, sets=marks, condition=" AND attribute_not_exists(#verdict)")

    async def release(self, unit: str, claim: Claim) -> bool:
        return await self._write_own(unit, claim, sets={"released": True})

    async def intend(self, unit: str, claim: Claim, group: IntentGroup, *, gate: Gate | None) -> Intended:
        item = group_key(unit, group) | group_values(group) | {"ttl": self._ttl()}
        put = {"TableName": self._table, "Item": to_item(item), "ConditionExpression": "attribute_not_exists(pk)"}
        items = [{"Update": self._owned(unit, claim)}, *self._gate(gate), {"Put": put}]
        refused = await transact(self._db, items, rng=self._rng)
        if 0 in refused:
            return "superseded"
        if len(items) - 1 in refused:
            await self._must_be_ours(unit, group)
            return "done"
        return "shut" if refused else "done"

    async def intents(self, unit: str) -> list[IntentGroup]:
        found = query(
            self._db,
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues=to_item({":pk": claim_key(unit)["pk"], ":sk": INTENTS}),
            ConsistentRead=True,
        )
        return [group_from(item) async for item in found]

    async def _must_be_ours(self, unit: str, group: IntentGroup) -> None:
        if group_from(await self._get(group_key(unit, group))) != group:
            raise ValueError(f"intents {group.epoch}.{group.first} are there already, and differ")

    async def _write_own(
        self, unit: str, claim: Claim, *, sets: Mapping[str, Any] | None = None, condition: str = ""
    ) -> bool:
        done = await self._write(
            unit,
            sets=sets,
            adds={"beat": 1},
            condition=f"#epoch = :own_epoch{condition}",
            values={"own_epoch": claim.epoch},
        )
        return done is not None

    async def _write(
        self,
        unit: str,
        *,
        sets: Mapping[str, Any] | None = None,
        adds: Mapping[str, Any] | None = None,
        condition: str,
        values: Mapping[str, Any] | None = None,
    ) -> Claim | None:
        """Return the claim as it is after the write, or None if the condition did not hold."""
        request = update(
            self._table,
            claim_key(unit),
            sets={**(sets or {}), "ttl": self._ttl()},
            adds=adds,
            condition=condition,
            values=values,
        )
        try:
            done = await insist(self._db.update_item, rng=self._rng, ReturnValues="ALL_NEW", **request)
        except ClientError as error:
            if failed_condition(error):
                return None
            raise
        return claim_from(from_item(done["Attributes"]))
