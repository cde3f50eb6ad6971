"""The official SDKs get along with the fakes: what the fakes check is what the protocols are."""

from __future__ import annotations

import asyncio

import anthropic as anthropic_sdk
import boto3
import openai as openai_sdk
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.fakes.providers import anthropic, bedrock, openai
from tests.fakes.providers.behaviours import Answer, Refuse
from tests.fakes.providers.server import FakeProvider


async def test_the_openai_sdk() -> None:
    async with (
        FakeProvider(openai.OpenAi(), script=[Answer("Hi."), Refuse("throttled")]) as fake,
        openai_sdk.AsyncOpenAI(api_key=openai.KEY, base_url=f"{fake.url}/v1", max_retries=0) as client,
    ):
        ask = client.chat.completions.create
        answer = await ask(model="gpt-6-luna", messages=[{"role": "user", "content": "Hi"}])
        with pytest.raises(openai_sdk.RateLimitError):
            await ask(model="gpt-6-luna", messages=[{"role": "user", "content": "Hi"}])

    assert answer.choices[0].message.content == "Hi."
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == fake.billed[0]


async def test_the_anthropic_sdk() -> None:
    headers = {"x-api-key": anthropic.KEY, "anthropic-version": "2023-06-01"}
    async with (
        FakeProvider(anthropic.Anthropic(), script=[Answer("Hi."), Refuse("throttled")]) as fake,
        anthropic_sdk.AsyncAnthropic(
            api_key=anthropic.KEY, base_url=fake.url, max_retries=0, default_headers=headers
        ) as client,
    ):
        ask = client.messages.create
        answer = await ask(model="claude-x", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
        with pytest.raises(anthropic_sdk.RateLimitError):
            await ask(model="claude-x", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])

    assert [block.text for block in answer.content if block.type == "text"] == ["Hi."]
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == fake.billed[0]


async def test_boto3() -> None:
    async with FakeProvider(bedrock.Bedrock(), script=[Answer("Hi."), Refuse("throttled")]) as fake:
        client = boto3.client(
            "bedrock-runtime",
            region_name=bedrock.REGION,
            endpoint_url=fake.url,
            aws_access_key_id=bedrock.ACCESS_KEY,
            aws_secret_access_key=bedrock.SECRET_KEY,
            aws_session_token=bedrock.TOKEN,
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        asked = {
            "modelId": "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc",
            "messages": [
                {
                    "role": "user",
                    "content": [{"text": "Hi"}, {"image": {"format": "png", "source": {"bytes": b"\x89"}}}],
                }
            ],
        }
        answer = await asyncio.to_thread(client.converse, **asked)
        with pytest.raises(ClientError) as caught:
            await asyncio.to_thread(client.converse, **asked)
        client.close()

    assert fake.refused == []
    assert answer["output"]["message"]["content"][-1]["text"] == "Hi."
    assert (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]) == fake.billed[0]
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
