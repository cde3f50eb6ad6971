"""A canary in every prompt, answer and id: found in the bucket and in the requests queue, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptmill.domain.job import JobState
from tests.local.deployment import Deployment, unique
from tests.local.prompts import jsonl
from tests.local.stack import LocalStack

pytestmark = pytest.mark.emulator
CANARY = "kanarienvogel-7f3a"
RECIPE = """
routes: [{model: local/smollm2-135m, in_flight: 8, timeout: 300}]
max_output_tokens: 30
temperature: 0
prompt: "Repeat this word: {{ text }}"
replies: [promptmill-local-replies]
"""


def items(deployment: Deployment, table: str) -> Iterator[str]:
    client = deployment.services.client("dynamodb")
    for page in client.get_paginator("scan").paginate(TableName=table):
        for item in page["Items"]:
            yield json.dumps(item, default=str)


def logged(deployment: Deployment) -> Iterator[str]:
    client = deployment.services.client("logs")
    for group in client.get_paginator("describe_log_groups").paginate():
        for found in group["logGroups"]:
            for page in client.get_paginator("filter_log_events").paginate(logGroupName=found["logGroupName"]):
                for event in page["events"]:
                    yield event["message"]


def waiting(deployment: Deployment) -> Iterator[str]:
    for url in deployment.sqs.list_queues(QueueNamePrefix="promptmill-local-").get("QueueUrls", []):
        if url.endswith(("-requests", "-requests-dead-letters")):
            continue
        received = deployment.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        for message in received.get("Messages", []):
            yield message["Body"]


def emulator_log(logs: Path) -> Iterator[str]:
    for path in logs.glob("*.log"):
        yield path.read_text(errors="replace")


def test_prompts_and_answers_stay_in_the_bucket(deployment: Deployment, local_stack: LocalStack) -> None:
    deployment.push("canary", RECIPE)
    lines: list[Any] = [{"id": f"{CANARY}-{n}", "prompt": f"{CANARY} {n}"} for n in range(3)]
    lines += [{"id": CANARY, "prompt": CANARY, CANARY: CANARY}, [CANARY], CANARY]
    body = jsonl(lines) + f'{{"id": "{CANARY}", "prompt": "{CANARY}'.encode() + b"\xff"
    job = deployment.mill("inbox/canary/lines.jsonl", body)
    assert (job.state, job.counts.answered, job.counts.failed) == (JobState.DONE, 4, 3)
    request_id = unique("request")
    deployment.ask({"recipe": "canary", "id": request_id, "prompt": CANARY, "reply_to": "promptmill-local-replies"})
    assert deployment.reply_to(request_id)["status"] == "answered"
    deployment.ask(
        {"recipe": "canary", "id": request_id, "prompt": f"another {CANARY}", "reply_to": "promptmill-local-replies"}
    )
    assert deployment.reply_to(request_id)["error"]["code"] == "id_reused"
    assert CANARY.encode() in deployment.file(job, "results")

    settings = deployment.settings
    for place in (
        items(deployment, settings.jobs_table),
        items(deployment, settings.charges_table),
        logged(deployment),
        waiting(deployment),
        emulator_log(local_stack.logs),
    ):
        for text in place:
            assert CANARY not in text
