"""``promptmill batches``: each stage in words, for a job that was dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import get_args

from msgspec import structs

from promptmill.cli.commands.batches import _STAGES
from promptmill.ports.submissions import BatchEnd, FrozenChunk, Mark, Stage, Submission
from tests.fakes.recipes import ROUTE
from tests.unit.cli.fake_target import FakeTarget, text_recipe, typed, typed_json

AT, DUE = "2026-11-22T12:00:00.000Z", "2026-11-23T08:00:00.000Z"


def submitted(target: FakeTarget, folder: Path) -> str:
    file = folder / "f.csv"
    file.write_text("text\na\nb\n")
    document, _ = typed_json(target, "submit", str(file), "--recipe", "reviews", "--wait")
    job: str = document["job_id"]
    return job


def submission(job: str, name: str, **changes: object) -> Submission:
    made = Submission(
        id=name, job_id=job, run=1, recipe="reviews", route=ROUTE, chunks=(0,), created_at=AT, due_at=DUE, next_at=AT
    )
    return structs.replace(made, **changes)


def test_batches_of_a_job_in_words(tmp_path: Path) -> None:
    target = FakeTarget(text_recipe())
    job = submitted(target, tmp_path)
    frozen = (FrozenChunk(0, 1, 1_200, 90_000),)
    sent = Mark("stepper", "2026-11-22T12:01:00.000Z")
    for each in (
        submission(job, "a" * 24, frozen=frozen, sent=sent, batch="batch_abc", proven=True),
        submission(job, "b" * 24, frozen=frozen, sent=sent),
        submission(job, "c" * 24, frozen=frozen, sent=sent, batch="batch_d", ended=BatchEnd("completed", DUE)),
    ):
        assert asyncio.run(target.services.submissions.create(each))
    document, code = typed_json(target, "batches", job)
    assert code == 0
    assert [each["stage"] for each in document["batches"]] == ["running", "in_doubt", "collecting"]
    assert document["batches"][0] | {"batch": "batch_abc", "lines": 1_200, "due_at": DUE} == document["batches"][0]
    shown = typed(target, "batches", job).stdout
    assert "batch_abc" in shown
    assert "1,200" in shown
    assert "whether a batch was made is being looked up" in shown


def test_a_live_job_has_none(tmp_path: Path) -> None:
    target = FakeTarget(text_recipe())
    job = submitted(target, tmp_path)
    assert "its records are answered live" in typed(target, "batches", job).stdout
    assert typed(target, "batches", "20261122t120000z-0000000000").exit_code == 1


def test_every_stage_has_words() -> None:
    assert set(_STAGES) == set(get_args(Stage))
