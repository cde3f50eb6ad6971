"""Pauses in the jobs table: pk ``SWITCH``, sk ``PAUSED#<recipe>``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from promptmill.aws.dynamodb.items import query, to_item
from promptmill.aws.threads import to_thread
from promptmill.ports.recipe_source import Pause

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


_PREFIX = "PAUSED#"


class DynamoDbSwitches:
    """The ``Switches`` port: one item for each paused recipe."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._db, self._table = client, table

    async def pause(self, recipe: str, *, by: str, at: str) -> None:
        item = to_item(_key(recipe) | {"by": by, "at": at})
        await to_thread(self._db.put_item, TableName=self._table, Item=item)

    async def unpause(self, recipe: str) -> None:
        await to_thread(self._db.delete_item, TableName=self._table, Key=to_item(_key(recipe)))

    async def paused(self) -> dict[str, Pause]:
        found = query(
            self._db,
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues=to_item({":pk": "SWITCH", ":sk": _PREFIX}),
            ConsistentRead=True,
        )
        return {item["sk"].removeprefix(_PREFIX): Pause(item["by"], item["at"]) async for item in found}


def _key(recipe: str) -> dict[str, Any]:
    return {"pk": "SWITCH", "sk": f"{_PREFIX}{recipe}"}
