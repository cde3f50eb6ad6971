"""Usage as vendors report it, each in places of its own: what is billed is counted, and nothing is counted too low."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.completion import CompletionRequest, Message, Text, Usage
from promptmill.wire import vertex_gemini
from promptmill.wire.anthropic_messages import answer as anthropic_answer
from promptmill.wire.bedrock_converse import answer as converse_answer
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.openai_chat.usage import read_usage

REQUEST = CompletionRequest(messages=(Message("user", (Text("hi"),)),))
OK = HttpAnswer(200, {}, b"")


def told(usage: dict[str, Any], **more: Any) -> Usage:
    found = read_usage({"usage": usage, **more})
    assert found is not None
    return found


def counts(asked: int, answered: int, total: int | None = None, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": total, **more}


@pytest.mark.parametrize(
    ("usage", "output", "reasoning"),
    [
        # xAI and Gemini's compatible endpoint: reasoning beside the completion; the total holds it
        (counts(1000, 200, 3200, completion_tokens_details={"reasoning_tokens": 2000}), 2200, 2000),
        (counts(50, 20, 870), 820, 800),
        # OpenAI: reasoning within the completion
        (counts(1000, 2200, 3200, completion_tokens_details={"reasoning_tokens": 2000}), 2200, 2000),
        # no total: what exceeds the whole stands beside it
        (counts(10, 5, completion_tokens_details={"reasoning_tokens": 7}), 12, 7),
        (counts(10, 5, reasoning_tokens=3), 5, 3),
        # a total that is too small says nothing
        (counts(10, 5, 3), 5, 0),
        ({"prompt_tokens": 10, "total_tokens": 25}, 15, 0),
    ],
)
def test_reasoning_beside_the_completion_is_output(usage: dict[str, Any], output: int, reasoning: int) -> None:
    found = told(usage)
    assert (found.output_total, found.reasoning) == (output, reasoning)


@pytest.mark.parametrize(
    "where",
    [
        {"prompt_tokens_details": {"cached_tokens": 900}},
        {"cached_tokens": 900},  # Moonshot
        {"prompt_cache_hit_tokens": 900, "prompt_cache_miss_tokens": 100},  # DeepSeek
        {"cache_read_input_tokens": 900},  # gateways to Anthropic
        {"num_cached_tokens": 900},
        {"prompt_tokens_details": {"cached_tokens": 900.0}},
        {"prompt_tokens_details": {"cached_tokens": "900"}},
        {"prompt_tokens_details": None, "input_tokens_details": {"cache_read_input_tokens": 900}},
    ],
)
def test_cached_tokens_are_found_wherever_they_stand(where: dict[str, Any]) -> None:
    found = told(counts(1000, 10, 1010, **where))
    assert (found.input_total, found.cache_read, found.output_total) == (1000, 900, 10)


def test_cached_tokens_beside_the_prompt_belong_to_the_input() -> None:
    found = told(counts(100, 10, 1010, cache_read_input_tokens=900))
    assert (found.input_total, found.cache_read, found.output_total) == (1000, 900, 10)


@pytest.mark.parametrize(
    ("cost", "nano"),
    [
        ({"cost": 0.00123}, 1_230_000),  # OpenRouter
        ({"cost": "0.00123"}, 1_230_000),
        ({"cost": 0}, 0),
        ({"cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002}}, 2_100_000),
        ({"cost": 0.0001, "is_byok": True, "cost_details": {}}, None),
        ({"cost_in_usd_ticks": 12_300_000}, 1_230_000),  # xAI
        ({"cost": {"total_cost": 0.00265, "currency": "USD"}}, 2_650_000),  # Perplexity
        ({"cost": {"total_cost": 1, "currency": "EUR"}}, None),
        ({"estimated_cost": 0.00123}, 1_230_000),  # DeepInfra
        ({"cost": -1}, None),
        ({"cost": True}, None),
        ({"cost": None}, None),
        ({"cost": "free"}, None),
    ],
)
def test_a_cost_that_the_provider_reports_is_read(cost: dict[str, Any], nano: int | None) -> None:
    assert told(counts(1000, 100, 1100, **cost)).reported_nano_usd == nano


def test_sound_and_pictures_are_counted() -> None:
    usage = counts(
        1100,
        600,
        1700,
        prompt_tokens_details={"audio_tokens": 1000, "text_tokens": 100},
        completion_tokens_details={"audio_tokens": 500, "image_tokens": 50},
    )
    found = told(usage)
    assert (found.input_audio, found.output_audio, found.output_image) == (1000, 500, 50)


@pytest.mark.parametrize(
    ("more", "hosted"),
    [
        ({"output": [{"type": "web_search_call"}, {"type": "web_search_call"}]}, {"web_search": 2}),
        ({"output": [{"type": "function_call"}, {"type": "mcp_call"}, {"type": "message"}, None]}, {}),
        ({"output": [], "tool_usage": {"web_search": {"num_requests": 1}}}, {"web_search": 1}),
        ({"output": [{"type": "code_interpreter_call"}]}, {"code_interpreter": 1}),
    ],
)
def test_calls_of_hosted_tools_are_counted(more: dict[str, Any], hosted: dict[str, int]) -> None:
    assert told({"input_tokens": 10, "output_tokens": 5}, **more).hosted == hosted


def anthropic(usage: dict[str, Any]) -> Usage:
    raw = {"content": [], "usage": {"input_tokens": 10, "output_tokens": 5, **usage}}
    return anthropic_answer.read_answer(OK, raw, REQUEST, request_id="").usage


def test_anthropic_tells_searches_and_the_place() -> None:
    found = anthropic({"server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0}, "inference_geo": "us"})
    assert (found.hosted, found.place) == ({"web_search": 3}, "us")
    assert anthropic({"inference_geo": "not_available"}).place == ""
    assert anthropic({"speed": "fast", "service_tier": "standard"}).service_tier == "fast"


def test_anthropic_may_tell_its_cache_by_how_long_it_is_kept_alone() -> None:
    found = anthropic({"cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}})
    assert (found.input_total, found.cache_write, found.cache_write_1h) == (17, 7, 4)


def gemini(usage: dict[str, Any]) -> Usage:
    raw = {"candidates": [{"content": {"parts": []}}], "usageMetadata": {"promptTokenCount": 10, **usage}}
    return vertex_gemini.read_answer(OK, raw, REQUEST).usage


def test_gemini_tells_modalities_and_a_total() -> None:
    details = [{"modality": "TEXT", "tokenCount": 3}, {"modality": "AUDIO", "tokenCount": 7}]
    assert gemini({"promptTokensDetails": details}).input_audio == 7
    drawn = {"candidatesTokenCount": 9, "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 9}]}
    assert gemini(drawn).output_image == 9
    assert gemini({"candidatesTokenCount": 5, "totalTokenCount": 40}).output_total == 30


def test_converse_tells_the_latency_that_served_the_call() -> None:
    raw = {
        "output": {"message": {"content": []}},
        "usage": {"inputTokens": 1, "outputTokens": 1},
        "performanceConfig": {"latency": "optimized"},
    }
    assert converse_answer.read_answer(OK, raw, REQUEST, request_id="").usage.service_tier == "optimized"
