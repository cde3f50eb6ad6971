"""How far runs have come with sending their chunks, in the jobs table: one item a run."""

from __future__ import annotations

from asyncio import to_thread
from typing import TYPE_CHECKING, Any

from promptmill.adapters.dynamodb_items import from_item, to_item, write_if
from promptmill.ports.run_windows import RunWindow

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class DynamoDbWindows:
    """``RunWindows``."""

    _db: DynamoDBClient
    _table: str

    async def read_window(self, job_id: str, run: int) -> RunWindow:
        found = await to_thread(self._db.get_item, TableName=self._table, Key=_key(job_id, run), ConsistentRead=True)
        return _window(found.get("Item", {}))

    async def take(self, job_id: str, run: int, *, seen: int, to: int) -> bool:
        condition = "sent = :seen" if seen else "attribute_not_exists(sent)"
        values = {":to": to} | ({":seen": seen} if seen else {})
        return await write_if(
            self._db.update_item,
            TableName=self._table,
            Key=_key(job_id, run),
            UpdateExpression="SET sent = :to",
            ConditionExpression=condition,
            ExpressionAttributeValues=to_item(values),
        )

    async def note_drained(self, job_id: str, run: int) -> RunWindow:
        moved = await to_thread(
            self._db.update_item,
            TableName=self._table,
            Key=_key(job_id, run),
            UpdateExpression="ADD drained :one",
            ExpressionAttributeValues=to_item({":one": 1}),
            ReturnValues="ALL_NEW",
        )
        return _window(moved["Attributes"])


def _window(item: Any) -> RunWindow:
    plain = from_item(item)
    return RunWindow(plain.get("sent", 0), plain.get("drained", 0))


def _key(job_id: str, run: int) -> Any:
    return to_item({"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}#WINDOW"})
