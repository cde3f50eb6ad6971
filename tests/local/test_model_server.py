"""The dialects against llama.cpp's server: a server that nobody here wrote, and a real model with real figures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from promptmill.cli.local.model import RunningModel, start_model
from promptmill.cli.local.paths import CLONE, LocalPaths
from promptmill.cli.local.processes import stop
from promptmill.domain.completion import Completion, CompletionRequest, JsonSchema, Message, Text
from promptmill.domain.errors import RecordRefusedError
from promptmill.domain.recipe import Endpoint, Route
from promptmill.providers.registry import HttpModelProviders
from promptmill.system_clock import SystemClock
from tests.contract.providers.conftest import fake_aws_session, local_settings
from tests.fakes.secret_store import FakeSecretStore

DIALECTS: tuple[Endpoint, ...] = ("chat", "responses", "completions", "messages")
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["blue", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningModel]:
    """On one thread, in a folder of its own."""
    started = start_model(LocalPaths(CLONE, tmp_path_factory.mktemp("model")), tied=True, threads=1)
    if started.is_stub:
        stop(started.process)
        pytest.skip("the embedded model is not installed: run make model")
    try:
        yield started
    finally:
        stop(started.process)


@pytest.fixture
async def providers(model: RunningModel) -> AsyncIterator[HttpModelProviders]:
    providers = HttpModelProviders(
        settings=local_settings(local_model_url=model.url),
        secrets=FakeSecretStore({"any": "any"}),
        clock=SystemClock(),
        make_aws_session=fake_aws_session,
    )
    yield providers
    await providers.close()


def asking(text: str = "Which colour is the sky? One word.", **fields: Any) -> CompletionRequest:
    request = CompletionRequest(messages=(Message("user", (Text(text),)),), max_output_tokens=12, temperature=0.0)
    return msgspec.structs.replace(request, **fields)


async def ask(
    providers: HttpModelProviders, model: RunningModel, dialect: Endpoint, request: CompletionRequest, **fields: Any
) -> Completion:
    if dialect == "messages":
        route = Route("anthropic/m", "anthropic", "smollm2-135m", key="any", base_url=model.url, **fields)
    else:
        route = Route("local/m", "local", "smollm2-135m", endpoint=dialect, **fields)
    return await providers.provider_for(route).complete(route, request, call_id="c")


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_says_what_a_whole_answer_does(
    providers: HttpModelProviders, model: RunningModel, dialect: Endpoint
) -> None:
    whole = await ask(providers, model, dialect, asking())
    streamed = await ask(providers, model, dialect, asking(), stream=True)

    assert whole.text.strip()
    assert (streamed.text, streamed.finish_reason) == (whole.text, whole.finish_reason)
    for completion in (whole, streamed):
        assert completion.usage.source == "reported"
        assert completion.usage.input_total > 5
        assert 0 < completion.usage.output_total <= 12
        assert completion.usage.compute_us > 0
    assert whole.usage.output_total == streamed.usage.output_total
    assert whole.first_token_ms is None
    assert streamed.first_token_ms is not None
    assert 0 < streamed.first_token_ms <= streamed.usage.compute_us / 1000


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_that_is_cut_says_so(
    providers: HttpModelProviders, model: RunningModel, dialect: Endpoint
) -> None:
    request = asking("Count from one to one hundred.", max_output_tokens=5)
    for stream in (False, True):
        completion = await ask(providers, model, dialect, request, stream=stream)
        assert (completion.finish_reason, completion.usage.output_total) == ("length", 5)


async def test_a_schema_is_kept_to(providers: HttpModelProviders, model: RunningModel) -> None:
    """In the chat dialect: this server's responses know no schema."""
    request = asking(json_schema=JsonSchema(SCHEMA), max_output_tokens=30)
    for stream in (False, True):
        completion = await ask(providers, model, "chat", request, stream=stream)
        assert msgspec.json.decode(completion.text)["colour"] in ("blue", "green")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_does_not_fit_is_refused_by_its_name(
    providers: HttpModelProviders, model: RunningModel, dialect: Endpoint, *, stream: bool
) -> None:
    with pytest.raises(RecordRefusedError) as caught:
        await ask(providers, model, dialect, asking("word " * 20_000), stream=stream)
    assert caught.value.code == "context_length_exceeded"
