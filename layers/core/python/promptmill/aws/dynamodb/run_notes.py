"""The notes of the jobs table beside its runs: first drops, stops, windows, queued runs and progress. Keys are listed in ``jobs``."""

from __future__ import annotations

import random
from asyncio import gather
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError
from msgspec import structs

from promptmill.aws.dynamodb.items import failed_condition, from_item, query, to_item
from promptmill.aws.dynamodb.transactions import RECONNECTS, insist, insist_if, transact, update
from promptmill.aws.dynamodb.unit_items import KEPT_S, gate_key
from promptmill.aws.threads import to_thread
from promptmill.domain.job import Counts
from promptmill.domain.units import Gate, gates_of
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import QueuedRun, RunWindow

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


_KEPT = timedelta(days=30)
_OURS = "attribute_not_exists(pk) OR job_id = :mine OR job_id = :over OR #at < :not_since"


class DynamoDbFirstDrops:
    """The part of the ``Jobs`` port about who dropped a file first."""

    _db: DynamoDBClient
    _table: str
    _rng: random.Random

    async def first_drop(
        self, recipe: str, digest: str, job_id: str, *, at: str, not_since: str, over: str = ""
    ) -> str:
        key = {"pk": f"DUPLICATE#{recipe}#{digest}", "sk": "FIRST"}
        ttl = int((datetime.fromisoformat(at) + _KEPT).timestamp())
        while True:
            ours = await insist_if(
                self._db.put_item,
                rng=self._rng,
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


class DynamoDbPlanners:
    """The part of the ``Jobs`` port about how many large files of a recipe are planned at once: an item a planner."""

    _db: DynamoDBClient
    _table: str
    _rng: random.Random

    async def take_planner(self, recipe: str, owner: str, *, at: str, until: str, most: int) -> bool:
        kept = int((datetime.fromisoformat(until) + _KEPT).timestamp())
        for place in range(most):
            if await self._write_planner(
                recipe,
                place,
                {"owner": owner, "until": until, "ttl": kept},
                condition="attribute_not_exists(pk) OR #until < :at OR #owner = :owner",
                values={":at": at},
            ):
                return True
        return False

    async def free_planner(self, recipe: str, owner: str, *, most: int) -> None:
        for place in range(most):
            await self._write_planner(
                recipe, place, {"until": ""}, condition="#owner = :owner", values={":owner": owner}
            )

    async def _write_planner(
        self, recipe: str, place: int, sets: dict[str, Any], *, condition: str, values: dict[str, Any]
    ) -> bool:
        return await insist_if(
            self._db.update_item,
            rng=self._rng,
            TableName=self._table,
            Key=to_item({"pk": f"PLANNERS#{recipe}", "sk": f"{place:02d}"}),
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in sets),
            ConditionExpression=condition,
            ExpressionAttributeNames={f"#{name}": name for name in {*sets, "owner"}},
            ExpressionAttributeValues=to_item({f":{name}": value for name, value in sets.items()} | values),
        )


JOINING, OVER = 3, 4
"""The ranks of a run that is being joined, and of one that is terminal."""


class DynamoDbStops:
    """The part of the ``Jobs`` port that ends runs early."""

    _db: DynamoDBClient
    _table: str
    _clock: Clock
    _rng: random.Random

    async def stop(self, job_id: str, run: int, *, code: str, at: str) -> bool:
        return await insist_if(
            self._db.update_item,
            rng=self._rng,
            **update(
                self._table,
                {"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}"},
                sets={"stop": code, "stopped_at": at},
                condition="attribute_not_exists(#stop) AND #rank < :joining",
                values={"joining": JOINING},
            ),
        )

    async def shut_gates(self, job_id: str, run: int) -> None:
        await gather(*(self._shut(gate) for gate in gates_of(job_id, run)))

    async def _shut(self, gate: Gate) -> None:
        """Shut one gate. Intents that are being written conflict with this, so it is tried until it is done."""
        kept = int(self._clock.now().timestamp()) + KEPT_S
        await insist(
            self._db.update_item, rng=self._rng, **update(self._table, gate_key(gate), sets={"shut": True, "ttl": kept})
        )


class DynamoDbWindows:
    """The part of the ``Jobs`` port about how many chunks are sent."""

    _db: DynamoDBClient
    _table: str
    _clock: Clock
    _rng: random.Random

    async def read_window(self, job_id: str, run: int) -> RunWindow:
        found = await self._read_window(job_id, run)
        return RunWindow(found.get("sent", 0), found.get("drained", 0))

    async def take(self, job_id: str, run: int, *, seen: int, to: int, taker: str) -> bool:
        name = f"taker{to % _TAKERS}"
        moved = await insist_if(
            self._db.update_item,
            rng=self._rng,
            **update(
                self._table,
                _window_key(job_id, run),
                sets={"sent": to, name: taker},
                condition="#sent = :seen" if seen else "attribute_not_exists(#sent)",
                values={"seen": seen} if seen else {},
            ),
        )
        # Perhaps an earlier try had got through, and others have moved the window on since.
        return moved or (await self._read_window(job_id, run)).get(name) == taker

    async def note_drained(self, job_id: str, run: int, chunk: int) -> RunWindow:
        mark = _window_key(job_id, run) | {"sk": f"RUN#{run:04d}#DRAINED#{chunk:08d}"}
        kept = int(self._clock.now().timestamp()) + KEPT_S
        put = {
            "TableName": self._table,
            "Item": to_item(mark | {"ttl": kept}),
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        count = update(self._table, _window_key(job_id, run), adds={"drained": 1})
        # A mark that is there already was written with the count, by us or by the chunk's owner before us.
        await transact(self._db, [{"Put": put}, {"Update": count}], rng=self._rng)
        return await self.read_window(job_id, run)

    async def read_drained(self, job_id: str, run: int) -> frozenset[int]:
        marks = _items_of(self._db, self._table, job_id, run, "DRAINED", consistent=True)
        return frozenset([int(mark["sk"].rpartition("#")[2]) async for mark in marks])

    async def _read_window(self, job_id: str, run: int) -> dict[str, Any]:
        key = to_item(_window_key(job_id, run))
        found = await to_thread(self._db.get_item, TableName=self._table, Key=key, ConsistentRead=True)
        return from_item(found.get("Item", {}))


class DynamoDbQueuedRuns:
    """The part of the ``Jobs`` port about runs that no worker has begun. All of them lie under one key."""

    _db: DynamoDBClient
    _table: str
    _rng: random.Random

    async def queue_run(self, run: QueuedRun) -> None:
        ttl = int((datetime.fromisoformat(run.since) + _QUEUED).timestamp())
        item = _queued_key(run) | structs.asdict(run) | {"ttl": ttl}
        await to_thread(self._db.put_item, TableName=self._table, Item=to_item(item))

    async def queued_runs(self, *, limit: int) -> list[QueuedRun]:
        # Every busy worker asks each second, so it is one page, read at half the price of a consistent one.
        page = await to_thread(
            self._db.query,
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=to_item({":pk": _QUEUED_PK}),
            Limit=limit,
        )
        return [msgspec.convert(from_item(item), QueuedRun) for item in page["Items"]]

    async def take_queued(self, run: QueuedRun) -> bool:
        return await insist_if(
            self._db.delete_item,
            rng=self._rng,
            TableName=self._table,
            Key=to_item(_queued_key(run)),
            ConditionExpression="attribute_exists(pk)",
        )


_QUEUED_PK = "QUEUED"
_QUEUED = timedelta(days=2)


def _queued_key(run: QueuedRun) -> dict[str, str]:
    """Return a key that sorts small runs first, and then by age."""
    size = "FEW" if run.is_small else "MANY"
    return {"pk": _QUEUED_PK, "sk": f"{size}#{run.since}#{run.job_id}#{run.run:04d}"}


_TAKERS = 16
"""Names of takers that the window's item remembers: those whose answer was lost ask within seconds."""


def _window_key(job_id: str, run: int) -> dict[str, str]:
    return {"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}#WINDOW"}


CHUNKS_AN_ITEM = 1000
_SUMS = Counts.__struct_fields__


class DynamoDbProgress:
    """The ``RunProgress`` port. A chunk's bit and the sums that it explains move in one write."""

    _db: DynamoDBClient
    _table: str
    _rng: random.Random

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
        ended = [item async for item in _items_of(self._db, self._table, job_id, run, "ENDED", consistent=True)]
        return sum(len(item["ended"]) for item in ended) == of

    async def read_progress(self, job_id: str, run: int) -> Counts:
        ended: set[int] = set()
        total = Counts()
        async for item in _items_of(self._db, self._table, job_id, run, "ENDED", consistent=False):
            ended |= item["ended"]
            total = total.plus(counts_from(item))
        async for item in _items_of(self._db, self._table, job_id, run, "LIVE", consistent=False):
            if item["chunk"] not in ended:
                total = total.plus(counts_from(item))
        return total

    async def _set_bit(self, job_id: str, run: int, chunk: int, counts: Counts, at: str) -> int:
        """Set the chunk's bit, and return how many of the item's chunks have ended."""
        key = _ended_key(job_id, run, chunk)
        adds = ", ".join(["ended :bits", *(f"#{name} :{name}" for name in _SUMS)])
        try:
            moved = await insist(
                self._db.update_item,
                rng=self._rng,
                reconnects=RECONNECTS,
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


def _items_of(
    db: DynamoDBClient, table: str, job_id: str, run: int, kind: str, *, consistent: bool
) -> AsyncIterator[dict[str, Any]]:
    """Yield a run's items of one kind."""
    return query(
        db,
        TableName=table,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues=to_item({":pk": f"JOB#{job_id}", ":sk": f"RUN#{run:04d}#{kind}#"}),
        ConsistentRead=consistent,
    )


def counts_from(item: dict[str, Any]) -> Counts:
    """Return the sums in an item, 0 for those that are missing."""
    return Counts(**{name: item.get(name, 0) for name in _SUMS})


def _ended_key(job_id: str, run: int, chunk: int) -> Any:
    return to_item({"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}#ENDED#{chunk // CHUNKS_AN_ITEM:06d}"})
