"""Remedies are tried: what is wrong fails with its code and its remedy, and once the remedy is applied it is answered."""

from __future__ import annotations

import ast
import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, field, structs

import promptmill
from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.job import JobState
from promptmill.domain.job_file import FileLimits
from promptmill.domain.recipe import RedactionPolicy, Route, UserPrice
from promptmill.prices.genai import GenaiPriceBook
from tests.fakes.mill import Mill, jsonl
from tests.fakes.recipes import ROUTE, recipe

TEXT: dict[str, Any] = {"prompt": "{{ text }}"}


UNPRICED = Route(id="compatible/x", provider="compatible", model="x", base_url="https://llm.example.com/v1")


class Case(Struct, frozen=True):
    """Something wrong, and the same with its remedy applied.

    Attributes:
        remedy: words of the remedy that is told.
        recipe, mended_recipe: changes of the recipe, before and after.
        name, mended_name: the names of the file.
    """

    broken: bytes
    mended: bytes
    remedy: str
    recipe: dict[str, Any] = field(default_factory=dict)
    mended_recipe: dict[str, Any] | None = None
    name: str = "a.jsonl"
    mended_name: str = ""
    limits: FileLimits | None = None


def chat(content: Any = "hi", **fields: Any) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
    return jsonl([{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body}])


def image(data: str) -> list[dict[str, Any]]:
    return [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}]


GOOD = jsonl([{"id": 1, "prompt": "a"}])
RECORDS: Mapping[str, Case] = {
    "empty_prompt": Case(jsonl([{"id": 1, "prompt": " "}]), GOOD, "write"),
    "invalid_field": Case(jsonl([{"id": 1, "prompt": 5}]), GOOD, "correct it"),
    "invalid_json": Case(b'{"id": 1, "prompt": "a"\n' + GOOD, GOOD, "JSON"),
    "missing_field": Case(chat().replace(b'"messages"', b'"massages"'), chat(), "add"),
    "not_an_object": Case(b"[1]\n" + GOOD, GOOD, "object"),
    "unsupported_field": Case(
        chat(n=2), chat(n=2), "allow: [n]", {}, {"routes": (structs.replace(ROUTE, allow=("n",)),)}
    ),
    "unsupported_endpoint": Case(
        chat().replace(b"/v1/chat/completions", b"/v1/images/generations"), chat(), "", name="a.jsonl"
    ),
    "attachment_refused": Case(
        chat(image("iVBORw0KGgo=")), chat(image("iVBORw0KGgo=")), "attachments", {}, {"attachments": "inline"}
    ),
    "model_missing": Case(
        GOOD, jsonl([{"id": 1, "prompt": "a", "model": "m"}]), "model", {"model": "line", "models": {"m": ROUTE.id}}
    ),
    "model_not_allowed": Case(
        jsonl([{"id": 1, "prompt": "a", "model": "x"}]),
        jsonl([{"id": 1, "prompt": "a", "model": "m"}]),
        "m",
        {"model": "line", "models": {"m": ROUTE.id}},
    ),
    "redaction_refused": Case(
        jsonl([{"id": 1, "prompt": "a@b.example"}]),
        GOOD,
        "",
        {"redact": RedactionPolicy(types=("email",), actions={"email": "refuse"})},
    ),
    "too_many_cells": Case(b"text,n\na,1,surplus\n", b"text,n\na,1\n", "", TEXT, name="a.csv"),
    "other_dialect": Case(chat() + jsonl([{"recordId": "1", "modelInput": {}}]), chat() + chat(), ""),
}
FILES: Mapping[str, Case] = {
    "empty_file": Case(b"", GOOD, ""),
    "no_prompt_column": Case(b"review,n\ngood,1\n", b"text,n\ngood,1\n", "prompt", name="a.csv"),
    "unknown_column": Case(b"txt,n\ngood,1\n", b"text,n\ngood,1\n", "", TEXT, name="a.csv"),
    "ambiguous_column": Case(b"Text,TEXT\na,b\n", b"text,other\na,b\n", "", TEXT, name="a.csv"),
    "unknown_file": Case(b"\x00\x01\x02\x03" * 9, GOOD, "", name="a.bin", mended_name="a.jsonl"),
    "old_line_ends": Case(b"first\rsecond\rthird\r", b"first\nsecond\nthird\n", "", TEXT, name="a.txt"),
    "file_too_large": Case(GOOD * 9, GOOD, "", limits=FileLimits(unpacked_bytes=100)),
    "too_many_records": Case(GOOD * 9, GOOD, "", limits=FileLimits(records=3)),
    "gzip_bomb": Case(
        gzip.compress(b" " * 3_000_000), gzip.compress(GOOD), "", name="a.jsonl.gz", limits=FileLimits(expansion=5)
    ),
    "no_records": Case(b"\n\n", GOOD, "record on each line"),
    "results_file": Case(
        jsonl([{"custom_id": "1", "response": {"status_code": 200, "body": {"choices": []}}, "error": None}]), GOOD, ""
    ),
    # As the remedy's jq -c '.rows[]' makes it.
    "unknown_lines": Case(
        json.dumps({"rows": [{"prompt": "a"}, {"prompt": "b"}]}, indent=1).encode(),
        jsonl([{"prompt": "a"}, {"prompt": "b"}]),
        ".rows[]",
    ),
    "utf_16_document": Case(
        '[{"prompt": "a"}]'.encode("utf-16"), b'[{"prompt": "a"}]', "save it as UTF-8", name="a.json"
    ),
    "unpriced_route": Case(
        GOOD,
        GOOD,
        "price",
        {"budget": BudgetPolicy(per_job=10**9), "routes": (UNPRICED,)},
        {"budget": BudgetPolicy(per_job=10**9), "routes": (structs.replace(UNPRICED, price=UserPrice("1", "1")),)},
    ),
    "malformed_document": Case(b'[{"prompt": "a"}, {"prom', b'[{"prompt": "a"}]', "", name="a.json"),
}


async def run(body: bytes, name: str, changes: Mapping[str, Any], limits: FileLimits | None) -> tuple[Mill, Any]:
    mill = Mill(recipe(**changes))
    if "budget" in changes:
        mill.prices = GenaiPriceBook()
    if limits is not None:
        mill.file_limits = limits
    return mill, await mill.mill(f"inbox/r/{name}", body)


async def mended(case: Case) -> None:
    changes = case.recipe if case.mended_recipe is None else case.mended_recipe
    _, job = await run(case.mended, case.mended_name or case.name, changes, case.limits)
    assert (job.state, job.counts.failed) == (JobState.DONE, 0), job.reason
    assert job.counts.answered >= 1


@pytest.mark.parametrize("code", RECORDS)
async def test_a_record_is_answered_once_its_remedy_is_applied(code: str) -> None:
    case = RECORDS[code]
    mill, job = await run(case.broken, case.name, case.recipe, case.limits)
    assert job.files, job.reason
    assert code in json.loads(mill.file(job, "summary"))["failures"]
    assert case.remedy in mill.file(job, "results").decode()
    await mended(case)


@pytest.mark.parametrize("code", FILES)
async def test_a_file_is_answered_once_its_remedy_is_applied(code: str) -> None:
    case = FILES[code]
    _, job = await run(case.broken, case.name, case.recipe, case.limits)
    assert job.state is JobState.REJECTED
    assert job.remedy
    assert case.remedy in job.remedy
    await mended(case)


ELSEWHERE = {"no_bound": "tests/unit/jobs/test_costly_fields.py"}
"""Codes whose remedy another test applies."""
UNTRIED = frozenset(
    (
        "invalid_attachment",
        "body_missing",
        "body_too_large",
        "document_too_large",
        "file_gone",
        "gave_up",
        "id_reused",
        "id_unusable",
        "invalid_envelope",
        "invalid_limits",
        "invalid_recipe",
        "invalid_utf8",
        "job_over",
        "job_running",
        "no_duplicate",
        "not_planned_in_time",
        "nothing_to_run",
        "over_budget",
        "planning_failed",
        "planning_too_long",
        "redaction_failed",
        "reply_refused",
        "run_open",
        "setting_missing",
        "too_old",
        "unknown_encoding",
        "unknown_job",
        "unknown_route",
        "unknown_run",
        "unsupported_body",
    )
)
"""Codes that came before this test. Whoever tries one takes it out of here."""


def codes_with_a_remedy() -> Iterator[str]:
    """Yield the code of every error about a file, a record, a message or a recipe that is raised with a remedy."""
    package = Path(promptmill.__file__).parent
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] in ("cli", "client", "aws"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = {word.arg: word.value for word in node.keywords} if isinstance(node, ast.Call) else {}
            code = named.get("code")
            if "remedy" in named and isinstance(code, ast.Constant):
                yield str(code.value)


def test_a_new_code_comes_with_a_remedy_that_is_tried() -> None:
    tried = RECORDS.keys() | FILES.keys() | ELSEWHERE.keys()
    assert set(codes_with_a_remedy()) - tried - UNTRIED == set(), "give each a case above"
    assert UNTRIED & tried == set()
