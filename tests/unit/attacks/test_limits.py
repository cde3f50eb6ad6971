"""Files that ask for too much: each ends in words, with its figure and what to do, before anything is spent."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from promptmill.domain.errors import MAX_REASON, MAX_REMEDY, MAX_WHERE, RecipeError, RecordError, UserError
from promptmill.domain.job import JobState
from promptmill.domain.job_file import FileLimits
from promptmill.jobs.cut_file import PlanningSlowError
from promptmill.recipes.recipe_document import parse_recipe
from tests.fakes.mill import Mill, jsonl
from tests.fakes.recipes import recipe

LINES = recipe(prompt="{{ text }}")
SMALL = FileLimits(records=1_000, unpacked_bytes=80_000, planning_s=60, planners=1)


async def rejected(name: str, body: bytes, *, limits: FileLimits | None = None) -> tuple[str, dict[str, Any]]:
    mill = Mill(LINES)
    mill.file_limits = limits or FileLimits()
    planned = await mill.plan(mill.drop(f"inbox/r/{name}", body))
    assert planned.verdict == "rejected"
    assert mill.queue.waiting == []
    assert mill.jobs.planners.get(("r", 0), ("", ""))[1] == ""
    status = mill.status(mill.job(planned.job_id))
    assert status["remedy"]
    return planned.code, status


GZIP_BOMBS = {
    "many records.txt.gz": b"x\n" * (10 << 20),
    "blank lines.txt.gz": b"\n" * (20 << 20),
    "blank lines as CRLF.txt.gz": b"\r\n" * (10 << 20),
    "JSON lines.jsonl.gz": b'{"prompt":"x"}\n' * 1_000_000,
    "many bytes.txt.gz": b"word " * (16 << 20),
}


@pytest.mark.parametrize("name", GZIP_BOMBS)
async def test_few_bytes_of_gzip_do_not_become_millions_of_records(name: str) -> None:
    packed = gzip.compress(GZIP_BOMBS[name], 9)
    code, status = await rejected(name, packed)
    assert code == "gzip_bomb"
    assert f"{len(packed):,} bytes of gzip" in status["reason"]


async def test_gzip_in_gzip_is_unpacked_once() -> None:
    code, _ = await rejected("a.txt.gz", gzip.compress(gzip.compress(b"x\n" * (10 << 20), 9), 9))
    assert code


@pytest.mark.parametrize("name", ["batch.jsonl", "batch.jsonl.gz"])
async def test_a_batch_of_50000_lines_that_hardly_differ_is_no_bomb(name: str) -> None:
    lines = jsonl({"id": n, "prompt": "Summarise: the quick brown fox"} for n in range(50_000))
    mill = Mill(LINES)
    planned = await mill.plan(mill.drop(f"inbox/r/{name}", gzip.compress(lines) if name.endswith("gz") else lines))
    assert (planned.verdict, planned.records) == ("planned", 50_000)


@pytest.mark.parametrize(
    ("name", "body", "figure"),
    [
        ("a.txt", b"x\n" * 1_001, "1,000 records"),
        ("a.csv", b"text\n" + b"x\n" * 1_001, "1,000 records"),
        ("a.txt", b"\n" * 2_001 + b"x\n", "2,000 (twice max_records)"),
        ("a.json", b'{"requests":[' + b",".join([b"{}"] * 1_001) + b"]}", "1,000 records"),
    ],
)
async def test_too_many_records_name_the_limit_and_the_files_figure(name: str, body: bytes, figure: str) -> None:
    code, status = await rejected(name, body, limits=SMALL)
    assert code == "too_many_records"
    assert figure in status["reason"]
    assert "max_records" in status["reason"] + status["remedy"]


@pytest.mark.parametrize(("name", "body"), [("a.txt", b"x" * 80_001), ("a.txt.gz", gzip.compress(b"x" * 80_001))])
async def test_too_many_bytes_name_the_limit_and_the_files_figure(name: str, body: bytes) -> None:
    code, status = await rejected(name, body, limits=SMALL)
    assert code == "file_too_large"
    assert "80,001" in status["reason"]
    assert "80,000 (max_unpacked_gb)" in status["reason"]


async def test_a_document_of_countless_elements_is_not_read_into_memory() -> None:
    code, _ = await rejected("a.json", b'{"requests":[' + b"1," * 10_000_001 + b"1]}")
    assert code == "document_too_large"


class SlowStore:
    """A store that delivers an object in small blocks, and takes its time for each."""

    def __init__(self, mill: Mill, *, block: int, seconds: float) -> None:
        self._objects, self._clock, self._block, self._seconds = mill.objects, mill.clock, block, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def stream(self, key: str, **where: Any) -> AsyncIterator[bytes]:
        async for block in self._objects.stream(key, **where):
            for start in range(0, len(block), self._block):
                self._clock.advance(self._seconds)
                yield block[start : start + self._block]


async def plan_from(store: dict[str, Any], body: bytes) -> tuple[Mill, Any]:
    mill = Mill(LINES)
    mill.file_limits = FileLimits(planning_s=1)
    message = mill.drop("inbox/r/a.txt", body)
    mill.objects, whole = SlowStore(mill, **store), mill.objects  # type: ignore[assignment]
    try:
        return mill, await mill.plan(message)
    finally:
        mill.objects = whole


async def test_planning_that_takes_too_long_ends_in_words() -> None:
    mill, planned = await plan_from({"block": 100_000, "seconds": 0.02}, b"x" * 999 + b"\n" * 4_000_000)
    assert (planned.verdict, planned.code) == ("rejected", "planning_too_long")
    assert "planning_minutes" in mill.status(mill.job(planned.job_id))["reason"]


async def test_storage_that_is_slow_is_no_verdict_on_the_file() -> None:
    with pytest.raises(PlanningSlowError):
        await plan_from({"block": 1_000, "seconds": 0.5}, b"x\n" * 5_000)


LARGE = b"x" * (1 << 20)


async def test_large_files_of_one_recipe_do_not_occupy_all_planners() -> None:
    mill = Mill(LINES, recipe("other", prompt="{{ text }}"))
    now = mill.clock.now().isoformat()
    for owner in ("a", "b", "c"):
        assert await mill.jobs.take_planner("r", owner, at=now, until="9999", most=3)

    waiting = await mill.plan(mill.drop("inbox/r/large.txt", LARGE))

    assert waiting.verdict == "deferred"
    job = mill.job(waiting.job_id)
    assert job.state is JobState.PLANNING
    assert "other large files" in mill.status(job)["waits_for"]
    (again,) = mill.queue.waiting
    assert (await mill.plan(mill.drop("inbox/other/large.txt", LARGE))).verdict == "planned"
    assert (await mill.plan(mill.drop("inbox/r/small.txt", b"x"))).verdict == "planned"
    await mill.jobs.free_planner("r", "b", most=3)
    mill.queue.waiting.clear()
    await mill.deliver(again)
    assert mill.job(waiting.job_id).state is JobState.RUNNING


async def test_a_planner_that_died_is_free_again_in_time() -> None:
    mill = Mill(LINES)
    mill.file_limits = SMALL
    assert await mill.jobs.take_planner("r", "dead", at="2026", until=mill.clock.now().isoformat(), most=1)
    mill.clock.advance(1)
    assert (await mill.plan(mill.drop("inbox/r/large.txt", LARGE))).verdict == "rejected"


def test_what_an_error_says_is_bounded() -> None:
    error = RecordError("r" * 10**6, code="c", where="w" * 10**6, remedy="m" * 10**6, field="f" * 10**6)
    assert len(error.reason) <= MAX_REASON
    assert len(error.remedy) <= MAX_REMEDY
    assert max(len(error.where), len(error.field)) <= MAX_WHERE
    assert len(error.message) < 8_000
    assert len(UserError("\x1b" * 10**6, code="c").reason) <= 2 * MAX_REASON


def test_a_recipe_of_a_thousand_errors_is_rejected_in_a_bounded_text() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe("r", "".join(f"key_{n}: 1\n" for n in range(5_000)), stage="prod")
    assert len(caught.value.message) < 8_000


async def test_a_refused_request_has_a_reply_that_sqs_takes() -> None:
    mill = Mill(recipe(replies=("promptmill-test-replies",)))
    named = {f"key{n}": 1 for n in range(20_000)}
    await mill.ask({"recipe": "r", "body_key": "requests/1", "reply_to": "promptmill-test-replies", **named})
    assert len(json.dumps(mill.replies.sent[-1][1])) < 20_000
