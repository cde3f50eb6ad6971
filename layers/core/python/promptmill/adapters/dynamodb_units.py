"""Units in the jobs table on DynamoDB; ``dynamodb_unit_items`` lists the items."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from promptmill.adapters.dynamodb_items import failed_condition, from_item, query, to_item
from promptmill.adapters.dynamodb_transactions import insist, transact, update
from promptmill.adapters.dynamodb_unit_budgets import DynamoDbUnitBudgets
from promptmill.adapters.dynamodb_unit_items import (
    INTENTS,
    claim_from,
    claim_key,
    claim_values,
    group_from,
    group_key,
    group_values,
)
from promptmill.domain.units import Claim, Gate, IntentGroup
from promptmill.ports.clock import Clock
from promptmill.ports.units import Intended

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class DynamoDbUnits(DynamoDbUnitBudgets):
    """Claims and intents, and with its parent all of the ``Units`` port. ``clock``: when items may be forgotten."""

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
        """The claim as it is now; None if the condition did not hold."""
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
