"""What units hold of the budgets, in the jobs table: claim and budgets move in one transaction."""

from __future__ import annotations

import random
from asyncio import to_thread
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptmill.adapters.dynamodb_items import from_item, to_item
from promptmill.adapters.dynamodb_transactions import transact, update
from promptmill.adapters.dynamodb_unit_items import KEPT_S, budget_key, claim_from, claim_key, gate_key, verdict_value
from promptmill.domain.budget import BudgetLine, BudgetState, Grant
from promptmill.domain.units import Claim, Gate, Verdict
from promptmill.ports.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

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
        """Strongly consistent; empty if there is none."""
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
        """``most``: what may be granted once this is."""
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
        """That the epoch is the claim's and nothing is decided; shows life."""
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
    """Whether what the claim should come to is there: then the refused write was our own, made before."""
    if found is None or found.epoch != claim.epoch or found.verdict is not None:
        return False
    return (found.granted, found.holds, found.day) == (granted, holds, day)
