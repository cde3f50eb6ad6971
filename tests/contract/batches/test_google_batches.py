"""What Google's batches alone do: an upload in two steps, errors by numbers of gRPC, rows without ids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.ports.batch_service import Created, Refused
from promptmill.providers.google.provider import VERDICTS
from promptmill.wire.batches.google import read_keyed_line, read_row
from promptmill.wire.batches.lines import AnsweredLine, FailedLine
from tests.contract.batches.conftest import Bench, asking, opened
from tests.fakes.batches.server import Says


@pytest.fixture
async def gemini() -> AsyncIterator[Bench]:
    async with opened("gemini") as found:
        yield found


async def test_an_upload_in_two_steps(gemini: Bench) -> None:
    order = gemini.order(3)
    upload = await gemini.service.upload(gemini.route, order)

    assert gemini.fake.files[upload] == b"".join([block async for block in order.read()])
    (second,) = gemini.fake.seen["upload"]
    assert "x-goog-api-key" not in second.headers
    assert second.headers["content-length"] == str(order.length)


@pytest.mark.parametrize(
    ("step", "says", "kind"),
    [
        ("begin_upload", Says(503, {}), RetryLaterError),
        ("begin_upload", Says(403, {"error": {"status": "PERMISSION_DENIED"}}), RouteClosedError),
        ("begin_upload", Says(200, {}), ProviderError),
        ("upload", Says(500, {}), RetryLaterError),
        ("upload", Says(200, {}), RetryLaterError),
    ],
)
async def test_an_upload_that_fails(gemini: Bench, step: Any, says: Says, kind: type[Exception]) -> None:
    gemini.fake.will(step, says)
    with pytest.raises(kind):
        await gemini.service.upload(gemini.route, gemini.order(1))


async def test_an_upload_is_deleted_after_a_create_that_was_refused(gemini: Bench) -> None:
    order = gemini.order(1)
    upload = await gemini.service.upload(gemini.route, order)
    gemini.fake.will("create", Says(429, {"error": {"status": "RESOURCE_EXHAUSTED"}}))
    assert isinstance(await gemini.service.create(gemini.route, order, upload), Refused)
    await gemini.service.delete(gemini.route, upload, await gemini.poll("batches/none"))

    assert gemini.fake.files == {}


async def test_an_expired_batch_may_have_rows_for_some(gemini: Bench) -> None:
    gemini.fake.fate_of = lambda place: "answer" if place < 2 else "not_run"
    read = await gemini.run(gemini.order(5), ending="expired")

    assert gemini.status is not None
    assert (gemini.status.state, gemini.status.said, len(read)) == ("expired", "BATCH_STATE_EXPIRED", 2)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 8, "message": "quota"}, "queue_full"),
        ({"code": 3, "message": "bad file"}, "invalid"),
        ({"code": 13, "message": "internal"}, "unavailable"),
        ({"code": 7, "message": "denied"}, "route_closed"),
        (None, "unavailable"),
    ],
)
async def test_why_a_batch_failed(gemini: Bench, error: Any, kind: str) -> None:
    batch_id = await gemini.send(gemini.order(1))
    gemini.fake.say(batch_id, "JOB_STATE_FAILED")
    gemini.fake.batches[batch_id]["error"] = error

    status = await gemini.poll(batch_id)
    assert status.refusal is not None
    assert (status.state, status.refusal.kind, status.files) == ("failed", kind, ())


@pytest.mark.parametrize(
    ("error", "fault", "code"),
    [
        ({"code": 3, "message": "x"}, "refused", "INVALID_ARGUMENT"),
        ({"code": 8, "message": "x"}, "retry", "RESOURCE_EXHAUSTED"),
        ({"code": 14, "message": "x"}, "retry", "UNAVAILABLE"),
        ({"code": 7, "message": "x"}, "closes_route", "PERMISSION_DENIED"),
        ({"code": 1, "message": "x"}, "not_run", "CANCELLED"),
        ({"code": 400, "message": "x"}, "refused", "http_400"),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, "retry", "RESOURCE_EXHAUSTED"),
        ({"code": 99, "message": "x"}, "retry", "no_status"),
        (None, "retry", "no_status"),
    ],
)
def test_errors_by_numbers(error: Any, fault: str, code: str) -> None:
    line = read_keyed_line(msgspec.json.encode({"key": "l-1", **({"error": error} if error else {})}), VERDICTS)
    assert isinstance(line, FailedLine)
    assert (line.fault, line.code) == (fault, code)


@pytest.fixture
async def vertex() -> AsyncIterator[Bench]:
    async with opened("vertex") as found:
        yield found


async def test_a_row_whose_id_was_not_echoed_is_known_by_its_label(vertex: Bench) -> None:
    vertex.fake.echoes = False
    read = await vertex.run(vertex.order(3))

    assert {line.id for line in read} == vertex.requests.keys()


async def test_lines_and_results_lie_in_the_bucket_until_they_are_deleted(vertex: Bench) -> None:
    order = vertex.order(3)
    upload = await vertex.service.upload(vertex.route, order)
    assert upload == "gs://mill-results/promptmill/s-1-k7/lines.jsonl"
    created = await vertex.service.create(vertex.route, order, upload)
    assert isinstance(created, Created)
    vertex.fake.finish(created.id)
    await vertex.service.delete(vertex.route, upload, await vertex.poll(created.id))

    assert (vertex.fake.objects, vertex.fake.batches) == ({}, {})


async def test_results_in_a_bucket_of_others_are_not_read(vertex: Bench) -> None:
    batch_id = await vertex.send(vertex.order(1))
    vertex.fake.finish(batch_id)
    for folder in ("gs://others/promptmill/x", "gs://mill-results/elsewhere", "", None):
        vertex.fake.batches[batch_id]["outputInfo"] = {"gcsOutputDirectory": folder}
        assert (await vertex.poll(batch_id)).files == ()


async def test_a_token_that_is_refused_is_made_anew(vertex: Bench) -> None:
    order = vertex.order(1)
    upload = await vertex.service.upload(vertex.route, order)
    vertex.fake.tokens.live.clear()
    vertex.clock.advance(120)

    refused = await vertex.service.create(vertex.route, order, upload)
    assert isinstance(refused, Refused)
    assert (refused.kind, refused.code) == ("unavailable", "token_expired")
    vertex.fake.wrong.clear()
    assert isinstance(await vertex.service.create(vertex.route, order, upload), Created)


async def test_what_has_no_batches_at_vertex(vertex: Bench) -> None:
    vectors = msgspec.structs.replace(vertex.route, endpoint="embeddings")
    with pytest.raises(RouteClosedError, match="no_batches"):
        vertex.service.write_line(vectors, asking("Hi", kind="embedding"), line_id="l-1")
    for line_id in ("Upper", "x" * 64):
        with pytest.raises(ValueError, match="lower-case"):
            vertex.service.write_line(vertex.route, asking("Hi"), line_id=line_id)
    vertex.secrets.secrets["google-key"] = "an-api-key"
    order = vertex.order(1)
    with pytest.raises(RouteClosedError, match="no_batches"):
        await vertex.service.upload(vertex.route, order)
    for changes in ({"region": "x"}, {"account": ""}):
        refused = await vertex.service.create(msgspec.structs.replace(vertex.route, **changes), order, "gs://b/o")
        assert isinstance(refused, Refused)
        assert refused.kind == "route_closed"


@pytest.mark.parametrize(
    ("status", "fault", "code"),
    [
        (
            'Bad Request: {"error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}}',
            "refused",
            "INVALID_ARGUMENT",
        ),
        ('{"code": 8, "message": "m"}', "retry", "RESOURCE_EXHAUSTED"),
        ("Bad Request: no JSON here", "refused", "http_400"),
        ("UNAVAILABLE: try again", "retry", "UNAVAILABLE"),
        ("PERMISSION_DENIED", "closes_route", "PERMISSION_DENIED"),
        ("CANCELLED", "not_run", "CANCELLED"),
        ("something new", "retry", "no_status"),
        ({"error": {"code": 3, "message": "m"}}, "refused", "INVALID_ARGUMENT"),
        ("", "retry", "no_status"),
    ],
)
def test_statuses_of_rows(status: Any, fault: str, code: str) -> None:
    line = read_row(msgspec.json.encode({"id": "l-1", "request": {}, "status": status, "response": {}}), VERDICTS)
    assert isinstance(line, FailedLine), line
    assert (line.fault, line.code) == (fault, code)


def test_a_row_without_any_id_is_none() -> None:
    row = {"request": {"contents": []}, "status": "", "response": {"candidates": []}}
    assert read_row(msgspec.json.encode(row), VERDICTS) is None
    labelled = {**row, "id": None, "request": {"labels": {"promptmill_line": "l-1"}}}
    assert isinstance(read_row(msgspec.json.encode(labelled), VERDICTS), AnsweredLine)
