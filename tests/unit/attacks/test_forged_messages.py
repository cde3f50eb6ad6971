"""Messages that somebody forged: nothing comes of them, their neighbours go through, and as dead letters they end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.iam.functions import BUCKET, invoke
from tests.unit.attacks.house import House

HUGE = 10**30
NONE_OF_OURS = (
    "", "{", "[]", "null", "1e400", '"x"', '{"type":"root"}', '{"type":5}', '{"v":1e400}', "hello",
    '{"v":99,"type":"plan","key":"a","version":"b"}', '{"a":' * 5_000 + "1" + "}" * 5_000, "[" * 90_000,
)  # fmt: skip
IDS: tuple[Any, ...] = ({"a": 1}, 5, [])
NOBODY = "20260101t000000z-0123456789"


def plan(**fields: Any) -> str:
    return json.dumps({"type": "plan", "key": "inbox/reviews/none.csv", "version": ""} | fields)


def chunk(**fields: Any) -> str:
    return json.dumps({"type": "chunk", "job_id": NOBODY, "run": 1, "chunk": 0} | fields)


def finish(**fields: Any) -> str:
    return json.dumps({"type": "finish", "job_id": NOBODY, "run": 1} | fields)


def notification(**fields: Any) -> str:
    found = {"bucket": {"name": BUCKET}, "object": {"key": "inbox/reviews/none.csv"}} | fields
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": found}]})


def of_uploads(job: str) -> list[str]:
    keys = ("../recipes/demo.yaml", "inbox/../recipes/demo.yaml", "inbox/reviews/../../recipes/demo.yaml", "/etc/passwd",
            "recipes/demo.yaml", "", "x" * 2_000, "inbox/reviews/\x00", "results/reviews/a", "work/a", 5, None)  # fmt: skip
    encoded = ("inbox/reviews/..%2F..%2Frecipes%2Fdemo.yaml", "%00", "%ff%fe", "recipes%2Fdemo.yaml", 5)
    shapes: tuple[Any, ...] = (
        {"Records": {}},
        {"Records": [None]},
        {"Records": []},
        {"Records": [{"s3": None}]},
        {"Event": "s3:TestEvent"},
    )
    return [
        *(plan(key=key) for key in keys),
        *(notification(object={"key": key}) for key in encoded),
        *map(json.dumps, shapes),
        *(plan(job_id=name) for name in ("../../x", "x" * 5_000, "a#b/../c", job)),
        *(plan(run=run) for run in (-1, 0, HUGE, 99_999)),
        plan(version="../"),
        notification(bucket={"name": "foreign"}, object={"key": "inbox/reviews/real.jsonl"}),
        notification(object={}),
    ]


def of_chunks(job: str) -> list[str]:
    return [
        *(chunk(job_id=name) for name in ("../../x", "", "x" * 3_000, "a\x00", "a#b/../c", job.upper())),
        *(chunk(run=run) for run in (-1, 0, HUGE)),
        *(chunk(chunk=number) for number in (-1, HUGE, 1.5, "0")),
        *(chunk(seen=seen) for seen in ([1], [-1, -1], "x")),
        *(chunk(job_id=job, chunk=number) for number in (-1, 1, HUGE)),
        chunk(job_id=job, run=7),
        plan(),
        finish(job_id=job),
    ]


def of_finish(job: str) -> list[str]:
    return [
        *(finish(job_id=name) for name in ("../../x", "", "a#b/../c")),
        *(finish(run=run) for run in (-1, HUGE)),
        *(finish(job_id=job, segment=number) for number in (-1, 5, HUGE, "x")),
        *(finish(job_id=job, run=run) for run in (-1, 2)),
        chunk(job_id=job),
    ]


def of_requests(_job: str) -> list[str]:
    asked = {"recipe": "demo", "id": "a", "prompt": "x"}
    return [
        *(json.dumps(asked | {"recipe": name}) for name in ("../inbox/demo", "demo/../reviews", "_limits", "", 5)),
        *(json.dumps(asked | {"id": name}) for name in IDS),
        json.dumps(asked | {"reply_to": "promptmill-dev-chunks"}),
        json.dumps(asked | {"body_key": "requests/reviews/body.json"}),
    ]


FORGED = {"uploads": of_uploads, "chunks": of_chunks, "finish": of_finish, "requests": of_requests}
FUNCTIONS = {"uploads": "plan_job", "chunks": "run_chunk", "finish": "finish_job", "requests": "run_requests"}


@pytest.mark.parametrize("queue", FORGED)
def test_nothing_comes_of_it_and_the_neighbour_goes_through(house: House, queue: str) -> None:
    house.drop("real.jsonl", b'{"prompt":"x"}\n')
    good = house.stack.take("uploads")
    if queue in ("chunks", "finish"):
        house.work("plan_job", "uploads")
        good = house.stack.take("chunks")
    if queue == "finish":
        house.work("run_chunk", "chunks")
        good = house.stack.take("finish")
    job = "" if queue in ("uploads", "requests") else house.job_of("real.jsonl")
    if queue == "requests":
        house.ask(id="good", prompt="x")
        good = house.stack.take("requests")
    bodies = [*NONE_OF_OURS, *FORGED[queue](job)]
    before = set(house.keys())

    forged = [forge(house, queue, body, number) for number, body in enumerate(bodies)]
    failed = {
        item["itemIdentifier"]
        for item in house.invoke(FUNCTIONS[queue], {"Records": [*forged, *good]})["batchItemFailures"]
    }

    assert failed <= {record["messageId"] for record in forged}
    assert len(house.models.calls) == (queue != "uploads")
    house.lose(queue)
    if queue != "requests":
        house.run_all()
        assert house.state_of("real.jsonl") == "DONE"
    else:
        assert [reply["status"] for reply in house.replies().values()] == ["answered"]
    written = {key for key in house.keys() if key not in before}  # noqa: SIM118  a house is no mapping
    assert all("real.jsonl" in key or key.startswith(("work/", "answers/reviews/")) for key in written), written


@pytest.mark.parametrize("queue", FORGED)
def test_as_a_dead_letter_it_ends(house: House, queue: str) -> None:
    house.drop("real.jsonl", b'{"prompt":"x"}\n')
    house.work("plan_job", "uploads")
    job = house.job_of("real.jsonl")
    for number, body in enumerate([*NONE_OF_OURS, *FORGED[queue](job)]):
        record = forge(house, f"{queue}-dead-letters", body, number)
        record["attributes"] = record["attributes"] | {"ApproximateReceiveCount": "40"}
        assert invoke("settle_dead_letter", {"Records": [record]}) == {"batchItemFailures": []}
    assert house.models.calls == []
    house.run_all()
    assert house.state_of("real.jsonl") == "DONE"


def forge(house: House, queue: str, body: str, number: int) -> dict[str, Any]:
    return house.stack._record({"Body": body, "MessageId": f"forged-{number}", "ReceiptHandle": "r"}, queue)
