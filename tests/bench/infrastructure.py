"""What it costs in infrastructure, by service: ``python -m tests.bench.infrastructure [RECORDS] [REQUESTS]``.

The real workflows with the real adapters of S3 and DynamoDB on moto run one job of a file, under a limit of 10,000
requests a minute, and then requests of the requests queue; answers take 5 s, on virtual time. Every request to AWS is
counted and priced (``aws_prices``), without free tiers. Then the idle bill of a stage, from its template. No tokens.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import boto3
from moto import mock_aws
from msgspec import structs

from promptmill.aws.dynamodb.jobs import DynamoDbJobs
from promptmill.aws.dynamodb.ledger import DynamoDbLedger
from promptmill.aws.dynamodb.limit_groups import DynamoDbLimitGroups
from promptmill.aws.dynamodb.switches import DynamoDbSwitches
from promptmill.aws.dynamodb.units import DynamoDbUnits
from promptmill.aws.s3.object_store import S3ObjectStore
from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.limits import LimitRule, Limits
from promptmill.domain.messages import Message, PlanMessage
from promptmill.engine.unit import UnitRuntime
from promptmill.pacing.pacing import JobPacing, Unpaced
from promptmill.pacing.shared_pacing import SharedPacing
from promptmill.requests.answer_request import answer_request
from promptmill.requests.envelope import IncomingRequest
from tests.bench.aws_prices import UNSOURCED, USD
from tests.bench.idle_bill import idle_bill
from tests.bench.metered_aws import Meter, call_at_once, metered
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe

LATENCY_S = 5.0
MEMORY_GB = 0.5
OVERHEAD_S = 0.3
"""Of an invocation, beside what waits for models: an estimate, as virtual time has none."""
SPREAD_S = 29_246
"""Worker seconds a million where answers take a median of 5 s and 30 s at worst: scenario 1 of tests.bench.flow."""
BATCH = 10
LOG_BYTES = 1_500
"""Of an invocation: Lambda's own three lines, and one of ours."""
KEPT_MONTHS = {"S3": 1, "DynamoDB": 13}
"""work/ is deleted after 30 days, what units wrote after 400."""
FAST = structs.replace(ROUTE, in_flight=500)
MILLION = 1_000_000


class MeteredMill(Mill):
    """``seconds``: of all invocations."""

    def __init__(self, session: boto3.Session) -> None:
        super().__init__(recipe(routes=(FAST,), budget=BudgetPolicy(per_job=10**15), replies=("replies",)))
        self.models = FakeModels(clock=self.clock, latency_s=LATENCY_S)
        self.meter, self.seconds, self.invocations = Meter(), 0.0, 0
        s3, self._dynamodb = metered(session, self.meter)
        ports: dict[str, Any] = {
            "objects": S3ObjectStore(s3, "bucket"),  # type: ignore[arg-type]
            "jobs": DynamoDbJobs(self._dynamodb, "jobs", self.rng, self.clock),  # type: ignore[arg-type]
            "units": DynamoDbUnits(self._dynamodb, "jobs", self.rng, self.clock),  # type: ignore[arg-type]
            "ledger": DynamoDbLedger(self._dynamodb, "charges", self.rng),  # type: ignore[arg-type]
            "switches": DynamoDbSwitches(self._dynamodb, "jobs"),  # type: ignore[arg-type]
        }
        vars(self).update(ports)
        self.limits = Limits((LimitRule((FAST.id,), requests_per_minute=10_000),))
        self.day_cap = 10**15

    def pace(self, owner: str) -> JobPacing:
        groups = DynamoDbLimitGroups(self._dynamodb, "jobs", self.rng, self.clock)  # type: ignore[arg-type]
        return SharedPacing(
            groups=groups,
            limits=self.limits,
            clock=self.clock,
            rng=self.rng,
            worker=f"{owner}{self.rng.random()}",
            job="job",
            in_flight=500,
        )

    async def deliver(self, message: Message) -> object:
        started = self.clock.monotonic()
        try:
            return await super().deliver(message)
        finally:
            self._invoked(started)

    async def answer(self, numbers: range) -> None:
        """One batch of the requests queue, as its handler answers it."""
        started, runtime = self.clock.monotonic(), self.runtime(pacing=Unpaced())
        await asyncio.gather(*(self._request(number, runtime) for number in numbers))
        self._invoked(started)

    async def _request(self, number: int, runtime: UnitRuntime) -> None:
        worker = self.request_worker_of(runtime, self.lease)
        body = f'{{"recipe":"r","id":"q{number}","prompt":"Prompt {number}","reply_to":"replies"}}'
        report = await answer_request(IncomingRequest(body, f"m-{number}"), worker=worker)
        if report.verdict != "answered":
            raise ValueError(report)
        await self.lease.renew(60)

    def _invoked(self, started: float) -> None:
        self.seconds += self.clock.monotonic() - started + OVERHEAD_S
        self.invocations += 1

    def spent(self, sqs_requests: int) -> Counter[str]:
        """Units of everything, by kind of unit."""
        stored = {"S3": self.meter.bytes_written["S3"]}
        stored["DynamoDB"] = sum(map(self._dynamodb.stored, ("jobs", "charges")))
        units = Counter[str](self.meter.units)
        units.update({f"{name} GB-month": size / 1e9 * KEPT_MONTHS[name] for name, size in stored.items()})
        units["Lambda GB-second"] = self.seconds * MEMORY_GB  # type: ignore[assignment]
        units["Lambda request"] = self.invocations
        units["SQS request"] = sqs_requests
        units["log GB"] = self.invocations * LOG_BYTES / 1e9  # type: ignore[assignment]
        return units


async def run_file(records: int) -> tuple[Counter[str], MeteredMill]:
    mill = MeteredMill(boto3.Session("test", "test", region_name="us-east-1"))
    body = jsonl({"id": n, "prompt": f"prompt {n}"} for n in range(records))
    await mill.objects.create("inbox/r/p.jsonl", body)
    mill.meter.bytes_written.clear()
    planned = await mill.plan(PlanMessage("inbox/r/p.jsonl", ""))
    await mill.pump()
    job = await mill.jobs.read(planned.job_id, 1)
    if job is None or job.counts.answered != records:
        raise ValueError(job)
    return mill.spent(3 * len(mill.queue.sent) + len(mill.lease.renewals)), mill


async def run_requests(requests: int) -> tuple[Counter[str], MeteredMill]:
    """Of SQS: receives and deletes of batches, renewals, a reply each. What publishers send and receive is theirs."""
    mill = MeteredMill(boto3.Session("test", "test", region_name="us-east-1"))
    for first in range(0, requests, BATCH):
        await mill.answer(range(first, min(requests, first + BATCH)))
    if len(mill.replies.sent) != requests:
        raise ValueError("not every request has its reply")
    return mill.spent(2 * mill.invocations + len(mill.lease.renewals) + requests), mill


def by_service(units: Counter[str], per: int) -> dict[str, float]:
    """USD for a million, where the run had ``per``."""
    services = Counter[str]()
    for kind, count in units.items():
        services[_service(kind)] += count * USD[kind] / per * MILLION  # type: ignore[assignment]  # dollars
    return dict(sorted(services.items(), key=lambda item: -item[1]))


def _service(kind: str) -> str:
    service = kind.partition(" ")[0]
    if kind.endswith("GB-month"):
        return "storage until it is deleted"
    return {"log": "CloudWatch Logs"}.get(service, kind if service == "S3" else service)


def table(title: str, rows: dict[str, float]) -> None:
    """In Markdown."""
    print(f"\n| {title} | USD |\n|---|---|")
    for name, usd in rows.items():
        print(f"| {name} | {usd:.3f} |")
    print(f"| **all** | **{sum(rows.values()):.2f}** |")


def main(words: Sequence[str]) -> None:
    records, requests = (int(words[0]) if words else 20_000), (int(words[1]) if len(words) > 1 else 100)
    call_at_once()
    with mock_aws():
        units, mill = asyncio.run(run_file(records))
    rows = by_service(units, records)
    table("a million records of a file", rows)
    spread = units["Lambda GB-second"] / records * MILLION
    more = (SPREAD_S * MEMORY_GB - spread) * USD["Lambda GB-second"]
    print(f"\nWhere answers spread from 5 to 30 s: {sum(rows.values()) + more:.2f}. {_calls(mill, records)}")
    with mock_aws():
        units, mill = asyncio.run(run_requests(requests))
    table("a million requests", by_service(units, requests))
    print(f"\n{_calls(mill, requests)}")
    for stage in ("dev", "prod"):
        idle_bill(stage)
    print("\nNot found, or not counted:", *UNSOURCED, sep="\n- ")


def _calls(mill: MeteredMill, per: int) -> str:
    counts = sorted(mill.meter.calls.items(), key=lambda item: -item[1])
    calls = ", ".join(f"{name} {count / per * MILLION:,.0f}" for name, count in counts)
    return f"A million: {mill.seconds / per * MILLION:,.0f} s of workers, {mill.invocations / per * MILLION:,.0f} invocations; {calls}."


if __name__ == "__main__":
    main(sys.argv[1:])
