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
from collections.abc import Iterator, Mapping, Sequence
from itertools import starmap
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from promptmill.aws.dynamodb.items import failed_condition, from_item, query, to_item
from promptmill.aws.dynamodb.transactions import RECONNECTS, insist, insist_if, transact, update
from promptmill.aws.dynamodb.unit_items import (
    INTENTS,
    KEPT_S,
    budget_key,
    claim_from,
    claim_key,
    claim_values,
    gate_key,
    group_from,
    group_key,
    group_values,
    submission_key,
    verdict_value,
)
from promptmill.aws.threads import to_thread
from promptmill.domain.budget import BudgetLine, BudgetLines, BudgetState, Grant, keys_of
from promptmill.domain.errors import InconsistentError
from promptmill.domain.layout import STORED_VERSION, VERSION_FIELD
from promptmill.domain.units import Claim, Gate, IntentGroup, Verdict
from promptmill.ports.clock import Clock
from promptmill.ports.submissions import Holder
from promptmill.ports.units import Intended

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


_TRIES = 5  # of a transaction whose budgets turned out to be other than they should be

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
        self, unit: str, claim: Claim, amount: int, *, unpaid: int = 0, day: str, lines: BudgetLines, gate: Gate | None
    ) -> Grant:
        keys = keys_of(lines)
        if claim.holds and (claim.day != day or claim.lines not in ((), keys)):
            raise ValueError(f"what is left of {claim.day} {claim.lines} is given back before {keys} grant more")
        gates = list(self._gate(gate))
        items = [
            self._move_claim(unit, claim, amount + unpaid, day=day, lines=keys),
            *gates,
            *(self._draw(line, amount, holders=int(not claim.holds)) for line in lines),
        ]
        for _ in range(_TRIES):
            refused = await transact(self._db, items, rng=self._rng)
            if not refused:
                return Grant("granted")
            if 0 in refused:
                found = await self.read(unit)
                own = _money_is(found, claim, claim.granted + amount + unpaid, holds=True, day=day)
                return Grant("granted" if own else "superseded")
            places = [place - 1 - len(gates) for place in refused]
            if places[0] < 0:
                return Grant("shut")
            if not any([await self._heal(keys[place]) for place in places]):
                break
        return Grant("short", keys[places[0]])

    async def give_back(self, unit: str, claim: Claim, amount: int, *, lines: BudgetLines) -> bool:
        move = self._move_claim(unit, claim, -amount)
        if await self._put_back(move, claim, amount, lines):
            return True
        return _money_is(await self.read(unit), claim, claim.granted - amount, holds=False, day="")

    async def decide(self, unit: str, claim: Claim, verdict: Verdict, *, used: int, lines: BudgetLines) -> bool:
        left = claim.granted - used
        let_go: dict[str, Any] = {"held": "", "released": True} if claim.held else {}
        move = self._move_claim(unit, claim, -left, more={"verdict": verdict_value(verdict), **let_go})
        if await self._put_back(move, claim, left, lines):
            return True
        found = await self.read(unit)
        return found is not None and (found.epoch, found.verdict, found.granted) == (claim.epoch, verdict, used)

    async def budget(self, key: str) -> BudgetState:
        item = await self._get(budget_key(key))
        # Earlier code let a counter get below 0 when the configuration changed: it holds nothing, and nobody is waited for.
        return BudgetState(max(0, item.get("granted", 0)), max(0, item.get("holders", 0)))

    async def _get(self, key: Mapping[str, str]) -> dict[str, Any]:
        """Read an item, strongly consistent; return an empty dictionary if there is none."""
        found = await to_thread(self._db.get_item, TableName=self._table, Key=to_item(key), ConsistentRead=True)
        return from_item(found.get("Item", {}))

    def _move_claim(
        self,
        unit: str,
        claim: Claim,
        amount: int,
        *,
        day: str = "",
        lines: Sequence[str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Build the update of a claim: it holds money of ``lines`` afterwards, or of nobody where they are None."""
        holding = {"day": day, "holds": lines is not None, "lines": list(lines or ())}
        return {
            "Update": update(
                self._table,
                claim_key(unit),
                sets={**holding, "ttl": self._ttl(), **(more or {})},
                adds={"granted": amount, "beat": 1},
                condition=_AS_KNOWN,
                values={"own_epoch": claim.epoch, "known_granted": claim.granted, "known_holds": claim.holds},
            )
        }

    async def _put_back(self, move: dict[str, Any], claim: Claim, amount: int, lines: BudgetLines) -> bool:
        """Give the amount back to the budgets that it came from, as the claim moves. Return False if the claim may not.

        A budget that holds less than that (its item was deleted, or the claim's own lines are only a guess) gives what
        it has.
        """
        left = dict.fromkeys(claim.lines or keys_of(lines), (amount, int(claim.holds)))
        for _ in range(_TRIES):
            shares = [(key, *share) for key, share in left.items() if share != (0, 0)]
            refused = await transact(self._db, [move, *starmap(self._return, shares)], rng=self._rng)
            if not refused or 0 in refused:
                return not refused
            for place in refused:
                key, granted, holders = shares[place - 1]
                await self._heal(key)
                state = await self.budget(key)
                left[key] = (min(granted, state.granted), min(holders, state.holders))
        raise InconsistentError(f"the budgets {', '.join(left)} move too fast to be given anything back")

    def _draw(self, line: BudgetLine, amount: int, *, holders: int) -> dict[str, Any]:
        """Build the update of a budget that grants the amount, on condition that it is sound and has that much left."""
        within = "#granted >= :none AND #granted <= :room"
        if amount <= line.limit:
            within = f"(attribute_not_exists(#granted) OR ({within}))"
        sound = "(attribute_not_exists(#holders) OR #holders >= :none)"
        return self._move_budget(line.key, amount, holders, f"{within} AND {sound}", none=0, room=line.limit - amount)

    def _return(self, key: str, amount: int, holders: int) -> dict[str, Any]:
        """Build the update of a budget that gets the amount back, on condition that it does not get below 0."""
        checks, values = [], {}
        if amount > 0:
            checks, values = ["#granted >= :least"], {"least": amount}
        if holders:
            checks, values = [*checks, "#holders >= :fewest"], values | {"fewest": holders}
        return self._move_budget(key, -amount, -holders, " AND ".join(checks), **values)

    def _move_budget(self, key: str, amount: int, holders: int, condition: str, **values: int) -> dict[str, Any]:
        return {
            "Update": update(
                self._table,
                budget_key(key),
                sets={"ttl": self._ttl()},
                adds={"granted": amount, "holders": holders},
                condition=condition,
                values=values,
            )
        }

    async def _heal(self, key: str) -> bool:
        """Set what is below 0 in a budget to 0. Return False if nothing was."""
        item = await self._get(budget_key(key))
        wrong = {name: item[name] for name in ("granted", "holders") if item.get(name, 0) < 0}
        for name, value in wrong.items():
            request = update(
                self._table,
                budget_key(key),
                sets={name: 0},
                condition=f"#{name} = :wrong",
                values={"wrong": value},
            )
            await insist_if(self._db.update_item, rng=self._rng, **request)
        return bool(wrong)

    def _gate(self, gate: Gate | None) -> Iterator[dict[str, Any]]:
        if gate is not None:
            check = {"TableName": self._table, "Key": to_item(gate_key(gate))}
            yield {"ConditionCheck": check | {"ConditionExpression": "attribute_not_exists(shut)"}}

    def _filling(self, holder: Holder | None) -> Iterator[dict[str, Any]]:
        """Build the check that a submission still takes chunks."""
        if holder is not None:
            yield {
                "ConditionCheck": {
                    "TableName": self._table,
                    "Key": to_item(submission_key(holder)),
                    "ConditionExpression": "attribute_exists(pk) AND attribute_not_exists(#f) AND attribute_not_exists(#v)",
                    "ExpressionAttributeNames": {"#f": "frozen", "#v": "void"},
                }
            }

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

    async def claim(
        self, unit: str, *, seen: Claim | None, owner: str, body_hash: str = "", holder: Holder | None = None
    ) -> Claim | None:
        held = holder.submission if holder else ""
        if seen is None:
            first = claim_values(Claim(1, 0, owner, body_hash=body_hash, held=held)) | {VERSION_FIELD: STORED_VERSION}
            return await self._take(unit, holder, sets=first, condition="attribute_not_exists(#pk)")
        return await self._take(
            unit,
            holder,
            sets={"epoch": seen.epoch + 1, "beat": 0, "owner": owner, "released": False, "held": held},
            adds={"crashes": int(not seen.released)},
            condition="#epoch = :seen_epoch AND #beat = :seen_beat",
            values={"seen_epoch": seen.epoch, "seen_beat": seen.beat},
        )

    async def _take(
        self,
        unit: str,
        holder: Holder | None,
        *,
        sets: Mapping[str, Any],
        adds: Mapping[str, Any] | None = None,
        condition: str,
        values: Mapping[str, Any] | None = None,
    ) -> Claim | None:
        """Write a claim; one for a submission in one transaction with the look at that, and read back as its own."""
        if holder is None:
            return await self._write(unit, sets=sets, adds=adds, condition=condition, values=values)
        sets = {**sets, "ttl": self._ttl()}
        move = update(self._table, claim_key(unit), sets=sets, adds=adds, condition=condition, values=values)
        if await transact(self._db, [{"Update": move}, *self._filling(holder)], rng=self._rng):
            return None
        found = await self.read(unit)
        return found if found is not None and found.owner == sets["owner"] else None

    async def beat(self, unit: str, claim: Claim) -> bool:
        return await self._write_own(unit, claim)

    async def mark(self, unit: str, claim: Claim, *, crashes: int, trying: int = -1, tries: int = 0) -> bool:
        marks = {"crashes": crashes, "trying": trying, "tries": tries}
        return await self._write_own(unit, claim, sets=marks, condition=" AND attribute_not_exists(#verdict)")

    async def release(self, unit: str, claim: Claim, *, tried: tuple[int, int] | None = None) -> bool:
        marks = dict(zip(("trying", "tries"), tried or (), strict=False))
        return await self._write_own(unit, claim, sets={"released": True, "held": "", **marks})

    async def intend(
        self, unit: str, claim: Claim, group: IntentGroup, *, gate: Gate | None, holder: Holder | None = None
    ) -> Intended:
        item = group_key(unit, group) | group_values(group) | {"ttl": self._ttl()}
        put = {"TableName": self._table, "Item": to_item(item), "ConditionExpression": "attribute_not_exists(pk)"}
        items = [{"Update": self._owned(unit, claim)}, *self._gate(gate), *self._filling(holder), {"Put": put}]
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
            done = await insist(
                self._db.update_item, rng=self._rng, reconnects=RECONNECTS, ReturnValues="ALL_NEW", **request
            )
        except ClientError as error:
            if failed_condition(error):
                return None
            raise
        return claim_from(from_item(done["Attributes"]))
