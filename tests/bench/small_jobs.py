"""Small jobs beside two large ones on the local stack: ``python -m tests.bench.small_jobs [SMALL_JOBS [RECORDS]]``.

Two jobs of 60,000 records hold both workers. Jobs of 1 and of 100 records are dropped one after another, and each is to be
done within five seconds of its drop. The large ones are cancelled at the end. The exit status is 1 where one took longer.
"""

from __future__ import annotations

import sys
import time

from promptmill.domain.job import JobState
from promptmill.jobs.stop_run import cancel_job
from tests.local.deployment import Deployment, unique
from tests.local.prompts import jsonl
from tests.local.slow_model import SlowModel
from tests.local.stack import deployed_stack

LARGE, SMALL = 60_000, (1, 100)
DELAY_S = 0.2
TARGET_S = 5.0

_LIMITS = """
limits:
  - {models: compatible/slow, requests_per_minute: 6000}
"""


def recipe(url: str) -> str:
    return f"""
routes:
  - model: compatible/slow
    base_url: {url}
    in_flight: 50
    price: {{input_usd_per_mtok: "1", output_usd_per_mtok: "2"}}
max_output_tokens: 50
redact: {{types: none}}
"""


def drop(deployment: Deployment, name: str, records: int) -> str:
    lines = [{"id": n, "prompt": f"Record {n} of {name}."} for n in range(records)]
    return deployment.drop(f"inbox/{name}/x.jsonl", jsonl(lines))


def measure(deployment: Deployment, url: str, *, small: int, large: int) -> list[tuple[int, float]]:
    """Return the records of each small job, and the seconds from its drop to its end."""
    deployment.push("_limits", _LIMITS)
    names = [deployment.push(unique(name), recipe(url)) for name in ("large", "large", "small")]
    deployment.wait(drop(deployment, names[2], 1))  # no function starts for the first time while others are measured
    running = [drop(deployment, name, large) for name in names[:2]]
    found = []
    for job_id in running:
        wait_for_answers(deployment, job_id)
    for number in range(small):
        records = SMALL[number % len(SMALL)]
        started = time.monotonic()
        job = deployment.wait(drop(deployment, names[2], records), patience_s=600.0)
        found.append((records, time.monotonic() - started))
        if (job.state, job.counts.answered) != (JobState.DONE, records):
            raise ValueError(f"{job.state} {job.counts}")
    for job_id in running:
        if deployment.read_status(job_id).state is not JobState.RUNNING:
            raise ValueError("a large job has ended: it held no worker")
        deployment.services.run(cancel_job(job_id, deployment.services.job_context))
    return found


def wait_for_answers(deployment: Deployment, job_id: str, *, patience_s: float = 120.0) -> None:
    """Wait until a worker is at work on the job."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        if deployment.services.run(deployment.services.jobs.read_progress(job_id, 1)).done:
            return
        time.sleep(0.5)
    raise ValueError("a large job was not begun")


def main(small: int, large: int) -> int:
    with SlowModel(delay_s=DELAY_S) as model, deployed_stack() as deployment:
        found = measure(deployment, model.url, small=small, large=large)
    for records, seconds in found:
        print(f"{records:>4} records, done after {seconds:5.2f} s  {'ok' if seconds <= TARGET_S else 'MISSED'}")
    missed = sum(seconds > TARGET_S for _, seconds in found)
    print(f"{missed} of {len(found)} took longer than {TARGET_S:g} s")
    return int(missed > 0)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(numbers[0] if numbers else 10, numbers[1] if len(numbers) > 1 else LARGE))
