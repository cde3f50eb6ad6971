"""The same twenty prompts in five file formats, answered by the real model through the deployed stack."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from anthropic.types import Message
from anthropic.types.messages import MessageBatchIndividualResponse
from botocore.session import Session
from botocore.validate import ParamValidator
from jsonschema import validate
from openai.types.chat import ChatCompletion

from promptmill.domain.job import JobRun, JobState
from tests.local.deployment import Deployment
from tests.local.prompts import FILES, IDS

pytestmark = pytest.mark.emulator
RECIPE = """
routes: [{model: local/smollm2-135m, in_flight: 1, timeout: 300, price: {input_usd_per_mtok: "0.02", output_usd_per_mtok: "0.08"}}]
max_output_tokens: 12
temperature: 0
seed: 1
redact: {types: none}
"""
OPENAI_LINE = {
    "type": "object",
    "required": ["id", "custom_id", "response", "error"],
    "properties": {
        "id": {"type": "string"},
        "custom_id": {"type": "string"},
        "error": {"type": "null"},
        "response": {
            "type": "object",
            "required": ["status_code", "request_id", "body"],
            "properties": {"status_code": {"const": 200}},
        },
    },
}
BEDROCK_LINE = {
    "type": "object",
    "required": ["recordId", "modelInput", "modelOutput"],
    "not": {"required": ["error"]},
}
OWN_LINE = {
    "type": "object",
    "required": ["id", "record", "status", "answer", "model", "route", "usage", "cost_usd"],
    "properties": {"status": {"const": "answered"}, "cost_usd": {"type": "string", "pattern": r"^\d+\.\d{9}$"}},
}


@pytest.fixture(scope="module")
def jobs(deployment: Deployment) -> dict[str, JobRun]:
    deployment.push("equal", RECIPE)
    started = {name: deployment.drop(f"inbox/equal/{name}", build()) for name, build in FILES.items()}
    return {name: deployment.wait(job_id) for name, job_id in started.items()}


def openai_answers(lines: list[Any]) -> list[tuple[str, str]]:
    for line in lines:
        validate(line, OPENAI_LINE)
        ChatCompletion.model_validate(line["response"]["body"], strict=True)
    return [(line["custom_id"], line["response"]["body"]["choices"][0]["message"]["content"]) for line in lines]


def anthropic_answers(lines: list[Any]) -> list[tuple[str, str]]:
    for line in lines:
        MessageBatchIndividualResponse.model_validate(line)
        Message.model_validate(line["result"]["message"])
    return [(line["custom_id"], line["result"]["message"]["content"][0]["text"]) for line in lines]


def bedrock_answers(lines: list[Any]) -> list[tuple[str, str]]:
    model = Session().get_service_model("bedrock-runtime").operation_model("Converse")
    shape = model.output_shape
    assert shape is not None
    for line in lines:
        validate(line, BEDROCK_LINE)
        assert not ParamValidator().validate(line["modelOutput"], shape).has_errors()
    return [(line["recordId"], line["modelOutput"]["output"]["message"]["content"][0]["text"]) for line in lines]


def own_answers(lines: list[Any]) -> list[tuple[str, str]]:
    for line in lines:
        validate(line, OWN_LINE)
    return [(line["id"], line["answer"]) for line in lines]


def table_answers(data: bytes) -> list[tuple[str, str]]:
    rows = list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert all(row["status"] == "answered" and row["cost_usd"] for row in rows)
    return [(row["id"], row["answer"]) for row in rows]


def answers(deployment: Deployment, name: str, job: JobRun) -> list[tuple[str, str]]:
    if name == "table.csv":
        return table_answers(deployment.file(job, "results"))
    readers = {"openai": openai_answers, "anthropic": anthropic_answers, "bedrock": bedrock_answers, "own": own_answers}
    return readers[name.removesuffix(".jsonl")](deployment.lines(job, "results"))


@pytest.mark.parametrize("name", FILES)
def test_each_is_answered_in_its_file_format_and_in_order(
    deployment: Deployment, jobs: dict[str, JobRun], name: str
) -> None:
    job = jobs[name]
    assert (job.state, job.counts.answered) == (JobState.DONE, 20), deployment.status(job)
    assert [found for found, _ in answers(deployment, name, job)] == list(IDS)


def test_the_answers_are_equal(deployment: Deployment, jobs: dict[str, JobRun]) -> None:
    texts = {name: [text for _, text in answers(deployment, name, job)] for name, job in jobs.items()}
    own = texts["own.jsonl"]
    assert len(set(own)) > 10, "twenty prompts, not one answer"
    as_cells = [text.removeprefix("'") for text in own]  # a cell that starts like a formula stands behind one
    assert [text.removeprefix("'") for text in texts.pop("table.csv")] == as_cells
    for name, found in texts.items():
        assert found == own, name


@pytest.mark.parametrize("name", FILES)
def test_the_ledger_equals_the_attempts(deployment: Deployment, jobs: dict[str, JobRun], name: str) -> None:
    job = jobs[name]
    assert deployment.spent(job) == deployment.attempted(job) == job.counts.nano_usd > 0
