"""The official SDKs get along with the fakes of the clouds, streamed or not."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Any

import anthropic as anthropic_sdk
import boto3
import msgspec
import pytest
from anthropic.types import Message
from botocore.config import Config
from botocore.exceptions import EventStreamError

from tests.fakes.providers import anthropic, bedrock, vertex
from tests.fakes.providers.behaviours import Answer, Break
from tests.fakes.providers.server import FakeProvider

CLAUDE = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
AWS: dict[str, Any] = {
    "aws_access_key": bedrock.ACCESS_KEY,
    "aws_secret_key": bedrock.SECRET_KEY,
    "aws_session_token": bedrock.TOKEN,
    "aws_region": bedrock.REGION,
}
ASKED: dict[str, Any] = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
VERSIONS = {"bedrock": "bedrock-2023-05-31", "vertex": "vertex-2023-10-16"}
ANSWER = Answer("Hi there.", cache_read=4, cache_write=2, reasoning=3)


def bedrock_client(url: str) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name=bedrock.REGION,
        endpoint_url=url,
        aws_access_key_id=bedrock.ACCESS_KEY,
        aws_secret_access_key=bedrock.SECRET_KEY,
        aws_session_token=bedrock.TOKEN,
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )


async def test_boto3_streams_converse() -> None:
    async with FakeProvider(bedrock.Bedrock(), script=[ANSWER, Break("error")]) as fake:
        client = bedrock_client(fake.url)
        events, broken = await asyncio.to_thread(_converse_twice, client)
        client.close()

    assert fake.refused == []
    deltas = [event["contentBlockDelta"]["delta"].get("text", "") for event in events if "contentBlockDelta" in event]
    assert "".join(deltas) == "Hi there."
    assert events[-1]["metadata"]["usage"]["cacheReadInputTokens"] == 4
    assert broken == "throttlingException"


def _converse_twice(client: Any) -> tuple[list[dict[str, Any]], str]:
    asked = {"modelId": CLAUDE, "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    with closing(client.converse_stream(**asked)["stream"]) as stream:
        events = list(stream)
    with closing(client.converse_stream(**asked)["stream"]) as stream, pytest.raises(EventStreamError) as caught:
        list(stream)
    return events, caught.value.response["Error"]["Code"]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (CLAUDE, {"anthropic_version": "bedrock-2023-05-31", **ASKED}),
        ("amazon.titan-text-express-v1", {"inputText": "Hi"}),
        ("meta.llama3-8b-instruct-v1:0", {"prompt": "Hi"}),
        ("ai21.jamba-1-5-mini-v1:0", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("cohere.embed-english-v3", {"texts": ["Hi"], "input_type": "search_query"}),
    ],
)
async def test_boto3_invokes_models(model: str, body: dict[str, Any]) -> None:
    async with FakeProvider(bedrock.Bedrock(), script=[ANSWER, ANSWER]) as fake:
        client = bedrock_client(fake.url)
        whole, chunks = await asyncio.to_thread(_invoke_twice, client, model, msgspec.json.encode(body))
        client.close()

    assert fake.refused == []
    assert whole
    assert all(isinstance(chunk, dict) for chunk in chunks)
    assert "embed" in model or chunks[-1]["amazon-bedrock-invocationMetrics"]["outputTokenCount"] == 9


def _invoke_twice(client: Any, model: str, body: bytes) -> tuple[Any, list[Any]]:
    with client.invoke_model(modelId=model, body=body)["body"] as answer:
        whole = msgspec.json.decode(answer.read())
    if "embed" in model:
        return whole, []
    with closing(client.invoke_model_with_response_stream(modelId=model, body=body)["body"]) as events:
        return whole, [msgspec.json.decode(event["chunk"]["bytes"]) for event in events]


def clients(url: str, server: vertex.Vertex) -> dict[str, Any]:
    server.tokens.live.add("access-sdk")
    version = {"anthropic-version": "2023-06-01"}  # the SDK's own is 2026-10-21
    aws = {"base_url": url, "max_retries": 0, "default_headers": version, **AWS}
    return {
        "api": anthropic_sdk.AsyncAnthropic(
            api_key=anthropic.KEY, base_url=url, max_retries=0, default_headers={"x-api-key": anthropic.KEY, **version}
        ),
        "aws": anthropic_sdk.AsyncAnthropicAWS(workspace_id=anthropic.WORKSPACE, **aws),
        "bedrock": anthropic_sdk.AsyncAnthropicBedrock(**aws),
        "vertex": anthropic_sdk.AsyncAnthropicVertex(
            base_url=f"{url}/v1",
            region=vertex.LOCATION,
            project_id=vertex.PROJECT,
            access_token="access-sdk",
            max_retries=0,
        ),
    }


@pytest.mark.parametrize("host", ["api", "aws", "bedrock", "vertex"])
async def test_anthropics_sdk_at_each_of_its_hosts(host: str) -> None:
    server = vertex.Vertex()
    speakers = {"api": anthropic.Anthropic(), "aws": anthropic.Anthropic(on_aws=True), "bedrock": bedrock.Bedrock()}
    async with FakeProvider(speakers.get(host, server), script=[ANSWER, ANSWER]) as fake:  # type: ignore[arg-type]
        client = clients(fake.url, server)[host]
        model = CLAUDE if host == "bedrock" else "claude-haiku-5-5"
        asked = {**ASKED, "extra_body": {"anthropic_version": VERSIONS[host]} if host in VERSIONS else None}
        whole = await client.messages.create(model=model, **asked)
        async with client.messages.stream(model=model, **asked) as stream:
            streamed = await stream.get_final_message()
        await client.close()

    assert fake.refused == []
    assert [read(message) for message in (whole, streamed)] == [("Hi there.", 15, 4, 2, 9, "end_turn")] * 2


def read(message: Message) -> tuple[str, int, int | None, int | None, int, str | None]:
    text = "".join(block.text for block in message.content if block.type == "text")
    usage = message.usage
    cached = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    return text, usage.input_tokens, *cached, usage.output_tokens, message.stop_reason
