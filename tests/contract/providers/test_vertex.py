"""Vertex AI: whose tokens, which address, what thinking costs, and vectors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from promptmill.domain.completion import CompletionRequest, Message, Text, Tool, ToolCall, ToolResult, Usage
from promptmill.domain.errors import ProviderError, RecordError, RecordRefusedError, RetryLaterError, RouteClosedError
from tests.contract.providers.conftest import Stand, local_settings, make_providers, nothing_sent, vertex_route
from tests.fakes.clock import FakeClock
from tests.fakes.providers import google_tokens, vertex
from tests.fakes.providers.behaviours import Answer, Break, Refuse, Reply
from tests.fakes.providers.server import FakeProvider

PLAIN = CompletionRequest(messages=(Message("user", (Text("Sky colour?"),)),), max_output_tokens=20)
FLASH, CLAUDE = "gemini-3.8-flash", "claude-haiku-5-5"
MODELS = "/v1/projects/project-1/locations/europe-west4/publishers"


class VertexStand(Stand):
    """With the server that gives out tokens, and the clock they age by."""

    def __init__(self, fake: FakeProvider, server: vertex.Vertex) -> None:
        self.clock, self.tokens = FakeClock(), server.tokens
        providers = make_providers(local_settings(), self.clock, url=fake.url)
        super().__init__("vertex", fake, providers, route=vertex_route(FLASH), base_path="")


@pytest.fixture
async def stand() -> AsyncIterator[VertexStand]:
    server = vertex.Vertex()
    async with FakeProvider(server) as fake:
        opened = VertexStand(fake, server)
        yield opened
        await opened.providers.close()


def paths(stand: Stand) -> list[str]:
    return [sent.path for sent in stand.fake.asides]


EXCHANGES = {
    "google-key": ["/token"],
    "google-pool": ["/v1/token", f"/v1/projects/-/serviceAccounts/{google_tokens.EMAIL}:generateAccessToken"],
}


@pytest.mark.parametrize("key", EXCHANGES)
async def test_a_token_is_made_once_and_anew_before_it_ends(stand: VertexStand, key: str) -> None:
    route = stand.fork(key=key)
    await stand.ask(PLAIN, route)
    stand.clock.advance(54 * 60)
    await stand.ask(PLAIN, route)
    assert paths(stand) == EXCHANGES[key]

    stand.clock.advance(2 * 60)
    await stand.ask(PLAIN, route)

    assert paths(stand) == EXCHANGES[key] * 2
    assert stand.fake.refused == []


async def test_calls_side_by_side_wait_for_one_token(stand: VertexStand) -> None:
    await asyncio.gather(*(stand.ask(PLAIN) for _ in range(20)))

    assert paths(stand) == ["/token"]


async def test_a_federated_token_is_no_access_token(stand: VertexStand) -> None:
    """A pool without a service account to act as gives a token that this fake's models do not take."""
    with pytest.raises(RouteClosedError):
        await stand.ask(PLAIN, stand.fork(key="google-pool-alone"))
    assert paths(stand) == ["/v1/token"]


async def test_a_revoked_token_is_made_anew_for_the_next_attempt(stand: VertexStand) -> None:
    await stand.ask(PLAIN)
    stand.tokens.live.clear()
    stand.clock.advance(120)

    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(PLAIN)
    assert (caught.value.code, caught.value.usage_unknown) == ("token_expired", False)

    assert (await stand.ask(PLAIN)).text == "Blue."


@pytest.mark.parametrize("stream", [False, True])
async def test_a_new_token_that_is_refused_closes_the_route(stand: VertexStand, stream: bool) -> None:
    await stand.ask(PLAIN)
    stand.tokens.live.clear()

    with pytest.raises(RouteClosedError) as caught:
        await stand.ask(PLAIN, stand.fork(stream=stream))
    assert caught.value.code == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("secret", "code"),
    [
        ('{"type": "authorized_user", "refresh_token": "x"}', "credentials_malformed"),
        ('{"type": "service_account", "client_email": "a@b"}', "credentials_malformed"),
        ('{"type": "service_account", "client_email": "a@b", "private_key": "none"}', "credentials_malformed"),
        (
            '{"type": "service_account", "client_email": "a@b", "private_key": "k", "token_uri": "https://evil.example/"}',
            "credentials_refused",
        ),
        (
            '{"type": "external_account", "audience": "a", "token_url": "https://sts.googleapis.com.evil.example/"}',
            "credentials_refused",
        ),
        (
            '{"type": "external_account", "audience": "a", "service_account_impersonation_url": "https://evil.example/"}',
            "credentials_refused",
        ),
        ('{"type": "external_account", "audience": "a", "subject_token_type": "jwt"}', "credentials_malformed"),
    ],
)
async def test_credentials_that_are_none_or_lead_elsewhere(stand: VertexStand, secret: str, code: str) -> None:
    stand.providers._secrets.secrets["google-key"] = secret  # type: ignore[attr-defined]

    with nothing_sent(stand), pytest.raises(RouteClosedError) as caught:
        await stand.ask(PLAIN)
    assert caught.value.code == code
    assert "private_key" not in caught.value.detail


async def test_a_key_that_google_does_not_know_closes_the_route(stand: VertexStand) -> None:
    secrets = stand.providers._secrets.secrets  # type: ignore[attr-defined]
    secrets["google-key"] = secrets["google-key"].replace(google_tokens.EMAIL, "somebody@else.example")

    with nothing_sent(stand), pytest.raises(RouteClosedError) as caught:
        await stand.ask(PLAIN)
    assert (caught.value.code, caught.value.detail) == ("token_refused", "Google gave no token (invalid_grant)")


async def test_a_rotated_key_makes_its_own_token(stand: VertexStand) -> None:
    await stand.ask(PLAIN)
    secrets = stand.providers._secrets.secrets  # type: ignore[attr-defined]
    document = msgspec.json.decode(secrets["google-key"])
    secrets["google-key"] = msgspec.json.encode({**document, "private_key_id": "key-2"}).decode()

    with pytest.raises(RouteClosedError, match="token_refused"):  # the fake knows key-1 only
        await stand.ask(PLAIN)
    assert paths(stand) == ["/token", "/token"]


async def test_an_api_key_names_no_project(stand: VertexStand) -> None:
    await stand.ask(PLAIN, stand.fork(key="google-express", account="", region=""))

    assert stand.fake.refused == []
    assert stand.fake.sent[0].path == f"/v1/publishers/google/models/{FLASH}:generateContent"
    assert stand.fake.asides == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({}, f"{MODELS}/google/models/{FLASH}:generateContent"),
        ({"stream": True}, f"{MODELS}/google/models/{FLASH}:streamGenerateContent?alt=sse"),
        ({"model": CLAUDE}, f"{MODELS}/anthropic/models/{CLAUDE}:rawPredict"),
        ({"model": CLAUDE, "stream": True}, f"{MODELS}/anthropic/models/{CLAUDE}:streamRawPredict"),
        ({"model": "endpoints/123"}, "/v1/projects/project-1/locations/europe-west4/endpoints/123:generateContent"),
    ],
)
async def test_addresses(stand: VertexStand, changes: dict[str, Any], path: str) -> None:
    await stand.ask(PLAIN, stand.fork(**changes))

    assert stand.fake.refused == []
    assert stand.fake.sent[0].path == path


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"region": ""}, "bad_region"),
        ({"region": "evil.example/"}, "bad_region"),
        ({"account": ""}, "account_missing"),
        ({"account": "../../p"}, "account_missing"),
        ({"key": ""}, "key_missing"),
    ],
)
async def test_routes_that_lack_something(stand: VertexStand, changes: dict[str, Any], code: str) -> None:
    with nothing_sent(stand), pytest.raises(RouteClosedError) as caught:
        await stand.ask(PLAIN, stand.fork(**changes))
    assert caught.value.code == code


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [FLASH, CLAUDE])
async def test_thoughts_are_output_and_no_text(stand: VertexStand, model: str, stream: bool) -> None:
    stand.will(Answer("Blå himmel.", input_tokens=12, output_tokens=23, reasoning=20))

    completion = await stand.ask(PLAIN, stand.fork(model=model, stream=stream))

    assert (completion.text, completion.finish_reason) == ("Blå himmel.", "stop")
    assert completion.usage == Usage(input_total=12, output_total=23, reasoning=20)
    assert completion.first_token_ms == (0 if stream else None)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_whole_answer_is_the_same_streamed_or_not(stand: VertexStand, stream: bool) -> None:
    stand.will(Answer("Blå himmel.", finish="tool", tool_call=("look", {"at": "himmel"}), cache_read=5))
    request = CompletionRequest(messages=PLAIN.messages, tools=(Tool("look", "", {"type": "object"}),))

    completion = await stand.ask(request, stand.fork(stream=stream))

    assert completion.tool_calls == (ToolCall("call_1", "look", {"at": "himmel"}),)
    assert (completion.finish_reason, completion.model, completion.request_id) == ("tool", f"{FLASH}-001", "req_fake_1")
    assert completion.usage == Usage(input_total=21, cache_read=5, output_total=9)
    parts = completion.raw["candidates"][0]["content"]["parts"]
    assert [part.get("text") for part in parts] == ["hm", "Blå himmel.", None]


BLOCKED = {
    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
    "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_was_blocked_is_filtered_and_counted(stand: VertexStand, stream: bool) -> None:
    body = msgspec.json.encode(BLOCKED)
    stand.will(Reply(200, b"data: " + body + b"\n\n" if stream else body))

    completion = await stand.ask(PLAIN, stand.fork(stream=stream))

    assert (completion.text, completion.finish_reason, completion.raw_finish) == ("", "filter", "PROHIBITED_CONTENT")
    assert completion.usage == Usage(input_total=9)


@pytest.mark.parametrize(
    ("finish", "ours"),
    [
        ("SPII", "filter"),
        ("RECITATION", "filter"),
        ("BLOCKLIST", "filter"),
        ("MODEL_ARMOR", "filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("OTHER", "error"),
        ("SOMETHING_NEW", "unknown"),
    ],
)
async def test_finish_reasons_without_content(stand: VertexStand, finish: str, ours: str) -> None:
    stand.will(Reply(200, msgspec.json.encode({"candidates": [{"finishReason": finish}]})))

    completion = await stand.ask(PLAIN)

    assert (completion.text, completion.finish_reason, completion.raw_finish) == ("", ours, finish)


@pytest.mark.parametrize(
    ("metadata", "usage"),
    [
        (
            {"promptTokenCount": 12, "candidatesTokenCount": 3, "thoughtsTokenCount": 20, "totalTokenCount": 35},
            Usage(input_total=12, output_total=23, reasoning=20),
        ),
        ({"promptTokenCount": 12, "totalTokenCount": 12}, Usage(input_total=12)),
        (
            {"promptTokenCount": 12, "toolUsePromptTokenCount": 8, "candidatesTokenCount": 1, "totalTokenCount": 21},
            Usage(input_total=20, output_total=1),
        ),
        (
            {"promptTokenCount": 12, "cachedContentTokenCount": 10, "candidatesTokenCount": 1, "totalTokenCount": 13},
            Usage(input_total=12, cache_read=10, output_total=1),
        ),
        (
            {"promptTokenCount": 1, "totalTokenCount": 1, "trafficType": "PROVISIONED_THROUGHPUT"},
            Usage(input_total=1, service_tier="provisioned_throughput"),
        ),
        ({}, Usage(input_total=3, output_total=1, source="estimated")),
    ],
)
async def test_usage_in_its_variants(stand: VertexStand, metadata: dict[str, Any], usage: Usage) -> None:
    body = {
        "candidates": [{"content": {"parts": [{"text": "Blå"}]}, "finishReason": "STOP"}],
        "usageMetadata": metadata,
    }
    stand.will(Reply(200, msgspec.json.encode(body)))

    assert (await stand.ask(PLAIN)).usage == usage


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (
            b'[{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]',
            RetryLaterError,
            "RESOURCE_EXHAUSTED",
        ),
        (
            b'{"type": "error", "error": {"type": "overloaded_error", "message": "m"}}',
            RetryLaterError,
            "overloaded_error",
        ),
        (
            b'{"type": "error", "error": {"type": "invalid_request_error", "message": "m"}}',
            RetryLaterError,
            "invalid_request_error",
        ),
    ],
)
async def test_errors_of_google_and_of_anthropic_behind_it(
    stand: VertexStand, body: bytes, kind: type[ProviderError], code: str
) -> None:
    stand.will(Reply(429, body))
    with pytest.raises(kind) as caught:
        await stand.ask(PLAIN)
    assert caught.value.code == code


@pytest.mark.parametrize("model", [FLASH, CLAUDE])
@pytest.mark.parametrize(
    ("how", "codes"),
    [
        ("error", {"RESOURCE_EXHAUSTED", "overloaded_error"}),
        ("cut", {"connection_lost"}),
        ("end", {"stream_cut"}),
    ],
)
async def test_a_stream_that_breaks(stand: VertexStand, model: str, how: Any, codes: set[str]) -> None:
    stand.will(Break(how))
    with pytest.raises(ProviderError) as caught:
        await stand.ask(PLAIN, stand.fork(model=model, stream=True))
    assert caught.value.code in codes
    assert caught.value.usage_unknown


async def test_an_error_before_a_stream_begins(stand: VertexStand) -> None:
    stand.will(Refuse("too_long"))
    with pytest.raises(RecordRefusedError) as caught:
        await stand.ask(PLAIN, stand.fork(stream=True))
    assert (caught.value.code, caught.value.usage_unknown) == ("context_length_exceeded", False)


async def test_a_tools_answer_without_its_call_is_refused(stand: VertexStand) -> None:
    request = CompletionRequest(messages=(Message("user", (ToolResult("call_9", "rain"),)),))
    with nothing_sent(stand), pytest.raises(RecordError) as caught:
        await stand.ask(request)
    assert (caught.value.code, caught.value.field) == ("unsupported_field", "messages")


async def test_a_strict_tool_is_refused(stand: VertexStand) -> None:
    request = CompletionRequest(messages=PLAIN.messages, tools=(Tool("look", "", {"type": "object"}, strict=True),))
    with nothing_sent(stand), pytest.raises(RecordError) as caught:
        await stand.ask(request)
    assert caught.value.field == "tools"


def embedding(*texts: str, dimensions: int | None = None) -> CompletionRequest:
    messages = tuple(Message("user", (Text(text),)) for text in texts)
    return CompletionRequest(messages=messages, kind="embedding", dimensions=dimensions)


@pytest.mark.parametrize(
    ("model", "request_", "body", "vectors"),
    [
        (
            "text-embedding-005",
            embedding("sky", "sea", dimensions=64),
            {
                "instances": [{"content": "sky"}, {"content": "sea"}],
                "parameters": {"autoTruncate": False, "outputDimensionality": 64},
            },
            ((0.0, 1.5), (1.0, 1.5)),
        ),
        (
            "gemini-embedding-001",
            embedding("sky"),
            {"instances": [{"content": "sky"}], "parameters": {"autoTruncate": False}},
            ((0.0, 1.5),),
        ),
        (
            "gemini-embedding-2",
            embedding("sky", dimensions=64),
            {
                "content": {"parts": [{"text": "sky"}]},
                "embedContentConfig": {"autoTruncate": False, "outputDimensionality": 64},
            },
            ((0.5, -0.25),),
        ),
    ],
)
async def test_vectors(
    stand: VertexStand, model: str, request_: CompletionRequest, body: dict[str, Any], vectors: object
) -> None:
    stand.will(Answer(input_tokens=8, output_tokens=0))

    completion = await stand.ask(request_, stand.fork(model=model))

    assert stand.fake.refused == []
    assert stand.fake.sent[0].body == body
    assert completion.embeddings == vectors
    assert completion.usage == Usage(input_total=8)


@pytest.mark.parametrize(
    ("model", "request_"),
    [
        ("gemini-embedding-2", embedding("sky", "sea")),
        ("text-embedding-005", embedding(*["sky"] * 251)),
        (FLASH, embedding("sky")),
        (CLAUDE, embedding("sky")),
    ],
)
async def test_vectors_that_are_not_made(stand: VertexStand, model: str, request_: CompletionRequest) -> None:
    with nothing_sent(stand), pytest.raises(RecordError) as caught:
        await stand.ask(request_, stand.fork(model=model))
    assert (caught.value.code, caught.value.field) == ("unsupported_field", "input")
