"""The jobs table on DynamoDB: runs, their routes and progress.

| pk | sk | what |
|---|---|---|
| ``JOB#<job>`` | ``RUN#0001`` | the run |
| ``JOB#<job>`` | ``RUN#0001#LIVE#00000012`` | progress of a chunk that is running |
| ``JOB#<job>`` | ``RUN#0001#ENDED#000000`` | which of 1,000 chunks have ended, and their sums |
| ``DUPLICATE#<recipe>#<digest>`` | ``FIRST`` | who dropped this content first |
| ``PLANNERS#<recipe>`` | ``00`` | who plans a large file of the recipe, and until when at most |
| ``QUEUED`` | ``FEW#<since>#<job>#0001``, ``MANY#…`` | a run that no worker has begun |
| ``SWITCH`` | ``PAUSED#<recipe>`` | a paused recipe (``dynamodb_switches``) |

Units, intents, gates and budgets lie here too: see ``dynamodb_unit_items``.

Index ``open`` lists runs that are neither terminal nor waiting for somebody's word, ``by_time`` all runs of a month.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import structs

from promptmill.aws.dynamodb.items import from_item, query, to_item
from promptmill.aws.dynamodb.run_notes import (
    OVER,
    DynamoDbFirstDrops,
    DynamoDbPlanners,
    DynamoDbProgress,
    DynamoDbQueuedRuns,
    DynamoDbStops,
    DynamoDbWindows,
    counts_from,
)
from promptmill.aws.dynamodb.transactions import insist_if
from promptmill.aws.threads import to_thread
from promptmill.domain.job import Counts, JobRun, JobState, Source
from promptmill.domain.layout import STORED_VERSION, VERSION_FIELD, check_version
from promptmill.ports.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


RANKS = {
    JobState.PLANNING: 0,
    JobState.DUPLICATE: 1,
    JobState.RUNNING: 2,
    JobState.JOINING: 3,
    JobState.DONE: OVER,
    JobState.STOPPED: OVER,
    JobState.CANCELLED: OVER,
    JobState.REJECTED: OVER,
}
_KEPT = timedelta(days=400)


class DynamoDbJobs(
    DynamoDbProgress, DynamoDbStops, DynamoDbWindows, DynamoDbFirstDrops, DynamoDbPlanners, DynamoDbQueuedRuns
):
    """The ``Jobs`` port: runs here, the rest in the parent classes."""

    def __init__(self, client: DynamoDBClient, table: str, rng: random.Random, clock: Clock) -> None:
        self._db, self._table, self._rng, self._clock = client, table, rng, clock

    async def create(self, job: JobRun) -> bool:
        item = {
            "pk": f"JOB#{job.job_id}",
            "sk": f"RUN#{job.run:04d}",
            "job_id": job.job_id,
            "run": job.run,
            "state": job.state.value,
            "rank": RANKS[job.state],
            "recipe": job.recipe,
            "source_key": job.source.key,
            "source_version": job.source.version,
            "source_size": job.source.size,
            "dropped_at": job.source.dropped_at,
            "results_prefix": job.results_prefix,
            "created_at": job.created_at,
            "last_progress": job.last_progress,
            "reason": job.reason,
            "remedy": job.remedy,
            "records": job.records,
            "chunks": job.chunks,
            "rerun": job.rerun,
            "route": job.route,
            "month": job.created_at[:7],
            "sk_time": f"{job.job_id}#{job.run:04d}",
            "open": None if job.state.terminal else "open",
            "ttl": _ttl(job.created_at),
            VERSION_FIELD: STORED_VERSION,
        }
        return await insist_if(
            self._db.put_item,
            rng=self._rng,
            TableName=self._table,
            Item=to_item(item),
            ConditionExpression="attribute_not_exists(pk)",
        )

    async def read(self, job_id: str, run: int) -> JobRun | None:
        found = await to_thread(
            self._db.get_item,
            TableName=self._table,
            Key=to_item({"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}"}),
            ConsistentRead=True,
        )
        return _job_run(from_item(found["Item"])) if "Item" in found else None

    async def move(
        self,
        job_id: str,
        run: int,
        to: JobState,
        *,
        at: str,
        reason: str = "",
        remedy: str = "",
        records: int | None = None,
        chunks: int | None = None,
        recipe: str = "",
        kept: Counts | None = None,
        answers_kept: int | None = None,
        notes: tuple[str, ...] = (),
        counts: Counts | None = None,
        files: dict[str, str] | None = None,
    ) -> bool:
        values: dict[str, Any] = {"state": to.value, "rank": RANKS[to], "last_progress": at}
        values |= {"reason": reason, "remedy": remedy} | ({"recipe": recipe} if recipe else {})
        values |= {"notes": list(notes)} if notes else {}
        given = {"records": records, "chunks": chunks, "answers_kept": answers_kept, "files": files}
        values |= {name: value for name, value in given.items() if value is not None}
        sums = {"kept": kept, "counts": counts}
        values |= {name: structs.asdict(of) for name, of in sums.items() if of is not None}
        below = RANKS[JobState.RUNNING if to is JobState.REJECTED else to]
        values |= {} if to.resting else {"open": "open"}
        values |= {"started_at": at} if to is JobState.RUNNING else {}
        remove = ("open",) if to.resting else ()
        return await self._set(job_id, run, values, remove=remove, condition="#rank < :below", extra={":below": below})

    async def close_route(self, job_id: str, run: int, route: str, code: str) -> None:
        await insist_if(
            self._db.update_item,
            rng=self._rng,
            TableName=self._table,
            Key=to_item({"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}"}),
            UpdateExpression="ADD closed_routes :route",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues=to_item({":route": {f"{route} {code}"}}),
        )

    async def begin_planner(self, job_id: str, run: int, planner: str) -> None:
        await self._change_planning(job_id, run, "ADD", planner)

    async def end_planner(self, job_id: str, run: int, planner: str) -> None:
        await self._change_planning(job_id, run, "DELETE", planner)

    async def _change_planning(self, job_id: str, run: int, action: str, planner: str) -> None:
        await insist_if(
            self._db.update_item,
            rng=self._rng,
            TableName=self._table,
            Key=to_item({"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}"}),
            UpdateExpression=f"{action} planning :planner",
            ConditionExpression="attribute_exists(pk)",
            ExpressionAttributeValues=to_item({":planner": {planner}}),
        )

    async def note_waiting(self, job_id: str, run: int, *, waiting_for: str, until: str) -> None:
        waiting = {"waiting_for": waiting_for, "waiting_until": until}
        await self._set(job_id, run, waiting, condition="attribute_exists(pk)", extra={}, names={})

    async def note_swept(self, job_id: str, run: int, *, at: str) -> None:
        await self._set(job_id, run, {"swept_at": at}, condition="attribute_exists(pk)", extra={}, names={})

    async def take_status_turn(self, job_id: str, run: int, *, at: str, not_since: str) -> bool:
        return await self._set(
            job_id,
            run,
            {"status_at": at, "last_progress": at},
            condition="attribute_exists(pk) AND #rank < :last AND (attribute_not_exists(#status_at) OR #status_at < :before)",
            extra={":before": not_since, ":last": RANKS[JobState.DONE]},
            names={"#rank": "rank"},
        )

    def open_runs(self) -> AsyncIterator[JobRun]:
        return self._runs("open", "open", "open", forward=True)

    async def recent(self, *, limit: int) -> AsyncIterator[JobRun]:
        now = self._clock.now()
        month, first_month = now.replace(day=1), (now - _KEPT).replace(day=1)
        while month >= first_month:
            async for job in self._runs("by_time", "month", f"{month:%Y-%m}", forward=False):
                yield job
                limit -= 1
                if not limit:
                    return
            month = (month - timedelta(days=1)).replace(day=1)

    async def _runs(self, index: str, name: str, value: str, *, forward: bool) -> AsyncIterator[JobRun]:
        async for item in query(
            self._db,
            TableName=self._table,
            IndexName=index,
            KeyConditionExpression="#k = :v",
            ExpressionAttributeNames={"#k": name},
            ExpressionAttributeValues=to_item({":v": value}),
            ScanIndexForward=forward,
        ):
            yield _job_run(item)

    async def _set(
        self,
        job_id: str,
        run: int,
        values: dict[str, Any],
        *,
        condition: str,
        extra: dict[str, Any],
        remove: tuple[str, ...] = (),
        names: dict[str, str] | None = None,
    ) -> bool:
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in values)
        expression += (" REMOVE " + ", ".join(f"#{name}" for name in remove)) if remove else ""
        return await insist_if(
            self._db.update_item,
            rng=self._rng,
            TableName=self._table,
            Key=to_item({"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}"}),
            UpdateExpression=expression,
            ConditionExpression=condition,
            ExpressionAttributeNames={f"#{name}": name for name in (*values, *remove)} | (names or {}),
            ExpressionAttributeValues=to_item({f":{name}": value for name, value in values.items()} | extra),
        )


def _ttl(created_at: str) -> int:
    return int((datetime.fromisoformat(created_at) + _KEPT).timestamp())


def _job_run(item: dict[str, Any]) -> JobRun:
    check_version(item.get(VERSION_FIELD, 1), "a run")
    return JobRun(
        job_id=item["job_id"],
        run=item["run"],
        state=JobState(item["state"]),
        recipe=item["recipe"],
        source=Source(item["source_key"], item["source_version"], item["source_size"], item["dropped_at"]),
        results_prefix=item["results_prefix"],
        created_at=item["created_at"],
        last_progress=item["last_progress"],
        reason=item.get("reason", ""),
        remedy=item.get("remedy", ""),
        records=item.get("records", 0),
        chunks=item.get("chunks", 0),
        stop=item.get("stop", ""),
        started_at=item.get("started_at", ""),
        waiting_for=item.get("waiting_for", ""),
        waiting_until=item.get("waiting_until", ""),
        swept_at=item.get("swept_at", ""),
        rerun=item.get("rerun", ""),
        route=item.get("route", ""),
        kept=counts_from(item.get("kept", {})),
        answers_kept=item.get("answers_kept", 0),
        notes=tuple(item.get("notes", ())),
        closed_routes=dict(sorted(closed.rsplit(" ", 1) for closed in item.get("closed_routes", ()))),
        counts=counts_from(item.get("counts", {})),
        planners=item.get("planners", 0) + len(item.get("planning", ())),  # earlier code counted them, without names
        files=item.get("files", {}),
    )
