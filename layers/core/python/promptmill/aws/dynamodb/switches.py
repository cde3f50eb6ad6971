"""Small items of the whole deployment in the jobs table: pauses, and the key that seals copies of requests.

A pause has pk ``SWITCH`` and sk ``PAUSED#<recipe>``; the key has pk ``SEAL`` and sk ``COPIES``.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from promptmill.aws.dynamodb.items import from_item, query, to_item
from promptmill.aws.dynamodb.transactions import insist_if
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


_SEAL = {"pk": "SEAL", "sk": "COPIES"}


class DynamoDbSealKey:
    """The key that copies of requests are sealed with. The first process that needs it draws it, and all others read it."""

    def __init__(self, client: DynamoDBClient, table: str, rng: random.Random) -> None:
        self._db, self._table, self._rng = client, table, rng
        self._known = b""

    async def read(self) -> bytes:
        self._known = self._known or await self._find() or await self._draw()
        return self._known

    async def _find(self) -> bytes:
        found = await to_thread(self._db.get_item, TableName=self._table, Key=to_item(_SEAL), ConsistentRead=True)
        return bytes.fromhex(from_item(found["Item"])["key"]) if "Item" in found else b""

    async def _draw(self) -> bytes:
        item = to_item(_SEAL | {"key": self._rng.randbytes(32).hex()})
        await insist_if(
            self._db.put_item,
            rng=self._rng,
            TableName=self._table,
            Item=item,
            ConditionExpression="attribute_not_exists(pk)",
        )
        return await self._find()
