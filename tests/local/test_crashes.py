"""Workers that are killed for real, in the middle of a chunk."""

from __future__ import annotations

import time

import pytest

from promptmill.domain.job import JobState
from tests.local.deployment import Deployment
from tests.local.prompts import jsonl
from tests.local.slow_model import SlowModel
from tests.local.worker_processes import CAN_FIND, kill_workers

pytestmark = pytest.mark.emulator


def recipe(url: str) -> str:
    return f"""
routes:
  - model: compatible/slow
    base_url: {url}
    in_flight: 100
    price: {{input_usd_per_mtok: "1", output_usd_per_mtok: "2"}}
redact: {{types: none}}
"""


@pytest.mark.skipif(not CAN_FIND, reason="finds the worker by /proc")
def test_a_worker_killed_in_mid_chunk_loses_nothing(deployment: Deployment) -> None:
    with SlowModel(delay_s=2.0) as model:
        deployment.push("killed", recipe(model.url))
        job_id = deployment.drop("inbox/killed/x.jsonl", jsonl([{"id": n, "prompt": f"p{n}"} for n in range(60)]))
        model.wait_for_calls(10)
        assert kill_workers(deployment)
        job = deployment.wait(job_id)
    assert (job.state, job.counts.answered, job.counts.failed) == (JobState.DONE, 60, 0)
    assert [line["id"] for line in deployment.lines(job, "results")] == list(range(60))
    assert deployment.spent(job) == deployment.attempted(job) == job.counts.nano_usd
    assert model.calls > 60, "the calls of the dead worker were made again"


@pytest.mark.skipif(not CAN_FIND, reason="finds the worker by /proc")
def test_a_record_that_always_kills_its_worker_fails_alone(deployment: Deployment) -> None:
    """The worker is killed whenever the call of record 2 is out: found by elimination, and condemned."""
    with SlowModel(delay_s=0.1, hangs_at="poison") as model:
        deployment.push("deadly", recipe(model.url))
        prompts = [f"p{n}" if n != 2 else "poison" for n in range(5)]
        job_id = deployment.drop("inbox/deadly/x.jsonl", jsonl([{"id": n, "prompt": p} for n, p in enumerate(prompts)]))
        end, killed_at = time.monotonic() + 500, 0
        while not deployment.read_status(job_id) or not deployment.read_status(job_id).state.terminal:
            assert time.monotonic() < end, deployment.read_status(job_id)
            if model.hanging > killed_at:
                time.sleep(3.0)  # its neighbours are answered, and journaled
                kill_workers(deployment)
                killed_at = model.hanging
            time.sleep(0.3)
        job = deployment.wait(job_id)
    assert (job.state, job.counts.answered, job.counts.failed) == (JobState.DONE, 4, 1)
    assert [line.get("error", {}).get("code") for line in deployment.lines(job, "results")].count("worker_crashed") == 1
    assert model.calls - killed_at == 4, "what was journaled is not paid for again"
