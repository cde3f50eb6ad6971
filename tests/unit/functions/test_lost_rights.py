"""Each right of each role is taken away in turn, by IAM's own rules: no file is blamed, and all goes on once it is back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from moto.dynamodb.models.dynamo_type import DynamoType

from promptmill import wiring
from promptmill.domain.job import JobRun
from promptmill.jobs.rerun_job import rerun_job
from promptmill.system_clock import SystemClock
from tests.iam.functions import (
    BUCKET,
    ENFORCEMENTS,
    Deployed,
    deployed_stack,
    end_process,
    invoke,
    queue_name,
    sample,
    start_process,
    upload,
)

STEPS = {"uploads": "plan_job", "chunks": "run_chunk", "finish": "finish_job"}
MAX_TURNS = 12
FILE = "text\r\nfile {} {}\r\n"


class ShiftedClock(SystemClock):
    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


class Mill:
    """A stack whose queues are worked on; what fails is a dead letter at once, and what then fails stays one."""

    def __init__(self, stack: Deployed) -> None:
        self.stack, self.clock_ahead = stack, timedelta()
        self.dead: list[tuple[str, dict[str, Any]]] = []

    def restart(self, **ahead: float) -> None:
        """Begin a new process, later."""
        self.clock_ahead += timedelta(**ahead)
        end_process()
        start_process(clock=ShiftedClock(self.clock_ahead))

    def work(self) -> None:
        for _ in range(MAX_TURNS):
            records = [(queue, record) for queue in STEPS for record in self.stack.take(queue)]
            if not records:
                return
            for queue, record in records:
                event = {"Records": [record]}
                self.stack.sqs.delete_message(QueueUrl=self.stack.urls[queue], ReceiptHandle=record["receiptHandle"])
                if invoke(STEPS[queue], event)["batchItemFailures"]:
                    self.settle(queue, record)

    def settle(self, queue: str, record: dict[str, Any]) -> None:
        arn = f"{record['eventSourceARN'].rpartition(':')[0]}:{queue_name(queue)}-dead-letters"
        if invoke("settle_dead_letter", {"Records": [record | {"eventSourceARN": arn}]})["batchItemFailures"]:
            self.dead.append((queue, record))

    def settle_again(self) -> None:
        dead, self.dead = self.dead, []
        for queue, record in dead:
            self.settle(queue, record)

    def jobs(self) -> list[JobRun]:
        """The latest run of each job."""

        async def listed() -> list[JobRun]:
            return [job async for job in wiring.services_of_process().jobs.recent(limit=100)]

        runs: list[JobRun] = wiring.services_of_process().run(listed())
        return list({job.job_id: job for job in sorted(runs, key=lambda job: job.run)}.values())


@contextmanager
def without(function: str, place: int) -> Iterator[None]:
    """Take one statement away from a function's role."""
    roles = ENFORCEMENTS[-1].policies.identities
    whole = roles[function]
    roles[function] = whole[:place] + whole[place + 1 :]
    try:
        yield
    finally:
        roles[function] = whole


def check_words(mill: Mill) -> None:
    for job in mill.jobs():
        if job.state.value == "REJECTED":
            assert "Nothing is known to be wrong with the file" in job.reason
            assert f"promptmill resume {job.job_id}" in job.remedy
    listed = mill.stack.s3.list_objects_v2(Bucket=BUCKET, Prefix="results/").get("Contents", [])
    for key in (found["Key"] for found in listed if found["Key"].endswith("status.json")):
        status = json.loads(mill.stack.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        if status["state"] == "REJECTED":
            assert "Nothing is known to be wrong with the file" in status["reason"]
            assert "drop the file again" in status["remedy"]


@pytest.fixture(autouse=True)
def sums_that_moto_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let moto add to sums of zero, which it writes as 0E-9 and cannot read."""

    def add(one: DynamoType, other: DynamoType) -> DynamoType:
        return DynamoType({"N": f"{Decimal(one.value) + Decimal(other.value):f}"})

    monkeypatch.setattr(DynamoType, "__add__", add)


@pytest.mark.parametrize("function", ["plan_job", "run_chunk", "finish_job", "settle_dead_letter"])
def test_no_right_that_is_missing_condemns_a_file(function: str) -> None:
    with deployed_stack() as stack:
        mill = Mill(stack)
        for place in range(len(ENFORCEMENTS[-1].policies.identities[function])):
            with without(function, place):
                event = upload(stack, FILE.format(function, place).encode())
                if function == "settle_dead_letter":
                    (record,) = event["Records"][-1:]
                    stack.sqs.delete_message(QueueUrl=stack.urls["uploads"], ReceiptHandle=record["receiptHandle"])
                    mill.settle("uploads", record)
                mill.restart()
                mill.work()
                check_words(mill)
            mill.restart(minutes=30)
            mill.settle_again()
            if len(mill.jobs()) == place:  # the table could not be told: the status says to drop the file again
                upload(stack, FILE.format(function, place).encode())
            for job in mill.jobs():
                if job.state.value == "REJECTED":
                    services = wiring.services_of_process()
                    services.run(rerun_job(job.job_id, "resume", services.job_context))
            invoke("sweep", sample("schedule"))
            mill.work()
            mill.restart(minutes=30)
            invoke("sweep", sample("schedule"))
            mill.work()
            assert {job.state.value for job in mill.jobs()} == {"DONE"}, ENFORCEMENTS[-1].policies.identities[function][
                place
            ]
            assert len(mill.jobs()) == place + 1
            assert mill.dead == []
