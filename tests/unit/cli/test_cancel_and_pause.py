"""``promptmill cancel``, ``pause`` and ``unpause``."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.domain.messages import Message
from tests.fakes.mill import Mill, jsonl
from tests.fakes.recipes import recipe
from tests.unit.cli.fake_target import FakeTarget, typed, typed_json


def running() -> tuple[FakeTarget, str]:
    """A job that nobody works on."""
    mill = Mill(recipe())
    target = FakeTarget(mill=mill)
    message = mill.drop("inbox/r/f.jsonl", jsonl([{"id": "1", "prompt": "a"}]))
    return target, target.services.run(mill.plan(message)).job_id


def test_a_job_is_cancelled_and_says_what_it_waits_for() -> None:
    target, job_id = running()
    document, code = typed_json(target, "cancel", job_id)
    assert (code, document["job_id"], document["state"]) == (0, job_id, "RUNNING")
    assert document["waits_for"] == "the end of calls under way (cancelled)"
    target.services.run(target.mill.pump())
    assert typed_json(target, "status", job_id)[0]["state"] == "CANCELLED"


def test_waiting_for_its_end() -> None:
    target, job_id = running()
    send = target.mill.queue.send

    async def send_and_deliver(messages: Sequence[Message], *, delay_s: int = 0) -> None:
        await send(messages, delay_s=delay_s)
        target.mill.queue.send = send  # type: ignore[method-assign]
        await target.mill.pump()

    target.mill.queue.send = send_and_deliver  # type: ignore[method-assign]
    result = typed(target, "cancel", job_id, "--wait")
    assert result.exit_code == 0
    assert "CANCELLED: 0 answered, 0 failed, 1 stopped" in result.stdout


def test_what_is_over_is_refused_in_words() -> None:
    target, job_id = running()
    target.services.run(target.mill.pump())
    result = typed(target, "cancel", job_id)
    assert result.exit_code == 1
    assert f"nothing to cancel: job {job_id} is DONE" in result.stderr


def test_pauses_are_seen_by_status_and_doctor_and_lifted() -> None:
    target, job_id = running()
    target.mill.objects.put("recipes/r.yaml", b"routes: []")
    document, code = typed_json(target, "pause", "r")
    assert (code, list(document["paused"])) == (0, ["r"])
    assert typed_json(target, "status", job_id)[0]["waits_for"].startswith("paused by ")
    found = typed(target, "doctor")
    assert found.exit_code == 1
    assert "pauses: r is paused by " in found.stdout
    assert "recipe r is no longer paused" in typed(target, "unpause", "r").stdout
    assert not typed_json(target, "status", job_id)[0]["waits_for"].startswith("paused by ")
    assert "Nothing was paused" in typed(target, "unpause", "r").stdout
    assert typed(target, "doctor").exit_code == 0


def test_everything_is_paused_and_every_pause_is_lifted() -> None:
    target, job_id = running()
    typed(target, "pause", "r")
    document, _ = typed_json(target, "pause", "--all")
    assert list(document["paused"]) == ["*", "r"]
    assert typed_json(target, "unpause", "--all")[0]["paused"] == {}
    target.services.run(target.mill.pump())
    assert typed_json(target, "status", job_id)[0]["state"] == "DONE"


def test_a_recipe_or_all() -> None:
    target, _ = running()
    for words in (["pause"], ["pause", "r", "--all"], ["unpause"]):
        assert typed(target, *words).exit_code == 2
    result = typed(target, "pause", "rr")
    assert result.exit_code == 1
    assert "the nearest are: r" in result.stderr


def test_a_recipe_that_is_gone_can_be_paused_while_its_jobs_run() -> None:
    target, _ = running()
    del target.mill.recipes.recipes["r"]
    assert typed(target, "pause", "r").exit_code == 0
