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
from promptmill.domain.job import JobState
from promptmill.domain.job_file import FileLimits
from promptmill.domain.recipe import RedactionPolicy
from tests.fakes.mill import Mill, jsonl
from tests.fakes.recipes import ROUTE, recipe

TEXT: dict[str, Any] = {"prompt": "{{ text }}"}


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
    "malformed_document": Case(b'[{"prompt": "a"}, {"prom', b'[{"prompt": "a"}]', "", name="a.json"),
}


async def run(body: bytes, name: str, changes: Mapping[str, Any], limits: FileLimits | None) -> tuple[Mill, Any]:
    mill = Mill(recipe(**changes))
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
    [
        "body_missing",
        "body_too_large",
        "busy",
        "demo_failed",
        "different_files",
        "document_too_large",
        "emulator_missing",
        "engine_missing",
        "file_gone",
        "gave_up",
        "id_reused",
        "id_unusable",
        "ignored_name",
        "invalid_attachment",
        "invalid_envelope",
        "invalid_limits",
        "invalid_name",
        "invalid_recipe",
        "invalid_utf8",
        "job_over",
        "job_running",
        "library_missing",
        "model_changed",
        "name_unused",
        "no_duplicate",
        "no_make",
        "no_records",
        "no_results",
        "no_target",
        "not_a_clone",
        "not_planned_in_time",
        "not_started",
        "not_synthesised",
        "nothing_to_run",
        "other_dialect",
        "over_budget",
        "planning_failed",
        "planning_too_long",
        "redaction_failed",
        "reply_refused",
        "results_file",
        "run_open",
        "setting_missing",
        "stack_missing",
        "stack_outdated",
        "too_many_cells",
        "too_old",
        "unknown_encoding",
        "unknown_job",
        "unknown_lines",
        "unknown_provider",
        "unknown_recipe",
        "unknown_route",
        "unknown_run",
        "unpriced_route",
        "unsupported_body",
        "utf_16_document",
    ]
)
"""Codes that came before this test: of commands, recipes, messages and AWS. Whoever tries one takes it out of here."""


def codes_with_a_remedy() -> Iterator[str]:
    """Yield the code of every error that is raised with a remedy, wherever it stands in the package."""
    for path in Path(promptmill.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = {word.arg: word.value for word in node.keywords} if isinstance(node, ast.Call) else {}
            code = named.get("code")
            if "remedy" in named and isinstance(code, ast.Constant):
                yield str(code.value)


def test_a_new_code_comes_with_a_remedy_that_is_tried() -> None:
    tried = RECORDS.keys() | FILES.keys() | ELSEWHERE.keys()
    assert set(codes_with_a_remedy()) - tried - UNTRIED == set(), "give each a case above"
    assert UNTRIED & tried == set()
