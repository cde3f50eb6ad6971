"""Progress of a run, in the jobs table: a set of ended chunks and their sums, 1,000 chunks an item."""

from __future__ import annotations

from asyncio import to_thread
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from promptmill.adapters.dynamodb_items import failed_condition, from_item, query, to_item
from promptmill.domain.job import Counts

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

CHUNKS_AN_ITEM = 1000
_SUMS = Counts.__struct_fields__


class DynamoDbProgress:
    """A chunk's bit and the sums that it explains move in one write."""

    _db: DynamoDBClient
    _table: str

    async def note_progress(self, job_id: str, run: int, chunk: int, counts: Counts, *, at: str) -> None:
        live = {name: getattr(counts, name) for name in _SUMS}
        key = {"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}#LIVE#{chunk:08d}"}
        await to_thread(self._db.put_item, TableName=self._table, Item=to_item(key | live | {"at": at, "chunk": chunk}))

    async def chunk_ended(self, job_id: str, run: int, chunk: int, counts: Counts, *, of: int, at: str) -> bool:
        own = await self._set_bit(job_id, run, chunk, counts, at)
        live = to_item({"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}#LIVE#{chunk:08d}"})
        await to_thread(self._db.delete_item, TableName=self._table, Key=live)
        if own < min(CHUNKS_AN_ITEM, of - chunk // CHUNKS_AN_ITEM * CHUNKS_AN_ITEM):
            return False
        ended = [item async for item in self._items(job_id, run, "ENDED", consistent=True)]
        return sum(len(item["ended"]) for item in ended) == of

    async def read_progress(self, job_id: str, run: int) -> Counts:
        ended: set[int] = set()
        total = Counts()
        async for item in self._items(job_id, run, "ENDED", consistent=False):
            ended |= item["ended"]
            total = total.plus(counts_from(item))
        async for item in self._items(job_id, run, "LIVE", consistent=False):
            if item["chunk"] not in ended:
                total = total.plus(counts_from(item))
        return total

    async def _set_bit(self, job_id: str, run: int, chunk: int, counts: Counts, at: str) -> int:
        """How many of the item's chunks have ended now."""
        key = _ended_key(job_id, run, chunk)
        adds = ", ".join(["ended :bits", *(f"#{name} :{name}" for name in _SUMS)])
        try:
            moved = await to_thread(
                self._db.update_item,
                TableName=self._table,
                Key=key,
                UpdateExpression=f"ADD {adds} SET #at = :at",
                ConditionExpression="NOT contains(ended, :bit)",
                ExpressionAttributeNames={f"#{name}": name for name in (*_SUMS, "at")},
                ExpressionAttributeValues=to_item(
                    {":bits": {chunk}, ":bit": chunk, ":at": at} | {f":{name}": getattr(counts, name) for name in _SUMS}
                ),
                ReturnValues="ALL_NEW",
            )
            return len(from_item(moved["Attributes"])["ended"])
        except ClientError as error:
            if not failed_condition(error):
                raise
        found = await to_thread(self._db.get_item, TableName=self._table, Key=key, ConsistentRead=True)
        return len(from_item(found["Item"])["ended"])

    def _items(self, job_id: str, run: int, kind: str, *, consistent: bool) -> Any:
        return query(
            self._db,
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues=to_item({":pk": f"JOB#{job_id}", ":sk": f"RUN#{run:04d}#{kind}#"}),
            ConsistentRead=consistent,
        )


def counts_from(item: dict[str, Any]) -> Counts:
    """The sums in an item; 0 where there is none."""
    return Counts(**{name: item.get(name, 0) for name in _SUMS})


def _ended_key(job_id: str, run: int, chunk: int) -> Any:
    return to_item({"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}#ENDED#{chunk // CHUNKS_AN_ITEM:06d}"})
