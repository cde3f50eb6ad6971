"""Where servers with OpenAI's batch API differ from OpenAI and from each other."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import openai as sdk
import perplexity
import pytest

from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.ports.batch_service import BatchFault, BatchOrder, Created, Refused
from promptmill.providers.batches.flavours import FLAVOURS, OPENAI_LIKE, SERVERS
from promptmill.providers.batches.registry import HttpBatchServices
from promptmill.providers.registry import Connections
from promptmill.wire.batches.lines import AnsweredLine
from promptmill.wire.batches.terms import TERMS
from tests.contract.batches.conftest import asking, opened
from tests.contract.providers.conftest import fake_aws_session, local_settings
from tests.fakes.batches.openai import OpenAiBatchServer
from tests.fakes.batches.server import Says
from tests.fakes.clock import FakeClock
from tests.fakes.providers import openai_like
from tests.fakes.secret_store import FakeSecretStore


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("", "/openai/v1/files"),
        ("preview", "/openai/v1/files?api-version=preview"),
        ("2025-04-01-preview", "/openai/files?api-version=2025-04-01-preview"),
    ],
)
async def test_azures_addresses(version: str, path: str) -> None:
    async with opened("azure") as azure:
        for base in ("", "/openai/v1", "/openai"):
            route = msgspec.structs.replace(azure.route, base_url=azure.fake.url + base, api_version=version)
            azure.fake.will("upload", Says(200, {"id": "file-1"}))
            azure.fake.will("", Says(200, {"id": "file-1"}))
            await azure.service.upload(route, azure.order(1))

        seen = [one.raw_path for kind in ("upload", "") for one in azure.fake.seen[kind]]
    assert seen == [path] * 3


async def test_azure_tells_less_and_says_failed_where_there_are_results() -> None:
    async with opened("azure") as azure:
        order = azure.order(2)
        batch_id = await azure.send(order)
        azure.fake.finish(batch_id)
        azure.fake.batches[batch_id] |= {"status": "failed", "request_counts": {"total": None, "completed": None}}
        status = await azure.poll(batch_id)

        assert (status.state, status.total, len(status.files)) == ("failed", None, 1)
        assert len(await azure.read(order, status)) == 2
        assert not (await azure.service.terms(azure.route)).expires


async def test_openais_sdk_at_azures_fake() -> None:
    async with opened("azure") as azure:
        order = azure.order(1)
        data = b"".join([block async for block in order.read()])
        key = openai_like.KEYS["azure"]
        async with sdk.AsyncOpenAI(
            api_key=key, base_url=f"{azure.fake.url}/openai/v1", max_retries=0, default_headers={"api-key": key}
        ) as client:
            expiry: Any = {"anchor": "created_at", "seconds": 1_209_600}
            file = await client.files.create(file=("lines.jsonl", data), purpose="batch", expires_after=expiry)
            batch = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )

        assert azure.fake.wrong == []
        assert [found.id for found in await azure.find(order, file.id)] == [batch.id]


async def test_perplexitys_sdk_at_its_fake() -> None:
    async with opened("perplexity") as bench:
        order = bench.order(2)
        data = b"".join([block async for block in order.read()])
        async with perplexity.AsyncPerplexity(
            api_key=openai_like.KEYS["perplexity"], base_url=bench.fake.url, max_retries=0
        ) as client:
            file = await client.files.create(file=("lines.jsonl", data), purpose="batch")
            batch = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/responses", completion_window="24h", idempotency_key="k-1"
            )
            bench.fake.finish(batch.id)
            found = await client.batches.retrieve(batch.id)

        assert bench.fake.wrong == []
        assert (found.status, found.request_counts.completed) == ("completed", 2)
        bench.fake.in_words_of_the_sdk(batch.id)


async def test_perplexity_is_told_one_name_for_one_create() -> None:
    async with opened("perplexity") as bench:
        await bench.send(bench.order(1))
        (create,) = bench.fake.seen["create"]

    assert create.headers["idempotency-key"] == "s-1-k7"
    assert create.json["metadata"] == {"promptmill_submission": "s-1-k7"}


async def test_perplexity_says_what_an_answer_cost() -> None:
    async with opened("perplexity") as bench:
        (line,) = await bench.run(bench.order(1))
        assert isinstance(line, AnsweredLine)
        body = msgspec.json.decode(line.body)
        body["usage"]["cost"] = {"currency": "USD", "total_cost": 0.00265}
        paid = msgspec.structs.replace(line, body=msgspec.json.encode(body))
        completion = bench.service.read_answer(bench.route, bench.requests[line.id], paid)

    assert completion.usage.reported_nano_usd == 2_650_000


@pytest.mark.parametrize(("hours", "window"), [(1, "24h"), (24, "24h"), (48, "2d"), (400, "7d")])
async def test_groqs_windows(hours: int, window: str) -> None:
    async with opened("groq") as groq:
        await groq.send(groq.order(1, window_h=hours))
        assert groq.fake.wrong == []
        assert groq.fake.seen["create"][0].json["completion_window"] == window


@pytest.mark.parametrize(("hours", "asked"), [(0, 1), (24, 24), (400, 168)])
async def test_mistrals_jobs_name_the_model_and_the_hours(hours: int, asked: int) -> None:
    async with opened("mistral") as mistral:
        batch_id = await mistral.send(mistral.order(1, window_h=hours))
        job = mistral.fake.seen["create"][0].json
        assert (job["model"], job["timeout_hours"]) == ("mistral-small-latest", asked)
        assert job["metadata"] == {"promptmill_submission": "s-1-k7"}
        mistral.fake.whole_fault = ("x", "Batch queue limit reached")
        await mistral.poll(batch_id)
        status = await mistral.poll(batch_id)

    assert status.faults == (BatchFault("failed", "Batch queue limit reached"),)
    assert status.refusal is not None
    assert status.refusal.kind == "queue_full"


async def test_together_takes_a_file_at_another_address() -> None:
    async with opened("together") as together:
        order = together.order(3)
        upload = await together.service.upload(together.route, order)
        assert together.fake.files[upload] == b"".join([block async for block in order.read()])
        together.fake.will("upload", Says(409, {"error": {"message": "on purpose"}}), Says(200, {}), Says(401, {}))
        for kind in (RetryLaterError, ProviderError, RouteClosedError):
            with pytest.raises(kind):
                await together.service.upload(together.route, order)
        together.fake.will("begin_upload", Says(503))
        with pytest.raises(RetryLaterError):
            await together.service.upload(together.route, order)


async def test_together_says_in_one_sentence_why_a_batch_failed() -> None:
    async with opened("together") as together:
        together.fake.whole_fault = ("x", "Batch queue limit reached")
        batch_id = await together.send(together.order(1))
        await together.poll(batch_id)
        status = await together.poll(batch_id)

    assert status.faults == (BatchFault("failed", "Batch queue limit reached"),)
    assert status.refusal == Refused("queue_full", "failed", "Batch queue limit reached")


async def test_a_create_is_found_in_a_wrapped_answer_only_where_it_has_an_id() -> None:
    async with opened("together") as together:
        order = together.order(1)
        upload = await together.service.upload(together.route, order)
        together.fake.will("create", Says(200, {"job": {"id": "b-1"}}), Says(200, {"job": None, "warning": "w"}))
        first, second = [await together.service.create(together.route, order, upload) for _ in range(2)]

    assert first == Created("b-1")
    assert not isinstance(second, Created | Refused)


def test_every_flavour_has_its_terms_and_every_host_its_flavour() -> None:
    assert {flavour.terms for flavour in FLAVOURS.values()} <= TERMS.keys()
    assert set(SERVERS.values()) <= FLAVOURS.keys()
    assert set(OPENAI_LIKE) <= FLAVOURS.keys()


async def test_the_local_stage_has_its_own_address() -> None:
    clock = FakeClock()
    async with OpenAiBatchServer(clock, expires=False) as fake:
        settings = local_settings(local_model_url=f"{fake.url}/v1")
        connections = Connections(settings=settings, clock=clock, make_aws_session=fake_aws_session)
        services = HttpBatchServices(connections, secrets=FakeSecretStore({}))
        route = Route("local/m", "local", "m")
        service = services.service_for(route)
        assert service is not None
        line = service.write_line(route, asking("Hi"), line_id="l-1")

        async def read() -> Any:
            yield line

        fake.will("upload", Says(200, {"id": "file-1"}))
        assert await service.upload(route, BatchOrder("s-1", 1, len(line), read)) == "file-1"
        await connections.close()

    assert "authorization" not in fake.seen["upload"][0].headers


def test_providers_without_batches_have_no_service() -> None:
    connections = Connections(settings=local_settings(), clock=FakeClock(), make_aws_session=fake_aws_session)
    services = HttpBatchServices(connections, secrets=FakeSecretStore({}))
    for name in ("replicate", "nlpcloud", "ai21", "gooseai", "bedrock", "nobody"):
        assert services.service_for(Route("r", name, "m")) is None
    route = Route("r", "openai", "m")
    assert services.service_for(route) is services.service_for(route)
    asyncio.run(connections.close())
