"""The charges table on DynamoDB.

| pk | sk | what |
|---|---|---|
| ``JOB#<job>`` | ``<run>.<chunk>#<epoch>#<route>`` | a charge of a job |
| ``REQUESTS#<recipe>#<day>`` | ``<digest>#<epoch>#<route>`` | a charge of a request |
| as the charge's | ``NARROWING#<call>`` | what a call really cost that a charge counts as unknown |
| ``DAY#<day>`` | ``<model>#<recipe>#<route>#<shard>`` | a day's total, moved only by the transaction that writes one of those |

Index ``by_model`` (of_model, day) and ``by_recipe`` (of_recipe, day) hold the totals. ``cost_usd``, the least that was spent,
and ``high_usd``, the most, are exact decimals.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal

from promptmill.aws.dynamodb.items import query, to_item
from promptmill.aws.dynamodb.transactions import transact, update
from promptmill.domain.charge import Charge, CostCorrection, Spending, spending_of_charge, spending_of_correction
from promptmill.domain.layout import STORED_VERSION, VERSION_FIELD
from promptmill.domain.money import to_nano, to_usd

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


_SHARDS = 8  # of a day's total, so that it is no hot item
_COUNTS = ("attempts", "failed_attempts", "unpriced", "unbounded", "input_tokens", "output_tokens")
_NARROWING = "NARROWING#"  # after every charge: theirs begin with a run's number
_INDEXES = {"model": ("by_model", "of_model"), "recipe": ("by_recipe", "of_recipe")}


class DynamoDbLedger:
    """The ``Ledger`` and ``SpendingReader`` ports. Charges and cost corrections are written once, and totals are sums over them."""

    def __init__(self, client: DynamoDBClient, table: str, rng: random.Random) -> None:
        self._db, self._table, self._rng = client, table, rng

    async def record(self, charge: Charge) -> bool:
        cached = {"cache_read_tokens": charge.cache_read_tokens, "cache_write_tokens": charge.cache_write_tokens}
        return await self._enter(_charge(charge), self._total(spending_of_charge(charge), charge.unit, cached))

    async def narrow(self, narrowing: CostCorrection) -> bool:
        return await self._enter(
            _narrowing(narrowing), self._total(spending_of_correction(narrowing), narrowing.unit, {})
        )

    async def charges_of(self, job_id: str) -> AsyncIterator[Charge]:
        async for item in self._query(f"JOB#{job_id}", " AND sk < :sk", _NARROWING):
            yield _charge_from(item)

    async def narrowings_of(self, job_id: str) -> AsyncIterator[CostCorrection]:
        async for item in self._query(f"JOB#{job_id}", " AND begins_with(sk, :sk)", _NARROWING):
            yield _narrowing_from(item)

    async def spending(
        self, by: Literal["day", "model", "recipe"], name: str, *, since: str = "", until: str = ""
    ) -> AsyncIterator[Spending]:
        items = self._query(f"DAY#{name}") if by == "day" else self._query_index(by, name, since, until)
        async for item in items:
            yield _spending_from(item)

    async def _enter(self, entry: dict[str, Any], total: dict[str, Any]) -> bool:
        """Write one entry once, in the same transaction as the totals that it explains."""
        item = to_item(entry | {VERSION_FIELD: STORED_VERSION})
        put = {"TableName": self._table, "Item": item, "ConditionExpression": "attribute_not_exists(pk)"}
        return not await transact(self._db, [{"Put": put}, {"Update": total}], rng=self._rng)

    def _query(self, pk: str, places: str = "", sk: str | None = None) -> AsyncIterator[dict[str, Any]]:
        return query(
            self._db,
            TableName=self._table,
            KeyConditionExpression=f"pk = :pk{places}",
            ExpressionAttributeValues=to_item({":pk": pk, ":sk": sk}),
            ConsistentRead=True,
        )

    def _query_index(self, by: str, name: str, since: str, until: str) -> AsyncIterator[dict[str, Any]]:
        index, key = _INDEXES[by]
        return query(
            self._db,
            TableName=self._table,
            IndexName=index,
            KeyConditionExpression="#key = :name AND #day BETWEEN :since AND :until",
            ExpressionAttributeNames={"#key": key, "#day": "day"},
            ExpressionAttributeValues=to_item({":name": name, ":since": since or "0", ":until": until or "9"}),
        )

    def _total(self, moved: Spending, unit: str, more: dict[str, int]) -> dict[str, Any]:
        shard = zlib.crc32(unit.encode()) % _SHARDS
        counts = {name: getattr(moved, name) for name in _COUNTS}
        return update(
            self._table,
            {"pk": f"DAY#{moved.day}", "sk": f"{moved.model}#{moved.recipe}#{moved.route}#{shard}"},
            sets={"of_model": moved.model, "of_recipe": moved.recipe, "route": moved.route, "day": moved.day},
            adds={"cost_usd": to_usd(moved.nano_usd), "high_usd": to_usd(moved.high_nano_usd), **counts, **more},
        )


def _charge(charge: Charge) -> dict[str, Any]:
    item = {name: getattr(charge, name) for name in charge.__struct_fields__}
    item |= {"cost_usd": to_usd(item.pop("nano_usd")), "high_usd": to_usd(item.pop("high_nano_usd"))}
    return item | {
        "pk": _partition(charge),
        "sk": f"{_place(charge)}#{charge.epoch:06d}#{charge.route}",
        "bases": list(charge.bases),
    }


def _charge_from(item: dict[str, Any]) -> Charge:
    fields = {name: item[name] for name in Charge.__struct_fields__ if name in item}
    fields |= {"nano_usd": to_nano(item["cost_usd"]), "high_nano_usd": to_nano(item["high_usd"])}
    return Charge(**(fields | {"bases": tuple(item["bases"])}))


def _narrowing(narrowing: CostCorrection) -> dict[str, Any]:
    item = {name: getattr(narrowing, name) for name in narrowing.__struct_fields__}
    high = item.pop("high")
    item |= {"cost_usd": to_usd(item.pop("nano_usd")), "counted_usd": None if high is None else to_usd(high)}
    return item | {"pk": _partition(narrowing), "sk": f"{_NARROWING}{narrowing.call_id}"}


def _narrowing_from(item: dict[str, Any]) -> CostCorrection:
    fields = {name: item[name] for name in CostCorrection.__struct_fields__ if name in item}
    high = to_nano(item["counted_usd"]) if "counted_usd" in item else None
    return CostCorrection(**(fields | {"nano_usd": to_nano(item["cost_usd"]), "high": high}))


def _partition(entry: Charge | CostCorrection) -> str:
    return f"JOB#{entry.job_id}" if entry.job_id else f"REQUESTS#{entry.recipe}#{entry.day}"


def _place(charge: Charge) -> str:
    return charge.unit.removeprefix(f"{charge.job_id}.") if charge.job_id else charge.unit.rpartition(".")[2]


def _spending_from(item: dict[str, Any]) -> Spending:
    return Spending(
        nano_usd=to_nano(item["cost_usd"]),
        high_nano_usd=to_nano(item["high_usd"]),
        **{name: item[name] for name in _COUNTS},
        day=item["day"],
        model=item["of_model"],
        recipe=item["of_recipe"],
        route=item["route"],
    )
