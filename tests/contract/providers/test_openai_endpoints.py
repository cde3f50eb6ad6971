"""OpenAI's endpoints at every endpoint that speaks them, streamed and not."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest

from promptmill.domain.completion import (
    CompletionRequest,
    JsonSchema,
    Message,
    Text,
    ToolCall,
)
from promptmill.domain.errors import ProviderError, RecordError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Route, Wire
from promptmill.providers.registry import HttpModelProviders
from tests.contract.providers.conftest import (
    EVERYTHING,
    SCHEMA,
    WEATHER,
    asking,
    fake_aws_session,
    local_settings,
    nothing_sent,
)
from tests.contract.providers.scenes import SCENES, opened
from tests.fakes.clock import FakeClock
from tests.fakes.providers import openai
from tests.fakes.providers.behaviours import Answer, Break, Reply
from tests.fakes.providers.openai_like import KEYS
from tests.fakes.providers.server import FakeProvider
from tests.fakes.secret_store import FakeSecretStore

SPOKEN = [
    (provider.name, endpoint)
    for provider in PROVIDERS.values()
    for endpoint in provider.endpoints
    if provider.wire_format.startswith("openai-") and endpoint not in ("embeddings", "moderations")
]


def embedding(*texts: str) -> CompletionRequest:
    return CompletionRequest(messages=tuple(Message("user", (Text(t),)) for t in texts), kind="embedding")


@pytest.mark.parametrize(("name", "endpoint"), SPOKEN)
async def test_a_stream_says_what_a_whole_answer_does(name: str, endpoint: str) -> None:
    answer = Answer("Blå himmel.", finish="length", input_tokens=30, cache_read=10, output_tokens=12, reasoning=4)
    async with opened(name, endpoint=endpoint) as stand:
        stand.will(answer, answer)
        whole = await stand.ask(asking())
        streamed = await stand.ask(asking(), stand.fork(stream=True))

    assert stand.fake.refused == []
    assert [sent.body.get("stream", False) for sent in stand.fake.sent] == [False, True]
    assert streamed.first_token_ms is not None
    usage = msgspec.structs.replace(streamed.usage, compute_us=whole.usage.compute_us)
    alike = msgspec.structs.replace(streamed, usage=usage, first_token_ms=None, raw={}, told=None)
    assert alike == msgspec.structs.replace(whole, raw={}, told=None)
    assert (whole.text, whole.finish_reason) == ("Blå himmel.", "length")


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("openai", "chat"),
        ("openai", "responses"),
        ("azure", "chat"),
        ("azure", "responses"),
        ("perplexity", "responses"),
        ("compatible", "responses"),
        ("local", "responses"),
    ],
)
async def test_nothing_is_stored_where_that_can_be_said(name: str, endpoint: str) -> None:
    async with opened(name, endpoint=endpoint) as stand:
        await stand.ask(asking())
    assert stand.fake.sent[0].body["store"] is False


@pytest.mark.parametrize("endpoint", ["chat", "responses"])
async def test_a_streamed_tool_call_is_put_together(endpoint: str) -> None:
    async with opened("openai", endpoint=endpoint, stream=True) as stand:
        stand.will(Answer("", finish="tool", tool_call=("weather", {"place": "東京", "days": [1, 2]})))
        completion = await stand.ask(asking(tools=(WEATHER,)))

    assert completion.tool_calls == (ToolCall("call_1", "weather", {"place": "東京", "days": [1, 2]}),)
    assert completion.finish_reason == "tool"


@pytest.mark.parametrize(("name", "endpoint"), SPOKEN)
async def test_heartbeats_do_not_keep_a_stalled_stream_alive(name: str, endpoint: str) -> None:
    async with opened(name, endpoint=endpoint, stream=True, stall_s=0.05) as stand:
        stand.will(Break("heartbeat"))
        with pytest.raises(RetryLaterError) as caught:
            await stand.ask(asking())
    assert (caught.value.code, caught.value.usage_unknown) == ("stalled", True)


async def test_an_error_in_mid_stream_is_classified_by_its_code() -> None:
    error = {"error": {"message": "m", "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}}
    begun = {"id": "c", "choices": [{"index": 0, "delta": {"content": "Bl"}, "finish_reason": None}]}
    body = b"".join(b"data: " + msgspec.json.encode(event) + b"\n\n" for event in (begun, error))
    async with opened("openai", stream=True) as stand:
        stand.will(Reply(200, body, {"Content-Type": "text/event-stream"}))
        with pytest.raises(RouteClosedError) as caught:
            await stand.ask(asking())
    assert (caught.value.code, caught.value.usage_unknown) == ("insufficient_quota", True)


async def test_a_server_that_answers_whole_where_a_stream_was_asked_for_has_answered() -> None:
    async with opened("compatible", stream=True) as stand:
        body = b'{"choices": [{"message": {"content": "Blue."}, "finish_reason": "stop"}]}'
        stand.will(Reply(200, body, {"Content-Type": "application/json"}))
        completion = await stand.ask(asking())
    assert (completion.text, completion.first_token_ms) == ("Blue.", None)


async def test_an_answer_that_ended_is_kept_though_its_connection_was_lost() -> None:
    begun = {"id": "c", "choices": [{"index": 0, "delta": {"content": "Blue."}, "finish_reason": "stop"}]}
    async with opened("compatible", stream=True) as stand:
        body = b"data: " + msgspec.json.encode(begun) + b"\n\n"
        stand.will(Reply(200, body, {"Content-Type": "text/event-stream"}))
        completion = await stand.ask(asking())
    assert (completion.text, completion.usage.source) == ("Blue.", "estimated")


async def test_responses_carry_everything_that_a_request_can_hold() -> None:
    request = msgspec.structs.replace(EVERYTHING, stop=())
    async with opened("openai", endpoint="responses") as stand:
        stand.will(Answer(finish="tool", tool_call=("weather", {"place": "東京"})))
        completion = await stand.ask(request)

    assert stand.fake.refused == []
    assert completion.tool_calls == (ToolCall("call_1", "weather", {"place": "東京"}),)
    body = stand.fake.sent[0].body
    kinds = [item["type"] for item in body["input"]]
    assert kinds == ["message", "message", "function_call", "function_call_output", "message"]
    assert (body["instructions"], body["store"], body["max_output_tokens"]) == ("Be brief.", False, 20)


@pytest.mark.parametrize("field", [{"stop": ("##",)}, {"seed": 1}, {"top_k": 4}])
async def test_responses_refuse_what_they_have_no_place_for(field: dict[str, Any]) -> None:
    async with opened("openai", endpoint="responses") as stand:
        with nothing_sent(stand), pytest.raises(RecordError) as caught:
            await stand.ask(asking(**field, refuse_hints=True))
    assert caught.value.field == next(iter(field))


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "m"}}, RetryLaterError, "server_error"),
        (
            {"status": "failed", "error": {"code": "invalid_prompt", "message": "m"}},
            RecordRefusedError,
            "invalid_prompt",
        ),
        ({"status": "failed", "error": {"message": "m", "type": "x", "code": 429}}, RetryLaterError, "x"),
        ({"status": "cancelled", "error": None, "output": []}, RetryLaterError, "response_cancelled"),
        ({"status": "in_progress", "output": []}, RetryLaterError, "malformed"),
    ],
)
@pytest.mark.parametrize("name", ["openai", "perplexity"])
async def test_a_response_that_failed_with_200_is_an_error_that_may_cost(
    name: str, body: dict[str, Any], kind: type[ProviderError], code: str
) -> None:
    async with opened(name, endpoint="responses") as stand:
        stand.will(Reply(200, msgspec.json.encode({"id": "resp_1", "object": "response", **body})))
        with pytest.raises(kind) as caught:
            await stand.ask(asking())
    assert (caught.value.code, caught.value.usage_unknown) == (code, True)


@pytest.mark.parametrize("endpoint", ["chat", "responses", "completions", "embeddings"])
async def test_azures_older_addresses_name_the_deployment_and_the_version(endpoint: str) -> None:
    request = embedding("a", "b") if endpoint == "embeddings" else asking()
    async with opened("azure", endpoint=endpoint, api_version="2024-10-21") as stand:
        await stand.ask(request)
        await stand.ask(request, stand.fork(api_version="", base_url=f"{stand.fake.url}/openai/v1/"))
        await stand.ask(request, stand.fork(api_version="preview"))

    assert stand.fake.refused == []
    assert [("api-version" in sent.path) for sent in stand.fake.sent] == [True, False, True]


async def test_azure_takes_a_token_in_place_of_a_key() -> None:
    async with opened("azure", wire=Wire(key_header="Authorization")) as stand:
        with pytest.raises(RouteClosedError):
            await stand.ask(asking())
    assert stand.fake.sent[0].headers["authorization"] == f"Bearer {KEYS['azure']}"
    assert "api-key" not in stand.fake.sent[0].headers


@pytest.mark.parametrize(
    ("wire", "sent"),
    [
        (Wire(max_tokens="max_new_tokens"), {"max_new_tokens": 20}),
        (Wire(system="developer"), {"messages": [{"role": "developer", "content": "Be brief."}, "..."]}),
        (Wire(system="user"), {"messages": [{"role": "user", "content": "Be brief.\n\nSky colour?"}]}),
        (Wire(answer_format="json_object"), {"response_format": {"type": "json_object"}}),
        (Wire(answer_format="none"), {"response_format": None}),
        (Wire(key_header="X-Key"), {}),
    ],
)
async def test_an_operator_tells_how_a_server_differs(wire: Wire, sent: dict[str, Any]) -> None:
    async with opened("compatible", wire=wire) as stand:
        with suppress(ProviderError):  # the fake knows none of these ways
            await stand.ask(asking(system="Be brief.", json_schema=JsonSchema(SCHEMA)))

    (seen,) = stand.fake.sent
    for name, value in sent.items():
        found: Any = seen.body.get(name)
        assert (found[0] if name == "messages" else found) == (value[0] if name == "messages" else value)
    assert ("x-key" in seen.headers) == bool(wire.key_header)


async def test_usage_that_may_not_be_asked_for_in_a_stream_is_estimated() -> None:
    async with opened("compatible", stream=True, wire=Wire(stream_usage=False)) as stand:
        completion = await stand.ask(asking())
    assert "stream_options" not in stand.fake.sent[0].body
    assert completion.usage.source == "estimated"


async def test_hugging_face_bills_whom_the_route_says() -> None:
    async with opened("huggingface", account="acme") as stand:
        await stand.ask(asking())
    assert stand.fake.sent[0].headers["x-hf-bill-to"] == "acme"


async def test_cloudflare_is_always_told_how_long_an_answer_may_be() -> None:
    async with opened("cloudflare") as stand:
        await stand.ask(asking(max_output_tokens=None))
    assert stand.fake.refused == []
    assert stand.fake.sent[0].body["max_tokens"] == 2048


async def test_gooseai_gets_turns_as_text_and_stops_before_the_next() -> None:
    async with opened("gooseai") as stand:
        await stand.ask(asking(system="Be brief.", stop=("##",)))
        await stand.ask(asking(), stand.fork(wire=Wire(turn="<{{ role }}>{{ text }}\n", reply="<assistant>")))
        await stand.ask(asking())

    bodies = [sent.body for sent in stand.fake.sent]
    assert bodies[0]["prompt"] == "system: Be brief.\nuser: Sky colour?\nassistant:"
    assert bodies[0]["stop"] == ["##", "\nuser:"]
    assert (bodies[1]["prompt"], "stop" in bodies[1]) == ("<user>Sky colour?\n<assistant>", False)
    assert bodies[2]["prompt"] == "Sky colour?"


@pytest.mark.parametrize("name", ["perplexity", "gooseai"])
async def test_a_field_that_a_strict_endpoint_does_not_know_is_not_sent(name: str) -> None:
    wire_format = PROVIDERS[name].wire_format
    async with opened(name) as stand:
        with nothing_sent(stand), pytest.raises(RecordError) as caught:
            await stand.ask(asking(wire_format=wire_format, native={"parallel_tool_calls": False}))
    assert caught.value.field == "parallel_tool_calls"


async def test_perplexity_says_itself_what_a_call_cost() -> None:
    async with opened("perplexity") as stand:
        whole = await stand.ask(asking())
        vectors = await stand.ask(embedding("sky", "sea!"), stand.fork(**SCENES["perplexity"].embedding))
    assert whole.usage.reported_nano_usd == 2_650_000
    assert vectors.usage.reported_nano_usd == 1_000
    assert vectors.embeddings == ((3.0, -1.0), (4.0, -1.0))


async def test_vectors_come_in_the_order_of_their_texts() -> None:
    async with opened("openai", endpoint="embeddings") as stand:
        completion = await stand.ask(embedding("a", "bbb", "cc"))
    assert completion.embeddings == ((1.0, 0.5), (3.0, 1.5), (2.0, 2.5))
    assert (completion.raw, completion.usage.input_total, completion.usage.output_total) == ({}, 21, 0)


@pytest.mark.parametrize(
    "data",
    [
        [],
        [{"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": []}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": "not base64!"}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [None]}],
    ],
)
async def test_vectors_that_are_missing_make_a_malformed_answer(data: list[Any]) -> None:
    async with opened("openai", endpoint="embeddings") as stand:
        stand.will(Reply(200, msgspec.json.encode({"data": data, "model": "m"})))
        with pytest.raises(RetryLaterError) as caught:
            await stand.ask(embedding("a", "b"))
    assert (caught.value.code, caught.value.usage_unknown) == ("malformed", True)


async def test_an_ordinary_request_is_embedded_where_the_route_says_so_and_a_conversation_is_not() -> None:
    async with opened("openai", endpoint="embeddings") as stand:
        completion = await stand.ask(asking(temperature=0.0))
        assert len(completion.embeddings) == 1
        with nothing_sent(stand), pytest.raises(RecordError) as caught:
            await stand.ask(asking(system="Be brief."))
    assert (caught.value.code, caught.value.field) == ("unsupported_field", "system")


async def test_a_prompt_that_seems_to_have_been_cut_is_noted() -> None:
    """Ollama reads as much as fits, and says nothing."""
    async with opened("compatible") as stand:
        stand.will(Answer(input_tokens=2_048), Answer(input_tokens=9_000))
        cut = await stand.ask(asking(Text("words " * 6_000)))
        whole = await stand.ask(asking(Text("words " * 6_000)))
    assert cut.notes == ("the model read 2048 tokens of a prompt of about 9000: it may have been cut",)
    assert whole.notes == ()


@pytest.mark.parametrize("status", [404, 410])
async def test_ai21s_former_host_is_said_to_have_ended(status: int) -> None:
    async with opened("ai21") as stand:
        stand.will(Reply(status, b'{"detail": "gone"}'))
        with pytest.raises(RouteClosedError) as elsewhere:
            await stand.ask(asking())
    assert elsewhere.value.code == f"http_{status}"


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached for gpt-6-luna. Please try again in 6m0s.", 360.0),
        ("Please try again in 20s. Visit the limits page", 20.0),
        ("Please try again in 250ms.", 0.25),
        ("Requests have exceeded call rate limit. Please retry after 26 seconds.", 26.0),
        ("Request was throttled. Your rate limit resets in ~30s.", 30.0),
        ("Please try again later.", None),
    ],
)
async def test_a_wait_told_in_words_is_kept(message: str, seconds: float | None) -> None:
    async with opened("openai") as stand:
        stand.will(Reply(429, msgspec.json.encode({"error": {"message": message, "code": "rate_limit_exceeded"}})))
        with pytest.raises(RetryLaterError) as caught:
            await stand.ask(asking())
    assert caught.value.retry_after_s == seconds


@pytest.mark.parametrize("stream", [False, True])
async def test_limits_are_told_by_answers(*, stream: bool) -> None:
    async with opened("openai") as stand:
        stand.route = msgspec.structs.replace(stand.route, stream=stream)
        completion = await stand.ask(asking())
        assert completion.told is not None
        assert completion.told() == ()
        body = {"choices": [{"message": {"content": "Blue."}, "finish_reason": "stop"}]}
        headers = {"x-ratelimit-limit-tokens": "9000", "Content-Type": "application/json"}
        stand.will(Reply(200, msgspec.json.encode(body), headers))
        stand.route = msgspec.structs.replace(stand.route, stream=False)
        completion = await stand.ask(asking())
        assert completion.told is not None
        assert [(limit.counted, limit.limit) for limit in completion.told()] == [("tokens", 9000)]


async def test_a_key_that_was_rotated_while_it_was_cached_does_not_close_the_route() -> None:
    async with FakeProvider(openai.OpenAi()) as fake:
        secrets = FakeSecretStore({"key": "sk-old"})
        secrets.rotated["key"] = openai.KEY
        providers = HttpModelProviders(
            settings=local_settings(), secrets=secrets, clock=FakeClock(), make_aws_session=fake_aws_session
        )
        route = Route("openai/m", "openai", "m", key="key", base_url=f"{fake.url}/v1")
        provider = providers.provider_for(route)
        with pytest.raises(RetryLaterError) as caught:
            await provider.complete(route, asking(), call_id="1")
        completion = await provider.complete(route, asking(), call_id="2")
        secrets.secrets["key"] = "sk-wrong"
        with pytest.raises(RouteClosedError):
            await provider.complete(route, asking(), call_id="3")
        await providers.close()

    assert (caught.value.code, caught.value.usage_unknown, completion.text) == ("key_rotated", False, "Blue.")
