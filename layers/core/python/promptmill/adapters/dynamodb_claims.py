"""Claims of chunks, in the jobs table."""

from __future__ import annotations

from asyncio import to_thread
from typing import TYPE_CHECKING, Any

from msgspec import structs

from promptmill.adapters.dynamodb_items import from_item, to_item, write_if
from promptmill.domain.job import Counts
from promptmill.ports.job_store import Claim

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_AS_SEEN = "epoch = :seen_epoch AND beat = :seen_beat"


class DynamoDbClaims:
    """One item a unit; its epoch only rises."""

    _db: DynamoDBClient
    _table: str

    async def read_claim(self, job_id: str, run: int, chunk: int) -> Claim | None:
        found = await to_thread(
            self._db.get_item, TableName=self._table, Key=_key(job_id, run, chunk), ConsistentRead=True
        )
        return claim_from(from_item(found["Item"])) if "Item" in found else None

    async def claim(self, job_id: str, run: int, chunk: int, *, seen: Claim | None, owner: str) -> Claim | None:
        mine = seen.taken_over(owner) if seen else Claim(1, 0, owner)
        values: dict[str, Any] = {":epoch": mine.epoch, ":beat": 0, ":owner": owner, ":released": False}
        values |= {":crashes": mine.crashes}
        if seen:
            values |= {":seen_epoch": seen.epoch, ":seen_beat": seen.beat}
        taken = await self._update(
            _key(job_id, run, chunk),
            "SET epoch = :epoch, beat = :beat, #owner = :owner, released = :released, crashes = :crashes",
            _AS_SEEN if seen else "attribute_not_exists(pk)",
            values,
            {"#owner": "owner"},
        )
        return mine if taken else None

    async def beat(self, job_id: str, run: int, chunk: int, claim: Claim, counts: Counts, *, at: str) -> Claim | None:
        alive = await self._update(
            _key(job_id, run, chunk),
            "SET beat = beat + :one",
            "epoch = :epoch",
            {":one": 1, ":epoch": claim.epoch},
            {},
        )
        if not alive:
            return None
        live = {f: getattr(counts, f) for f in counts.__struct_fields__}
        key = {"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}#LIVE#{chunk:08d}"}
        await to_thread(self._db.put_item, TableName=self._table, Item=to_item(key | live | {"at": at, "chunk": chunk}))
        return structs.replace(claim, beat=claim.beat + 1)

    async def release(self, job_id: str, run: int, chunk: int, claim: Claim) -> bool:
        return await self._update(
            _key(job_id, run, chunk),
            "SET released = :yes",
            "epoch = :epoch",
            {":yes": True, ":epoch": claim.epoch},
            {},
        )

    async def _update(
        self, key: Any, expression: str, condition: str, values: dict[str, Any], names: dict[str, str]
    ) -> bool:
        more = {"ExpressionAttributeNames": names} if names else {}
        return await write_if(
            self._db.update_item,
            TableName=self._table,
            Key=key,
            UpdateExpression=expression,
            ConditionExpression=condition,
            ExpressionAttributeValues=to_item(values),
            **more,
        )


def claim_from(item: dict[str, Any]) -> Claim:
    """Of an item of the jobs table."""
    return Claim(item["epoch"], item["beat"], item["owner"], item.get("released", False), item.get("crashes", 0))


def _key(job_id: str, run: int, chunk: int) -> dict[str, Any]:
    return to_item({"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}#CHUNK#{chunk:08d}"})
