"""Who dropped which content first, in the jobs table: pk ``DUPLICATE#<recipe>#<digest>``, sk ``FIRST``."""

from __future__ import annotations

from asyncio import to_thread
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from promptmill.adapters.dynamodb_items import from_item, to_item, write_if

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_KEPT = timedelta(days=30)
_OURS = "attribute_not_exists(pk) OR job_id = :mine OR job_id = :over OR #at < :not_since"


class DynamoDbFirstDrops:
    """The ``FirstDrops`` port."""

    _db: DynamoDBClient
    _table: str

    async def first_drop(
        self, recipe: str, digest: str, job_id: str, *, at: str, not_since: str, over: str = ""
    ) -> str:
        key = {"pk": f"DUPLICATE#{recipe}#{digest}", "sk": "FIRST"}
        ttl = int((datetime.fromisoformat(at) + _KEPT).timestamp())
        while True:
            ours = await write_if(
                self._db.put_item,
                TableName=self._table,
                Item=to_item(key | {"job_id": job_id, "at": at, "ttl": ttl}),
                ConditionExpression=_OURS,
                ExpressionAttributeNames={"#at": "at"},
                ExpressionAttributeValues=to_item({":mine": job_id, ":over": over, ":not_since": not_since}),
            )
            if ours:
                return job_id
            found = await to_thread(self._db.get_item, TableName=self._table, Key=to_item(key), ConsistentRead=True)
            if "Item" in found:  # else it was forgotten in between
                return str(from_item(found["Item"])["job_id"])
