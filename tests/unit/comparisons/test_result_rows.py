"""Results in every format and every API's shape, as the product writes them, are read back as answers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import structs

from promptmill.comparisons.result_rows import read_rows
from promptmill.domain.errors import RetryLaterError
from promptmill.domain.job import Manifest
from promptmill.domain.job_file import FileFormatName
from promptmill.domain.recipe import Route
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe

CHAT = {"messages": [{"role": "user", "content": "Which colour?"}]}
CLAUDE = {**CHAT, "max_tokens": 9, "anthropic_version": "bedrock-2023-05-31"}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Which colour?"}]}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Which colour?"}]}]}
BEDROCK = Route("bedrock/amazon.nova-lite-v1:0", "bedrock", "amazon.nova-lite-v1:0", attempts=1)
LINES: dict[str, tuple[FileFormatName, dict[str, Any]]] = {
    "chat": (
        "openai",
        {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", **CHAT}},
    ),
    "completions": ("openai", {"custom_id": "a", "url": "/v1/completions", "body": {"model": "m", "prompt": "Which?"}}),
    "responses": ("openai", {"custom_id": "a", "url": "/v1/responses", "body": {"model": "m", "input": "Which?"}}),
    "messages": ("anthropic", {"custom_id": "a", "params": {"model": "m", "max_tokens": 9, **CHAT}}),
    "converse": ("bedrock", {"recordId": "a", "modelInput": CONVERSE}),
    "claude on bedrock": ("bedrock", {"recordId": "a", "modelInput": CLAUDE}),
    "titan": (
        "bedrock",
        {"recordId": "a", "modelInput": {"inputText": "Which?", "textGenerationConfig": {"maxTokenCount": 9}}},
    ),
    "llama": ("bedrock", {"recordId": "a", "modelInput": {"prompt": "Which?", "max_gen_len": 9}}),
    "command": ("bedrock", {"recordId": "a", "modelInput": {"message": "Which?"}}),
    "vertex": ("vertex", {"request": GEMINI}),
    "gemini": ("vertex", {"key": "a", "request": GEMINI}),
    "claude on vertex": ("vertex", {"request": {**CHAT, "max_tokens": 9, "anthropic_version": "vertex-2023-10-16"}}),
    "own": ("promptmill", {"id": "a", "prompt": "Which colour?"}),
}
FILES: dict[str, tuple[FileFormatName, str, bytes]] = {
    **{name: (file_format, "f.jsonl", jsonl([line, line])) for name, (file_format, line) in LINES.items()},
    "csv": ("csv", "f.csv", b"text\nWhich?\nWhich?\n"),
    "txt": ("txt", "f.txt", b"Which?\nWhich?\n"),
}


async def milled(name: str, models: FakeModels) -> tuple[str, Manifest]:
    file_format, key, body = FILES[name]
    route = BEDROCK if file_format == "bedrock" else structs.replace(ROUTE, attempts=1)
    mill = Mill(recipe(prompt="{{ text }}" if file_format == "csv" else "", routes=(route,)), models=models)
    job = await mill.mill(f"inbox/r/{key}", body)
    assert job.files, job.reason
    (manifest,) = (key for key in mill.objects.keys() if Path(key).name == "manifest.json")  # noqa: SIM118
    found = msgspec.json.decode(mill.objects.body(manifest), type=Manifest)
    assert found.facts.format == file_format
    return mill.file(job, "results").decode("utf-8-sig"), found


@pytest.mark.parametrize("name", FILES)
async def test_an_answer_is_read(name: str) -> None:
    results, manifest = await milled(name, FakeModels())
    rows = list(read_rows(io.StringIO(results, newline=""), manifest.facts.format, manifest.facts.delimiter))
    assert [(row.failure, row.answer) for row in rows] == [("", "Blue.")] * 2


@pytest.mark.parametrize("name", FILES)
async def test_a_failure_is_read_with_its_words(name: str) -> None:
    errors = [RetryLaterError("timeout", "it took too long")] * 9
    results, manifest = await milled(name, FakeModels({ROUTE.id: errors, BEDROCK.id: errors}))
    rows = list(read_rows(io.StringIO(results, newline=""), manifest.facts.format, manifest.facts.delimiter))
    assert [row.failure for row in rows] == ["timeout"] * 2
    assert all(row.message for row in rows)
    assert all(row.answer == "" for row in rows)


def test_every_format_is_tried() -> None:
    assert {file_format for file_format, _, _ in FILES.values()} == set(get_args(FileFormatName))
