"""Submissions as items of the jobs table.

| pk | sk | what |
|---|---|---|
| ``JOB#<job>`` | ``RUN#0001#SUBMISSION#<submission>`` | a submission; every attribute but ``sk_time`` is set once |

Index ``open`` lists those that are not settled under ``submission``, by when they are stepped again (``sk_time``).
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from promptmill.aws.dynamodb.items import from_item, query, to_item
from promptmill.aws.dynamodb.run_notes import OVER
from promptmill.aws.dynamodb.transactions import insist_if, transact, update
from promptmill.aws.dynamodb.unit_items import KEPT_S, submission_key
from promptmill.aws.threads import to_thread
from promptmill.domain.layout import STORED_VERSION, VERSION_FIELD, check_version
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.submissions import BatchEnd, FrozenChunk, Holder, Mark, Submission

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

_OPEN = "submission"
_frozen = msgspec.msgpack.Decoder(tuple[FrozenChunk, ...])
_route = msgspec.json.Decoder(Route)
_PLAIN = ("job_id", "run", "recipe", "created_at", "due_at", "batch", "proven", "void")
_MOMENTS = ("asked_at", "given_at", "told_at", "settled_at")
_ABSENT = "attribute_not_exists"
_MAY_SEND = f"attribute_exists(#frozen) AND {_ABSENT}(#sent) AND {_ABSENT}(#void)"


class DynamoDbSubmissions:
    """The ``Submissions`` port. ``clock`` says when items may be forgotten."""

    def __init__(self, client: DynamoDBClient, table: str, rng: random.Random, clock: Clock) -> None:
        self._db, self._table, self._rng, self._clock = client, table, rng, clock

    async def create(self, submission: Submission) -> bool:
        done = await insist_if(
            self._db.put_item,
            rng=self._rng,
            TableName=self._table,
            Item=to_item(submission_key(submission.holder) | self._values(submission)),
            ConditionExpression=f"{_ABSENT}(pk)",
        )
        return done or await self.read(submission.holder) == submission

    def _values(self, submission: Submission) -> dict[str, Any]:
        return {
            "submission": submission.id,
            "job_id": submission.job_id,
            "run": submission.run,
            "recipe": submission.recipe,
            "route": msgspec.json.encode(submission.route),
            "chunks": list(submission.chunks),
            "created_at": submission.created_at,
            "due_at": submission.due_at,
            "open": _OPEN,
            "sk_time": submission.next_at,
            "ttl": int(self._clock.now().timestamp()) + KEPT_S,
            VERSION_FIELD: STORED_VERSION,
        }

    async def read(self, holder: Holder) -> Submission | None:
        found = await to_thread(
            self._db.get_item, TableName=self._table, Key=to_item(submission_key(holder)), ConsistentRead=True
        )
        return _submission(from_item(found["Item"])) if "Item" in found else None

    async def schedule(self, holder: Holder, *, next_at: str) -> None:
        await self._set(holder, {"sk_time": next_at}, f"attribute_exists(#open) AND {_ABSENT}(#settled_at)")

    async def freeze(self, holder: Holder, chunks: Sequence[FrozenChunk]) -> bool:
        values = {"frozen": msgspec.msgpack.encode(tuple(chunks))}
        done = await self._set(holder, values, f"{_ABSENT}(#frozen) AND {_ABSENT}(#void)")
        return done or await self._holds(holder, "frozen", tuple(chunks))

    async def note_upload(self, holder: Holder, upload: str) -> bool:
        done = await self._set(holder, {"upload": upload}, f"{_ABSENT}(#upload)")
        return done or await self._holds(holder, "upload", upload)

    async def mark_sent(self, holder: Holder, mark: Mark) -> bool:
        key = submission_key(holder)
        run = {"pk": f"JOB#{holder.job_id}", "sk": f"RUN#{holder.run:04d}"}
        move = update(self._table, key, sets={"sent": [mark.stepper, mark.at]}, condition=_MAY_SEND)
        goes_on = {
            "TableName": self._table,
            "Key": to_item(run),
            "ConditionExpression": f"{_ABSENT}(#stop) AND #rank < :over",
            "ExpressionAttributeNames": {"#stop": "stop", "#rank": "rank"},
            "ExpressionAttributeValues": to_item({":over": OVER}),
        }
        refused = await transact(self._db, [{"Update": move}, {"ConditionCheck": goes_on}], rng=self._rng)
        return not refused or await self._holds(holder, "sent", mark)

    async def note_batch(self, holder: Holder, batch: str, *, proven: bool) -> bool:
        none_yet = f"{_ABSENT}(#batch)"
        condition = f"({none_yet} OR #proven = :no)" if proven else none_yet
        unproven: dict[str, Any] = {"no": False} if proven else {}
        done = await self._set(
            holder,
            {"batch": batch, "proven": proven},
            f"{condition} AND attribute_exists(#sent) AND {_ABSENT}(#ended) AND NOT contains(#rejected, :batch)"
            " AND NOT contains(#doubted, :batch)",
            **unproven,
        )
        if done:
            return True
        found = await self.read(holder)
        return found is not None and (found.batch, found.proven) == (batch, proven)

    async def reject_batch(self, holder: Holder, batch: str, *, certain: bool) -> bool:
        name = "rejected" if certain else "doubted"
        request = update(
            self._table,
            submission_key(holder),
            adds={name: {batch}},
            condition="#batch = :batch AND #proven = :no",
            values={"batch": batch, "no": False},
        )
        request["UpdateExpression"] += " REMOVE #batch"
        done = await insist_if(self._db.update_item, rng=self._rng, **request)
        if done:
            return True
        found = await self.read(holder)
        return found is not None and batch in getattr(found, name)

    async def void(self, holder: Holder, reason: str, *, stepper: str = "") -> bool:
        own = "#sent[0] = :stepper" if stepper else f"{_ABSENT}(#sent)"
        values = {"stepper": stepper} if stepper else {}
        condition = f"{own} AND {_ABSENT}(#void) AND {_ABSENT}(#batch) AND {_ABSENT}(#ended)"
        done = await self._set(holder, {"void": reason}, condition, **values)
        return done or await self._holds(holder, "void", reason)

    async def note_asked(self, holder: Holder, at: str) -> bool:
        return await self._note(holder, "asked_at", at)

    async def note_end(self, holder: Holder, batch: str, end: BatchEnd) -> bool:
        values = {"ended": [end.state, end.at, end.has_results, end.code]}
        ours = "#batch = :batch AND #proven = :yes" if batch else f"{_ABSENT}(#batch)"
        more = {"batch": batch, "yes": True} if batch else {}
        done = await self._set(holder, values, f"{ours} AND {_ABSENT}(#ended) AND {_ABSENT}(#void)", **more)
        return done or await self._holds(holder, "ended", end)

    async def give(self, holder: Holder, at: str) -> bool:
        return await self._note(holder, "given_at", at)

    async def note_told(self, holder: Holder, at: str) -> bool:
        return await self._note(holder, "told_at", at)

    async def settle(self, holder: Holder, at: str) -> bool:
        request = update(
            self._table,
            submission_key(holder),
            sets={"settled_at": at},
            condition=f"attribute_exists(#told_at) AND {_ABSENT}(#settled_at)",
        )
        request["UpdateExpression"] += " REMOVE #open"
        request["ExpressionAttributeNames"]["#open"] = "open"
        done = await insist_if(self._db.update_item, rng=self._rng, **request)
        return done or await self._holds(holder, "settled_at", at)

    async def due(self, at: str) -> AsyncIterator[Submission]:
        async for item in query(
            self._db,
            TableName=self._table,
            IndexName="open",
            KeyConditionExpression="#open = :open AND sk_time <= :at",
            ExpressionAttributeNames={"#open": "open"},
            ExpressionAttributeValues=to_item({":open": _OPEN, ":at": at}),
        ):
            yield _submission(item)

    async def of_run(self, job_id: str, run: int) -> AsyncIterator[Submission]:
        async for item in query(
            self._db,
            TableName=self._table,
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues=to_item({":pk": f"JOB#{job_id}", ":sk": f"RUN#{run:04d}#SUBMISSION#"}),
            ConsistentRead=True,
        ):
            yield _submission(item)

    async def _note(self, holder: Holder, name: str, at: str) -> bool:
        done = await self._set(holder, {name: at}, f"attribute_exists(#pk) AND {_ABSENT}(#{name})")
        return done or await self._holds(holder, name, at)

    async def _set(self, holder: Holder, sets: Mapping[str, Any], condition: str, **values: Any) -> bool:
        request = update(self._table, submission_key(holder), sets=sets, condition=condition, values=values)
        return await insist_if(self._db.update_item, rng=self._rng, **request)

    async def _holds(self, holder: Holder, name: str, value: object) -> bool:
        """Return whether a write that was refused had been made by an earlier try."""
        found = await self.read(holder)
        return found is not None and getattr(found, name) == value


def _submission(item: dict[str, Any]) -> Submission:
    check_version(item.get(VERSION_FIELD, 1), "a submission")
    plain = {name: item[name] for name in (*_PLAIN, *_MOMENTS) if name in item}
    return Submission(
        **plain,
        id=item["submission"],
        route=_route.decode(bytes(item["route"])),
        chunks=tuple(int(chunk) for chunk in item["chunks"]),
        next_at=item["sk_time"],
        frozen=_frozen.decode(bytes(item["frozen"])) if "frozen" in item else None,
        upload=item.get("upload"),
        sent=Mark(*item["sent"]) if "sent" in item else None,
        rejected=tuple(sorted(item.get("rejected", ()))),
        doubted=tuple(sorted(item.get("doubted", ()))),
        ended=BatchEnd(*item["ended"]) if "ended" in item else None,
    )
