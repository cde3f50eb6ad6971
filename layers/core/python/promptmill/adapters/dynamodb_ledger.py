"""The charges table on DynamoDB.

| pk | sk | what |
|---|---|---|
| ``JOB#<job>`` | ``<run>.<chunk>#<epoch>#<route>`` | a charge of a job |
| ``REQUESTS#<recipe>#<day>`` | ``<digest>#<epoch>#<route>`` | a charge of a request |
| ``DAY#<day>`` | ``<model>#<recipe>#<route>#<shard>`` | a day's total, moved only by the transaction that writes a charge |

Index ``by_model`` (of_model, day) and ``by_recipe`` (of_recipe, day) hold the totals. ``cost_usd`` is an exact decimal.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from asyncio import sleep, to_thread
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from promptmill.adapters.dynamodb_items import query, to_item
from promptmill.domain.charge import Charge, Spending
from promptmill.domain.money import to_nano, to_usd

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_SHARDS = 8  # of a day's total, so that it is no hot item
_TRIES = 12
_COUNTS = (
    "attempts",
    "failed_attempts",
    "unpriced",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
)
_INDEXES = {"model": ("by_model", "of_model"), "recipe": ("by_recipe", "of_recipe")}


class DynamoDbLedger:
    """Charges are written once; totals are folds over them."""

    def __init__(self, client: DynamoDBClient, table: str, rng: random.Random) -> None:
        self._db, self._table, self._rng = client, table, rng

    async def record(self, charge: Charge) -> bool:
        request: Any = {
            "TransactItems": [{"Put": self._charge(charge)}, {"Update": self._total(charge)}],
            "ClientRequestToken": _token(charge),
        }
        for attempt in range(_TRIES):
            try:
                await to_thread(self._db.transact_write_items, **request)
                return True
            except ClientError as error:
                reasons = _reasons(error)
                if reasons[:1] == ["ConditionalCheckFailed"]:
                    return False
                if "TransactionConflict" not in reasons or attempt == _TRIES - 1:
                    raise
            await sleep(self._rng.uniform(0, 0.05 * 2 ** min(attempt, 6)))
        raise AssertionError("unreachable")

    async def charges_of(self, job_id: str) -> AsyncIterator[Charge]:
        async for item in self._query(f"JOB#{job_id}"):
            yield _charge_from(item)

    async def spending(
        self, by: Literal["day", "model", "recipe"], name: str, *, since: str = "", until: str = ""
    ) -> AsyncIterator[Spending]:
        items = self._query(f"DAY#{name}") if by == "day" else self._query_index(by, name, since, until)
        async for item in items:
            yield _spending_from(item)

    def _query(self, pk: str) -> AsyncIterator[dict[str, Any]]:
        return query(
            self._db,
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=to_item({":pk": pk}),
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

    def _charge(self, charge: Charge) -> dict[str, Any]:
        item = {f: getattr(charge, f) for f in charge.__struct_fields__}
        item |= {"pk": _partition(charge), "sk": f"{_place(charge)}#{charge.epoch:06d}#{charge.route}"}
        item |= {"cost_usd": to_usd(item.pop("nano_usd")), "bases": list(charge.bases)}
        return {"TableName": self._table, "Item": to_item(item), "ConditionExpression": "attribute_not_exists(pk)"}

    def _total(self, charge: Charge) -> dict[str, Any]:
        shard = zlib.crc32(charge.unit.encode()) % _SHARDS
        names = {"of_model": charge.model, "of_recipe": charge.recipe, "route": charge.route, "day": charge.day}
        adds = {"cost_usd": to_usd(charge.nano_usd)} | {name: getattr(charge, name) for name in _COUNTS}
        expression = "SET " + ", ".join(f"#{n} = :{n}" for n in names)
        expression += " ADD " + ", ".join(f"#{n} :{n}" for n in adds)
        sk = f"{charge.model}#{charge.recipe}#{charge.route}#{shard}"
        return {
            "TableName": self._table,
            "Key": to_item({"pk": f"DAY#{charge.day}", "sk": sk}),
            "UpdateExpression": expression,
            "ExpressionAttributeNames": {f"#{n}": n for n in (*names, *adds)},
            "ExpressionAttributeValues": to_item({f":{n}": v for n, v in (names | adds).items()}),
        }


def _partition(charge: Charge) -> str:
    return f"JOB#{charge.job_id}" if charge.job_id else f"REQUESTS#{charge.recipe}#{charge.day}"


def _place(charge: Charge) -> str:
    return charge.unit.removeprefix(f"{charge.job_id}.") if charge.job_id else charge.unit.rpartition(".")[2]


def _token(charge: Charge) -> str:
    return hashlib.sha256(f"{charge.unit}\n{charge.epoch}\n{charge.route}".encode()).hexdigest()[:36]


def _reasons(error: ClientError) -> list[str]:
    if error.response.get("Error", {}).get("Code") == "TransactionConflictException":
        return ["", "TransactionConflict"]
    response: Any = error.response
    return [reason.get("Code", "") for reason in response.get("CancellationReasons", [])]


def _charge_from(item: dict[str, Any]) -> Charge:
    fields = {name: item[name] for name in Charge.__struct_fields__ if name not in ("nano_usd", "bases")}
    return Charge(**fields, nano_usd=to_nano(item["cost_usd"]), bases=tuple(item["bases"]))


def _spending_from(item: dict[str, Any]) -> Spending:
    return Spending(
        nano_usd=to_nano(item["cost_usd"]),
        attempts=item["attempts"],
        failed_attempts=item["failed_attempts"],
        unpriced=item["unpriced"],
        input_tokens=item["input_tokens"],
        output_tokens=item["output_tokens"],
        day=item["day"],
        model=item["of_model"],
        recipe=item["of_recipe"],
        route=item["route"],
    )
