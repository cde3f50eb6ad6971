"""RequestRegistry in the jobs table."""

from __future__ import annotations

import hashlib
from asyncio import to_thread
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import structs

from promptmill.adapters.dynamodb_claims import claim_from
from promptmill.adapters.dynamodb_items import from_item, to_item, write_if
from promptmill.domain.errors import SupersededError
from promptmill.domain.requests import id_reused
from promptmill.ports.job_store import Claim

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_KEPT = timedelta(days=400)


class DynamoDbRequestRegistry:
    """A claim a request; its body hash is set by the first claim and compared by every later one."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._db, self._table = client, table

    async def claim_request(
        self, recipe: str, request_id: str, *, body_hash: str, owner: str, seen: tuple[int, int] | None, at: str
    ) -> tuple[Claim, bool]:
        first = Claim(epoch=1, beat=0, owner=owner)
        if await self._claim_new(recipe, request_id, body_hash, owner, at):
            return first, True
        item = await self._read(recipe, request_id)
        if item["body_hash"] != body_hash:
            raise id_reused()
        found = claim_from(item)
        if not found.released and seen != (found.epoch, found.beat):
            return found, False
        mine = found.taken_over(owner)
        return mine, await self._take_over(recipe, request_id, found, mine)

    async def beat_request(self, recipe: str, request_id: str, claim: Claim) -> Claim | None:
        values = {":epoch": claim.epoch, ":one": 1}
        alive = await self._update(
            recipe, request_id, expression="SET beat = beat + :one", condition="epoch = :epoch", values=values
        )
        if not alive:
            return None
        return structs.replace(claim, beat=claim.beat + 1)

    async def release_request(self, recipe: str, request_id: str, claim: Claim) -> bool:
        values = {":epoch": claim.epoch, ":yes": True}
        return await self._update(
            recipe, request_id, expression="SET released = :yes", condition="epoch = :epoch", values=values
        )

    async def _claim_new(self, recipe: str, request_id: str, body_hash: str, owner: str, at: str) -> bool:
        ttl = int((datetime.fromisoformat(at) + _KEPT).timestamp())
        values = {":one": 1, ":zero": 0, ":owner": owner, ":hash": body_hash, ":at": at, ":ttl": ttl}
        return await self._update(
            recipe,
            request_id,
            expression="SET epoch = :one, beat = :zero, #owner = :owner, body_hash = :hash, created_at = :at, #ttl = :ttl",
            condition="attribute_not_exists(pk)",
            values=values,
            names={"#owner": "owner", "#ttl": "ttl"},
        )

    async def _take_over(self, recipe: str, request_id: str, found: Claim, mine: Claim) -> bool:
        return await self._update(
            recipe,
            request_id,
            expression="SET epoch = :epoch, beat = :zero, #owner = :owner, crashes = :crashes, released = :no",
            condition="epoch = :was_epoch AND beat = :was_beat",
            values={
                ":epoch": mine.epoch,
                ":zero": 0,
                ":owner": mine.owner,
                ":crashes": mine.crashes,
                ":no": False,
                ":was_epoch": found.epoch,
                ":was_beat": found.beat,
            },
            names={"#owner": "owner"},
        )

    async def _read(self, recipe: str, request_id: str) -> dict[str, Any]:
        found = await to_thread(
            self._db.get_item, TableName=self._table, Key=_key(recipe, request_id), ConsistentRead=True
        )
        if "Item" not in found:
            raise SupersededError("the claim is gone")
        return from_item(found["Item"])

    async def _update(
        self,
        recipe: str,
        request_id: str,
        *,
        expression: str,
        condition: str,
        values: dict[str, Any],
        names: dict[str, str] | None = None,
    ) -> bool:
        more = {"ExpressionAttributeNames": names} if names else {}
        return await write_if(
            self._db.update_item,
            TableName=self._table,
            Key=_key(recipe, request_id),
            UpdateExpression=expression,
            ConditionExpression=condition,
            ExpressionAttributeValues=to_item(values),
            **more,
        )


def _key(recipe: str, request_id: str) -> Any:
    digest = hashlib.sha256(request_id.encode()).hexdigest()
    return to_item({"pk": f"REQUEST#{recipe}#{digest}", "sk": "CLAIM"})
