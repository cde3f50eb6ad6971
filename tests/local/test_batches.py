"""The batch lane on the deployed stack: its queues, its functions and the sweep, beside the same file in live calls."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from promptmill.domain import layout
from promptmill.domain.charge import spending_of_charge, spending_of_correction
from promptmill.domain.job import JobRun, JobState
from promptmill.submissions.plan import cancel_with_batches
from tests.fakes.batches.fates import some
from tests.fakes.batches.server import Hangs
from tests.local.batch_provider import KEY, LINE_NANO, LIVE_NANO, MODEL, BatchProvider, wait_until
from tests.local.deployment import Deployment, unique
from tests.local.prompts import jsonl
from tests.local.worker_processes import CAN_FIND, at_work, kill

pytestmark = pytest.mark.emulator
RECORDS = 60
REFUSED = 3
"""Lines that the service refuses, and that live calls answer."""
DONE_BEFORE_CANCEL = 20
PATIENCE_S = 300.0
FILE = jsonl([{"id": n, "prompt": f"Record {n}: so it goes."} for n in range(RECORDS)])
_SWEEP = "promptmill-local-sweep"
_SECRET = "promptmill/local/batches"


def recipe(provider: BatchProvider, lane: str) -> str:
    return f"""
routes:
  - {{model: {MODEL}, base_url: "{provider.url}/v1", key: {_SECRET}}}
lane: {lane}
max_output_tokens: 50
budget: {{per_job_usd: 10}}
redact: {{types: none}}
"""


@pytest.mark.skipif(not CAN_FIND, reason="finds the collector by /proc")
def test_a_killed_collector_and_a_cancel_lose_no_answer_and_pay_for_each_line_once(deployment: Deployment) -> None:
    deployment.services.client("secretsmanager").create_secret(Name=_SECRET, SecretString=KEY)
    with (
        BatchProvider(some(errors=REFUSED)) as whole,
        BatchProvider(some(not_run_from=DONE_BEFORE_CANCEL)) as ended,
        BatchProvider(some()) as live,
    ):
        batch_job, cancelled_job, live_job = (
            drop(deployment, provider, lane) for provider, lane in ((whole, "batch"), (ended, "batch"), (live, "live"))
        )
        ended.wait_for("create")
        cancel(deployment, cancelled_job)
        ended.wait_for("cancel")
        whole.wait_for("create")
        whole.will("read", Hangs(done=False))
        whole.may_end.set()
        sweep_until(deployment, lambda: bool(whole.seen["read"]))
        assert kill_those_at(deployment, whole)
        jobs = [deployment.wait(job_id) for job_id in (batch_job, live_job)]
        sweep_until(deployment, lambda: is_over(deployment, cancelled_job))
        stopped = deployment.wait(cancelled_job)

        assert [provider.wrong for provider in (whole, ended, live)] == [[], [], []]
        assert [len(provider.seen["create"]) for provider in (whole, ended, live)] == [1, 1, 0]
        check_answers(deployment, *jobs)
        assert sorted(whole.live) == list(range(REFUSED))
        batch_nano = (RECORDS - REFUSED) * LINE_NANO + REFUSED * LIVE_NANO
        assert check_ledger(deployment, jobs[0]) == whole.bill_nano == batch_nano
        assert check_ledger(deployment, jobs[1]) == live.bill_nano == RECORDS * LIVE_NANO
        assert (stopped.state, stopped.counts.answered) == (JobState.CANCELLED, DONE_BEFORE_CANCEL)
        assert check_ledger(deployment, stopped) == ended.bill_nano == DONE_BEFORE_CANCEL * LINE_NANO
        assert not ended.live
        wait_until(lambda: not left(deployment, (batch_job, cancelled_job)), "maps or lines of a batch were left")


def drop(deployment: Deployment, provider: BatchProvider, lane: str) -> str:
    name = deployment.push(unique(lane), recipe(provider, lane))
    return deployment.drop(f"inbox/{name}/x.jsonl", FILE)


def cancel(deployment: Deployment, job_id: str) -> None:
    services = deployment.services
    services.run(cancel_with_batches(job_id, services.job_context, services.submissions))


def sweep_until(deployment: Deployment, true: Callable[[], bool]) -> None:
    """Run the sweep more often than its schedule does, which is once a minute."""
    client, end = deployment.services.client("lambda"), time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "no sweep brought this about"
        client.invoke(FunctionName=_SWEEP, Payload=b"{}")
        time.sleep(2)


def kill_those_at(deployment: Deployment, provider: BatchProvider) -> list[int]:
    """Kill the workers that are connected to a provider, and return them."""
    return [pid for pid in at_work(deployment.settings.bucket, provider.port) if kill(pid)]


def is_over(deployment: Deployment, job_id: str) -> bool:
    job = deployment.read_status(job_id)
    return job is not None and job.state.terminal


def check_answers(deployment: Deployment, *jobs: JobRun) -> None:
    """All have all answers, in order, and the same ones."""
    texts = []
    for job in jobs:
        assert (job.state, job.counts.answered, job.counts.failed) == (JobState.DONE, RECORDS, 0), job
        lines = deployment.lines(job, "results")
        assert [line["id"] for line in lines] == list(range(RECORDS))
        texts.append([line["answer"] for line in lines])
    assert texts == [[f"Answer {n}." for n in range(RECORDS)]] * len(jobs)


def check_ledger(deployment: Deployment, job: JobRun) -> int:
    """Return what a job has cost, which is certain, and the same in the charges and in attempts.jsonl."""
    charges, narrowings = deployment.services.run(_entries(deployment, job.job_id))
    spent = [*map(spending_of_charge, charges), *map(spending_of_correction, narrowings)]
    low, high = sum(each.nano_usd for each in spent), sum(each.high_nano_usd for each in spent)
    assert low == high == deployment.attempted(job)
    return low


async def _entries(deployment: Deployment, job_id: str) -> tuple[list[Any], list[Any]]:
    ledger = deployment.services.ledger
    charges = [charge async for charge in ledger.charges_of(job_id)]
    return charges, [narrowing async for narrowing in ledger.narrowings_of(job_id)]


def left(deployment: Deployment, job_ids: tuple[str, ...]) -> list[str]:
    """Return the keys of what was staged for batches and is still there."""

    async def find() -> list[str]:
        services, found = deployment.services, list[str]()
        for job_id in job_ids:
            async for submission in services.submissions.of_run(job_id, 1):
                for prefix in (layout.maps_prefix(submission.id), layout.batch_prefix(submission.id)):
                    found += [info.key async for info in services.objects.under(prefix)]
        return found

    found: list[str] = deployment.services.run(find())
    return found
