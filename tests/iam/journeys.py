"""A deployment, and what people and events do to it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from promptmill import wiring
from promptmill.domain.units import PLACES, chunk_unit
from promptmill.engine.answer_unit import MAX_PLACES_TRIES
from promptmill.jobs.context import CHUNKS_A_SEGMENT
from promptmill.system_clock import SystemClock
from tests.fakes.model_provider import FakeModels
from tests.iam.enforcement import Enforcement
from tests.iam.functions import BUCKET, ENFORCEMENTS, Deployed, end_process, invoke, sample, start_process

OK: dict[str, list[Any]] = {"batchItemFailures": []}
FILE = b"text\r\ngood\r\nbad\r\n"
_STEPS = {"uploads": "plan_job", "chunks": "run_chunk", "finish": "finish_job"}
_MAX_ROUNDS = 50


class Shifted(SystemClock):
    """A clock that is ahead by some time, and on which a process that is dead waits for nothing."""

    def __init__(self, ahead: timedelta, gate: Enforcement) -> None:
        self._ahead, self._gate = ahead, gate

    async def sleep(self, seconds: float) -> None:
        await super().sleep(0 if self._gate.is_dead else seconds)

    def now(self) -> datetime:
        return super().now() + self._ahead


class Journey:
    """One deployment. Each invocation is a process of its own, whose caches are empty.

    Attributes:
        models: what answers.
        over_http: calls go out over HTTP instead (see ``wire.py``).
        day_cap: nano-dollars that the deployment may spend in a day.
        chunks_a_segment: chunk results that one message joins.
    """

    def __init__(self, stack: Deployed) -> None:
        self.stack, self.services = stack, wiring.services_of_process()
        self.gate: Enforcement = ENFORCEMENTS[-1]
        self.clock, self.models = Shifted(timedelta(), self.gate), FakeModels()
        self.over_http = False
        self.day_cap: int | None = None
        self.chunks_a_segment = CHUNKS_A_SEGMENT

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Run a function in a process of its own."""
        self.restart()
        return invoke(function, event)

    def restart(self) -> None:
        """Begin another process."""
        end_process()
        self.services = start_process(
            clock=self.clock, day_cap=self.day_cap, providers=None if self.over_http else self.models
        )
        context = replace(self.services.job_context, chunks_a_segment=self.chunks_a_segment)
        vars(self.services)["job_context"] = context

    def drop(self, name: str, body: bytes, recipe: str = "reviews") -> None:
        """Drop a file. The notification of a bucket without versions names none."""
        put = self.stack.s3.put_object(Bucket=BUCKET, Key=f"inbox/{recipe}/{name}", Body=body)
        event = sample("upload")["Records"][0]
        notification = json.loads(event["body"])
        notification["Records"][0]["s3"]["object"] |= {
            "key": f"inbox/{recipe}/{name}",
            "versionId": put.get("VersionId", ""),
        }
        self.send("uploads", json.dumps(notification))

    def send(self, queue: str, body: str) -> None:
        self.stack.sqs.send_message(QueueUrl=self.stack.urls[queue], MessageBody=body)

    def ask(self, **fields: str) -> None:
        """Publish a request of the recipe ``reviews`` whose reply goes to the stack's own queue."""
        self.send("requests", json.dumps({"recipe": "reviews", "reply_to": "promptmill-local-replies", **fields}))

    def work(self, function: str, queue: str) -> Any:
        """Give the function what is on the queue, as Lambda would, and take away what it has done."""
        records = self.stack.take(queue)
        if not records:
            return OK
        done = self.invoke(function, {"Records": records})
        failed = {item["itemIdentifier"] for item in done["batchItemFailures"]}
        self._delete(queue, [record for record in records if record["messageId"] not in failed])
        for record in records:
            if record["messageId"] in failed:  # it comes back once its lease is over
                self._show(queue, record)
        return done

    def _show(self, queue: str, record: dict[str, Any]) -> None:
        url, receipt = self.stack.urls[queue], record["receiptHandle"]
        self.stack.sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)

    def work_until_it_fails(self, function: str, queue: str) -> None:
        """Work until an invocation fails: first a worker may only look whether the owner before lives."""
        for _ in range(_MAX_ROUNDS):
            if self.work(function, queue) != OK:
                return
        raise AssertionError(f"{function} never fails")

    def work_while_there(self, function: str, queue: str) -> None:
        """Work until the queue is empty."""
        for _ in range(_MAX_ROUNDS):
            if not self.stack.take(queue):
                return
            assert self.work(function, queue) == OK
        raise AssertionError(f"{queue} never becomes empty")

    def lose(self, queue: str) -> list[dict[str, Any]]:
        """Take away what is on a queue, and return it."""
        records = self.stack.take(queue)
        self._delete(queue, records)
        return records

    def _delete(self, queue: str, records: list[dict[str, Any]]) -> None:
        for record in records:
            self.stack.sqs.delete_message(QueueUrl=self.stack.urls[queue], ReceiptHandle=record["receiptHandle"])

    def run_all(self) -> None:
        """Work until the queues of jobs are empty."""
        for _ in range(_MAX_ROUNDS):
            waiting = [queue for queue in _STEPS if self.stack.take(queue)]
            if not waiting:
                return
            for queue in waiting:
                assert self.work(_STEPS[queue], queue) == OK, queue
        raise AssertionError("the queues never become empty")

    def job_of(self, name: str) -> str:
        """Return the id of the job of a dropped file."""

        async def find() -> str:
            jobs = [job async for job in self.services.jobs.recent(limit=99)]
            return next(job.job_id for job in jobs if job.source.key.endswith(name))

        return self.services.run(find())

    def state_of(self, name: str) -> str:
        """Return the state of the latest run of a dropped file's job."""

        async def find() -> str:
            jobs = [job async for job in self.services.jobs.recent(limit=99)]
            return max((job for job in jobs if job.source.key.endswith(name)), key=lambda job: job.run).state.value

        return self.services.run(find())

    def dead_letter(self, queue: str, body: str) -> None:
        """Put a message on a queue's dead letters, and let it be settled."""
        self.send(f"{queue}-dead-letters", body)
        assert self.work("settle_dead_letter", f"{queue}-dead-letters") == OK

    def crashed(self, body: str) -> str:
        """Let workers die on a chunk until nobody tries it any more, and return the message that finds that out."""
        message = json.loads(body)
        unit, units = chunk_unit(message["job_id"], message["run"], message["chunk"]), self.services.units

        async def crash() -> tuple[int, int]:
            for n in range(MAX_PLACES_TRIES):
                claim = await units.claim(unit, seen=await units.read(unit), owner=f"{n}")
                assert claim
                assert await units.mark(unit, claim, crashes=n, trying=PLACES, tries=n + 1)
            last = await units.read(unit)
            assert last
            return last.epoch, last.beat

        return json.dumps(message | {"seen": self.services.run(crash()), "after": None})

    def ahead(self, **by: float) -> None:
        """Move the functions' clock ahead of the real one, by nothing at all if nothing is said."""
        self.clock = Shifted(timedelta(**by), self.gate)
