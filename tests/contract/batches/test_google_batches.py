"""What Google's batches alone do: an upload in two steps, errors by numbers of gRPC, rows without ids."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.ports.batch_service import Refused
from promptmill.providers.google.provider import VERDICTS
from promptmill.wire.batches.google import read_keyed_line
from promptmill.wire.batches.lines import FailedLine
from tests.contract.batches.conftest import Bench, opened
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
