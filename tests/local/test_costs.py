"""``promptmill costs`` beside ``attempts.jsonl``, and the same upload told of twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from promptmill.domain import messages
from promptmill.domain.job import JobRun
from promptmill.domain.messages import PlanMessage
from tests.local.deployment import Deployment
from tests.local.prompts import jsonl
from tests.local.slow_model import SlowModel
from tests.local.stack import LocalStack

pytestmark = pytest.mark.emulator
RECIPE = """
routes:
  - model: compatible/slow
    base_url: {url}
    price: {{input_usd_per_mtok: "0.123", output_usd_per_mtok: "7.77"}}
"""


def costs(local_stack: LocalStack, job: JobRun) -> dict[str, Any]:
    """As the command prints them."""
    done = subprocess.run(
        [sys.executable, "-m", "promptmill.cli.main", "costs", "--job", job.job_id, "--json"],
        env=os.environ | {"PROMPTMILL_HOME": str(local_stack.paths.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_costs_equal_the_attempts_and_stay_when_the_upload_is_told_of_again(
    deployment: Deployment, local_stack: LocalStack
) -> None:
    with SlowModel(delay_s=0.0) as model:
        deployment.push("costs", RECIPE.format(url=model.url))
        job = deployment.mill("inbox/costs/x.jsonl", jsonl([{"id": n, "prompt": f"p{n}"} for n in range(700)]))
        first = costs(local_stack, job)
        assert first["nano_usd"] == deployment.attempted(job) == 700 * (1_230 + 7_770)
        assert len(deployment.lines(job, "attempts")) == model.calls == 700

        plan = messages.encode(PlanMessage(job.source.key, job.source.version))
        deployment.sqs.send_message(QueueUrl=deployment.settings.uploads_queue, MessageBody=plan)
        deployment.mill("inbox/costs/after-it.jsonl", jsonl([{"id": 1, "prompt": "x"}]))
        assert costs(local_stack, job) == first
        assert model.calls == 701
