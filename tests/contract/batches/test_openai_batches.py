"""What OpenAI's batch API alone does: two files of results, refusals after the create, counts that lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai as sdk
import pytest
from aiohttp import web

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import ProviderError, RecordError, RetryLaterError, RouteClosedError
from promptmill.ports.batch_service import BatchFault, BatchOrder, BatchUsage, Refused
from promptmill.providers.http import HttpCalls, StreamedBody
from promptmill.providers.url_policy import UrlPolicy
from promptmill.wire.batches.lines import AnsweredLine, FailedLine
from tests.contract.batches.conftest import Bench, asking, opened
from tests.fakes.batches.server import Says
from tests.fakes.clock import FakeClock
from tests.fakes.providers.openai import KEY


@pytest.fixture
async def openai() -> AsyncIterator[Bench]:
    async with opened("openai") as found:
        yield found


async def test_a_batch_whose_lines_all_failed_has_no_output_file(openai: Bench) -> None:
    openai.fake.fate_of = lambda _place: "refuse"
    read = await openai.run(openai.order(4))

    assert openai.status is not None
    assert (openai.status.state, len(openai.status.files)) == ("completed", 1)
    assert [line.code for line in read if isinstance(line, FailedLine)] == ["context_length_exceeded"] * 4


async def test_the_error_file_is_read_though_the_counts_say_that_nothing_failed(openai: Bench) -> None:
    openai.fake.lie = True
    openai.fake.fate_of = lambda place: "zero" if place else "answer"
    read = await openai.run(openai.order(3))

    assert openai.status is not None
    assert (openai.status.total, openai.status.succeeded, openai.status.failed) == (3, 1, 0)
    assert sorted(type(line).__name__ for line in read) == ["AnsweredLine", "FailedLine", "FailedLine"]


async def test_an_empty_error_file_is_read(openai: Bench) -> None:
    order = openai.order(1)
    batch_id = await openai.send(order)
    await openai.poll(batch_id)
    openai.fake.finish(batch_id)
    openai.fake.files["file-empty"] = b""
    openai.fake.batches[batch_id]["error_file_id"] = "file-empty"

    assert len(await openai.read(order, await openai.poll(batch_id))) == 1


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("token_limit_exceeded", "Enqueued token limit reached for gpt-6-luna in organization org-1.", "queue_full"),
        ("model_not_found", "The provided model is not supported.", "model_closed"),
        ("too_many_tasks", "The batch has too many requests.", "too_large"),
        ("billing_hard_limit_reached", "Billing hard limit has been reached.", "route_closed"),
        ("mismatched_model", "All lines must be of one model.", "invalid"),
        ("duplicate_custom_id", "The custom_id is not unique.", "invalid"),
    ],
)
async def test_a_batch_can_be_refused_as_a_whole_after_its_create(
    openai: Bench, code: str, message: str, kind: str
) -> None:
    openai.fake.whole_fault = (code, message)
    batch_id = await openai.send(openai.order(2))
    await openai.poll(batch_id)
    status = await openai.poll(batch_id)

    assert (status.state, status.files, status.faults) == ("failed", (), (BatchFault(code, message),))
    assert status.refusal is not None
    assert status.refusal.kind == kind


async def test_one_bad_line_is_named(openai: Bench) -> None:
    lines = [openai.service.write_line(openai.route, asking("Hi"), line_id="same") for _ in range(2)]
    batch_id = await openai.send(openai.staged(lines))
    await openai.poll(batch_id)
    status = await openai.poll(batch_id)

    assert [(fault.code, fault.line) for fault in status.faults] == [("duplicate_custom_id", 2)]
    assert status.refusal == Refused("invalid", "duplicate_custom_id", "The custom_id is not unique.")


async def test_a_queue_among_faults_of_lines_decides(openai: Bench) -> None:
    batch_id = await openai.send(openai.order(2))
    openai.fake.say(batch_id, "failed")
    faults = [{"code": "invalid_request", "message": "x"}, {"code": "token_limit_exceeded", "message": "y"}]
    openai.fake.batches[batch_id]["errors"] = {"data": faults}

    status = await openai.poll(batch_id)
    assert status.refusal == Refused("queue_full", "token_limit_exceeded", "y")
    openai.fake.batches[batch_id]["errors"] = None
    status = await openai.poll(batch_id)
    assert status.refusal == Refused("unavailable", "failed")


async def test_the_providers_own_total_of_tokens(openai: Bench) -> None:
    await openai.run(openai.order(3))

    assert openai.status is not None
    assert openai.status.usage == BatchUsage(63, 27)


async def test_what_the_service_is_told(openai: Bench) -> None:
    order = openai.order(1)
    batch_id = await openai.send(order)

    batch = openai.fake.batches[batch_id]
    assert batch["metadata"] == {"promptmill_submission": "s-1-k7"}
    assert (batch["endpoint"], batch["completion_window"]) == ("/v1/chat/completions", "24h")
    upload = openai.fake.seen["upload"][0]
    assert upload.headers["content-length"] == str(len(upload.data))
    assert "transfer-encoding" not in upload.headers
    assert b"".join([block async for block in order.read()]) in upload.data


@pytest.mark.parametrize("dialect", ["responses", "completions", "embeddings"])
async def test_other_endpoints(openai: Bench, dialect: Any) -> None:
    openai.route = msgspec.structs.replace(openai.route, endpoint=dialect)
    request = asking("Hi", kind="embedding" if dialect == "embeddings" else "completion")
    openai.requests = {"l-1": request}
    line = openai.service.write_line(openai.route, request, line_id="l-1")
    (read,) = await openai.run(openai.staged([line]))

    assert openai.fake.wrong == []
    assert isinstance(read, AnsweredLine)
    completion = openai.service.read_answer(openai.route, request, read)
    assert bool(completion.embeddings) == (dialect == "embeddings")
    assert completion.request_id == "req_0"


async def test_what_goes_live_only_is_no_line(openai: Bench) -> None:
    route = msgspec.structs.replace(openai.route, endpoint="responses", body={"background": True})
    with pytest.raises(RecordError, match="background: cannot be in a batch of OpenAI"):
        openai.service.write_line(route, asking("Hi"), line_id="l-1")


async def test_an_answer_that_holds_an_error_is_none(openai: Bench) -> None:
    for body in (b'{"error":{"code":"server_error"}}', b"{}", b'{"choices":[]}'):
        with pytest.raises(ProviderError):
            openai.service.read_answer(openai.route, CompletionRequest(messages=()), AnsweredLine("l-1", body))


def test_lines_as_others_have_seen_them() -> None:
    """Shapes of users' reports: see docs/batch-services.md."""
    seen: list[tuple[dict[str, Any], str, str]] = [
        ({"response": None, "error": {"code": "batch_expired", "message": "late"}}, "not_run", "batch_expired"),
        ({"response": None, "error": {"code": "batch_cancelled", "message": ""}}, "not_run", "batch_cancelled"),
        ({"response": {"status_code": 0, "body": {}}, "error": None}, "retry", "no_status"),
        ({"response": {"status_code": 200, "body": None}, "error": None}, "retry", "no_status"),
        ({"response": {"status_code": 500, "body": {"error": {"code": "server_error"}}}}, "retry", "server_error"),
        ({"response": {"status_code": 429, "body": {"error": {"type": "insufficient_quota"}}}}, "closes_route", ""),
        ({"response": {"status_code": 404, "body": {"error": {"code": "model_not_found"}}}}, "closes_route", ""),
        ({"response": {"status_code": 400, "body": {"error": {"message": "bad"}}}}, "refused", "http_400"),
        ({"error": "something went wrong"}, "retry", "no_status"),
        ({"error": {"code": 503, "message": "busy"}}, "retry", "503"),
    ]
    service = _service()
    for fields, fault, code in seen:
        line = service.read_line(b"\xef\xbb\xbf" + msgspec.json.encode({"custom_id": "l-1", **fields}) + b"\r\n")
        assert isinstance(line, FailedLine), fields
        assert (line.id, line.fault, line.code) == ("l-1", fault, code or line.code), fields


def test_a_paid_answer_in_odd_json_is_read() -> None:
    service = _service()
    for odd in (b'{"x":NaN}', b'{"x":"\\ud83d"}', b'{"x":"a\x01b"}', b'{"x":"\xff"}'):
        line = b'{"custom_id":"l-1","response":{"status_code":200,"body":' + odd + b"}}"
        read = service.read_line(b"\xef\xbb\xbf" + line + b"\r\n")
        assert isinstance(read, AnsweredLine), odd
        assert read.id == "l-1"


def _service() -> Any:
    async def make() -> Any:
        async with opened("openai") as bench:
            return bench.service

    return asyncio.run(make())


async def test_an_upload_that_fails_or_is_answered_by_nothing(openai: Bench) -> None:
    order = openai.order(1)
    openai.fake.will("upload", Says(503), Says(200, {}), Says(401, {"error": {"code": "invalid_api_key"}}))
    for kind in (RetryLaterError, RetryLaterError, RouteClosedError):
        with pytest.raises(kind):
            await openai.service.upload(openai.route, order)


@pytest.mark.parametrize("length", [10, 5_000])
async def test_a_body_of_another_length_than_was_said_breaks_the_call(openai: Bench, length: int) -> None:
    order = msgspec.structs.replace(openai.order(10), length=length)
    with pytest.raises(RetryLaterError) as caught:
        await openai.service.upload(openai.route, order)
    assert caught.value.usage_unknown


async def test_an_upload_is_read_no_faster_than_it_is_sent() -> None:
    """A body of 64 MB is never held as a whole: the server reads nothing until it may go on."""
    read, may_go_on = 0, asyncio.Event()

    async def blocks() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(64):
            read += 1
            yield b"x" * 1_000_000

    async def receive(request: web.Request) -> web.Response:
        await may_go_on.wait()
        total = 0
        async for chunk in request.content.iter_any():
            total += len(chunk)
        return web.Response(text=str(total))

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/", receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    http = HttpCalls(in_flight=1, policy=UrlPolicy(local=True), clock=FakeClock())
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    sending = asyncio.create_task(
        http.send("POST", url, body=StreamedBody(64_000_000, blocks), headers={}, timeout_s=60)
    )
    while read == 0 or not sending.done():
        before = read
        await asyncio.sleep(0.05)
        if read == before:
            break
    held = read
    may_go_on.set()
    answer = await sending
    await http.close()
    await runner.cleanup()

    assert (answer.body, read) == (b"64000000", 64)
    assert held < 20


async def test_results_may_lie_elsewhere_where_no_key_is_sent(openai: Bench) -> None:
    order = openai.order(2)
    batch_id = await openai.send(order)
    await openai.poll(batch_id)
    openai.fake.finish(batch_id)
    status = await openai.poll(batch_id)
    elsewhere = {"Location": f"{openai.fake.url}/v1/files/{status.files[0]}/content?signed=1"}
    openai.fake.will("read", Says(302, b"", elsewhere), Says(200, b'{"custom_id":"l-1"}'))

    assert [line.id for line in await openai.read(order, status)] == ["l-1"]
    first, second = openai.fake.seen["read"]
    assert ("authorization" in first.headers, "authorization" in second.headers) == (True, False)
    openai.fake.will("read", Says(302, b"", elsewhere), Says(302, b"", elsewhere))
    with pytest.raises(ProviderError):
        await openai.read(order, status)


async def test_the_sdk_gets_along_with_the_fake(openai: Bench) -> None:
    order = openai.order(2)
    data = b"".join([block async for block in order.read()])
    async with sdk.AsyncOpenAI(api_key=KEY, base_url=f"{openai.fake.url}/v1", max_retries=0) as client:
        file = await client.files.create(
            file=("lines.jsonl", data), purpose="batch", expires_after={"anchor": "created_at", "seconds": 86_400}
        )
        batch = await client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"promptmill_submission": order.label},
        )
        await client.batches.retrieve(batch.id)
        assert (await client.batches.retrieve(batch.id)).status == "in_progress"
        openai.fake.finish(batch.id)
        done = await client.batches.retrieve(batch.id)
        assert done.output_file_id is not None
        output = await client.files.content(done.output_file_id)
        with pytest.raises(sdk.ConflictError):
            await client.batches.cancel(batch.id)
        listed = [one async for one in client.batches.list(limit=1)]
        await client.files.delete(file.id)

    assert openai.fake.wrong == []
    assert (done.status, done.usage and done.usage.total_tokens) == ("completed", 60)
    assert [one.id for one in listed] == [batch.id]
    assert len(output.content.splitlines()) == 2
    # What the SDK has made is found as ours is: by its label, or by its upload.
    assert [found.id for found in await openai.find(order, "")] == [batch.id]
    unlabelled: BatchOrder = msgspec.structs.replace(order, label="other")
    assert [found.id for found in await openai.find(unlabelled, file.id)] == [batch.id]
