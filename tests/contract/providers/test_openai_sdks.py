"""The official SDKs get along with the fakes of OpenAI and of those who speak like it."""

from __future__ import annotations

from typing import Any

import openai as sdk
import perplexity
import pytest
from huggingface_hub import AsyncInferenceClient

from tests.fakes.providers import openai, openai_like
from tests.fakes.providers.behaviours import Answer, Behaviour, Refuse
from tests.fakes.providers.server import FakeProvider

HELLO: Any = [{"role": "user", "content": "Hi"}]


def client_of(fake: FakeProvider, *, key: str = openai.KEY, path: str = "/v1") -> sdk.AsyncOpenAI:
    return sdk.AsyncOpenAI(api_key=key, base_url=f"{fake.url}{path}", max_retries=0)


async def test_openais_responses() -> None:
    script: list[Behaviour] = [Answer("Hi."), Answer("Hi."), Refuse("throttled")]
    async with FakeProvider(openai.OpenAi(), script=script) as fake, client_of(fake) as client:
        whole = await client.responses.create(model="m", input="Hi", store=False)
        events = [event async for event in await client.responses.create(model="m", input="Hi", stream=True)]
        with pytest.raises(sdk.RateLimitError):
            await client.responses.create(model="m", input="Hi")

    assert fake.refused == []
    assert whole.output_text == "Hi."
    assert whole.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == fake.billed[0]
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "Hi."


async def test_openais_streams_completions_and_embeddings() -> None:
    async with FakeProvider(openai.OpenAi(), script=[Answer("Hi.")] * 3) as fake, client_of(fake) as client:
        options: Any = {"include_usage": True}
        stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True, stream_options=options)
        chunks = [chunk async for chunk in stream]
        text = await client.completions.create(model="m", prompt="Hi", max_tokens=5)
        texts = [c async for c in await client.completions.create(model="m", prompt="Hi", stream=True)]
        vectors = await client.embeddings.create(model="m", input=["a", "bb"], encoding_format="float")

    assert fake.refused == []
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hi."
    assert chunks[-1].usage is not None
    assert text.choices[0].text == "".join(c.choices[0].text for c in texts if c.choices) == "Hi."
    assert {v.index: v.embedding for v in vectors.data} == {0: [1.0, 0.5], 1: [2.0, 1.5]}


async def test_azures_older_address() -> None:
    key = openai_like.KEYS["azure"]
    async with (
        FakeProvider(openai_like.Azure()) as fake,
        sdk.AsyncAzureOpenAI(
            api_key=key, azure_endpoint=fake.url, api_version="2024-10-21", azure_deployment="my-luna", max_retries=0
        ) as client,
    ):
        answer = await client.chat.completions.create(model="my-luna", messages=HELLO)

    assert fake.refused == []
    assert answer.choices[0].message.content == "Blue."


@pytest.mark.parametrize("name", ["cloudflare", "huggingface", "ai21"])
async def test_others_by_openais_sdk_as_they_document(name: str) -> None:
    speakers: dict[str, tuple[Any, str, str]] = {
        "cloudflare": (
            openai_like.Cloudflare,
            f"/client/v4/accounts/{openai_like.ACCOUNT}/ai/v1",
            "@cf/openai/gpt-oss-120b",
        ),
        "huggingface": (openai_like.HuggingFace, "/v1", "openai/gpt-oss-120b:groq"),
        "ai21": (openai_like.Ai21, "/studio/v1", "jamba-mini"),
    }
    speaker, path, model = speakers[name]
    key = openai_like.KEYS[name]
    script: list[Behaviour] = [Answer("Hi."), Refuse("throttled")]
    async with FakeProvider(speaker(), script=script) as fake, client_of(fake, key=key, path=path) as client:
        answer = await client.chat.completions.create(model=model, messages=HELLO, max_tokens=9)
        with pytest.raises(sdk.APIStatusError):
            await client.chat.completions.create(model=model, messages=HELLO, max_tokens=9)

    assert fake.refused == []
    assert answer.choices[0].message.content == "Hi."


async def test_perplexitys_sdk() -> None:
    script: list[Behaviour] = [Answer("Hi."), Refuse("throttled"), Answer()]
    async with (
        FakeProvider(openai_like.Perplexity(), script=script) as fake,
        perplexity.AsyncPerplexity(api_key=openai_like.KEYS["perplexity"], base_url=fake.url, max_retries=0) as client,
    ):
        answer = await client.responses.create(model="perplexity/sonar", input="Hi")
        with pytest.raises(perplexity.RateLimitError):
            await client.responses.create(model="perplexity/sonar", input="Hi")
        vectors = await client.embeddings.create(model="pplx-embed-v1-4b", input=["Hi"])

    assert fake.refused == []
    assert answer.output_text == "Hi."
    assert answer.usage is not None
    assert answer.usage.cost is not None
    assert answer.usage.cost.total_cost == pytest.approx(0.00265)
    assert vectors.data is not None


async def test_hugging_faces_sdk() -> None:
    async with (
        FakeProvider(openai.OpenAi("vllm"), script=[Answer("Hi.")]) as fake,
        AsyncInferenceClient(base_url=f"{fake.url}/v1", api_key=openai.KEY) as client,
    ):
        answer = await client.chat_completion(HELLO, model="org/name", max_tokens=9)

    assert fake.refused == []
    assert answer.choices[0].message.content == "Hi."
