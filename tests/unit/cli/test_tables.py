"""Every table that a command prints, at 80 and at 120 columns: no id and no amount is folded, and no line is too long."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from msgspec import structs

import promptmill
from promptmill.domain.job import Counts, JobState
from promptmill.domain.recipe import Route
from promptmill.ports.submissions import FrozenChunk, Mark
from tests.fakes.mill import Mill, jsonl
from tests.fakes.recipes import recipe
from tests.unit.cli.fake_target import FakeTarget, text_recipe, typed
from tests.unit.cli.test_batches import submission, submitted
from tests.unit.cli.test_compare import judged_file
from tests.unit.cli.test_costs import with_charges

ROOT = Path(__file__).parents[3]
PROFILE = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
LONG = Route(id=f"bedrock/{PROFILE}", provider="bedrock", model=PROFILE, region="eu-central-1")
AMOUNT = re.compile(r"\$?\d[\d,]*\.\d+|\d{1,3}(?:,\d{3})+")
NAME = re.compile(r"\d{8}t\d{6}z-[0-9a-f]{10}|(?:bedrock|openai|anthropic)/[\w.:-]+")
Make = Callable[[Path], tuple[FakeTarget, list[str]]]


def big_jobs(folder: Path) -> FakeTarget:
    """Return a deployment with one job that cost a fortune, and one whose file was rejected."""
    target, file = FakeTarget(recipe()), folder / "a-file-with-quite-a-long-name-of-its-own.jsonl"
    file.write_bytes(jsonl([{"id": 1, "prompt": "a"}]))
    typed(target, "submit", str(file), "--recipe", "r")
    (folder / "b.csv").write_text("review,n\ngood,1\n")
    typed(target, "submit", str(folder / "b.csv"), "--recipe", "r")
    runs = target.mill.jobs.runs
    for key, run in runs.items():
        if run.state is JobState.DONE:
            counts = Counts(answered=9_876_543, failed=123_456, nano_usd=12_345_678_901_234, unpriced=1_234)
            runs[key] = structs.replace(run, counts=counts, records=9_999_999)
    return target


def show_jobs(folder: Path) -> tuple[FakeTarget, list[str]]:
    return big_jobs(folder), ["status"]


def show_job(folder: Path) -> tuple[FakeTarget, list[str]]:
    target = big_jobs(folder)
    return target, ["status", next(run.job_id for run in target.mill.jobs.runs.values() if run.files)]


def charged() -> FakeTarget:
    names = {"route": LONG.id, "model": LONG.id}
    return with_charges({**names, "nano_usd": 12_345_678_901_234, "input_tokens": 9_876_543_210}, {"nano_usd": 1})


def show_costs(_folder: Path) -> tuple[FakeTarget, list[str]]:
    return charged(), ["costs", "--job", "j1"]


def show_models(_folder: Path) -> tuple[FakeTarget, list[str]]:
    target = FakeTarget(recipe(routes=(LONG,)))
    return target, ["models"]


def show_estimate(_folder: Path) -> tuple[FakeTarget, list[str]]:
    return FakeTarget(), ["estimate", str(ROOT / "samples/reviews.csv"), "--recipe", str(ROOT / "recipes/reviews.yaml")]


def show_comparison(folder: Path) -> tuple[FakeTarget, list[str]]:
    target = FakeTarget(mill=Mill(recipe("one", prompt="{{ text }}"), recipe("two", prompt="{{ text }}")))
    for name in ("one", "two"):
        typed(target, "submit", str(judged_file(folder, n=40)), "--recipe", name)
    jobs = sorted({run.job_id for run in target.mill.jobs.runs.values()})
    return target, ["compare", *jobs]


def show_errors(folder: Path) -> tuple[FakeTarget, list[str]]:
    target, file = FakeTarget(recipe()), folder / "a.jsonl"
    file.write_bytes(jsonl([{"id": n, "prompt": " "} for n in range(1_200)]))
    typed(target, "submit", str(file), "--recipe", "r")
    return target, ["errors", next(run.job_id for run in target.mill.jobs.runs.values())]


def show_batches(folder: Path) -> tuple[FakeTarget, list[str]]:
    target = FakeTarget(text_recipe())
    job = submitted(target, folder)
    sent, frozen = Mark("s", "2026-11-22T12:01:00.000Z"), (FrozenChunk(0, 1, 48_000, 90_000_000),)
    asyncio.run(
        target.services.submissions.create(
            submission(
                job, "a" * 24, route=LONG, frozen=frozen, sent=sent, batch="batch_690a3d5b1c8481909c2f0d9b8ad2a1"
            )
        )
    )
    return target, ["batches", job]


def typing(*words: str) -> Make:
    return lambda _folder: (FakeTarget(recipe(routes=(LONG,))), list(words))


TABLES: Mapping[str, tuple[str, Make]] = {
    "jobs": ("commands/status.py", show_jobs),
    "a job": ("commands/status.py", show_job),
    "costs": ("commands/costs.py", show_costs),
    "models": ("commands/models.py", show_models),
    "estimate": ("commands/estimate.py", show_estimate),
    "comparison": ("commands/compare.py", show_comparison),
    "batches": ("commands/batches.py", show_batches),
    "errors": ("commands/errors.py", show_errors),
    "limits": ("commands/limits.py", typing("limits")),
    "recipes": ("commands/recipe.py", typing("recipe", "list")),
    "providers": ("commands/providers.py", typing("providers")),
    "fields": ("commands/providers.py", typing("providers", "--fields", "openai")),
}
ELSEWHERE = {"local/demo.py"}
"""The table of the demo is shown by its own tests, which run the demo."""


def test_every_table_is_among_these() -> None:
    commands = Path(promptmill.__file__).parent / "cli"
    printing = {str(path.relative_to(commands)) for path in commands.rglob("*.py") if ".table(" in path.read_text()}
    assert printing - ELSEWHERE == {module for module, _ in TABLES.values()}


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", TABLES)
def test_nothing_that_is_copied_or_counted_is_folded(name: str, width: int, tmp_path: Path) -> None:
    target, words = TABLES[name][1](tmp_path)
    wide, shown = (typed(target, *words, COLUMNS=columns) for columns in ("1000", str(width)))
    assert shown.exit_code == wide.exit_code == 0, shown.output
    for kind in (AMOUNT, NAME):
        wanted, found = set(kind.findall(wide.stdout)) - {"$0.00"}, set(kind.findall(shown.stdout))
        assert wanted - found == set(), f"folded at {width} columns:\n{shown.stdout}"
    too_long = [line for line in shown.stdout.splitlines() if len(line.rstrip()) > width]
    assert [line for line in too_long if re.search(r"\S {2,}\S.* {2,}\S", line)] == [], shown.stdout
