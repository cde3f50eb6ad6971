"""Replies of the documented shapes, whole, and what each cost by the rates that genai-prices 0.2.3 has, worked out by hand.

A dollar a million tokens is 1,000 nano-dollars a token.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from promptmill.domain.completion import Completion, CompletionRequest, Message, Text
from promptmill.domain.recipe import Route
from promptmill.domain.record import Price
from promptmill.prices.genai import GenaiPriceBook
from promptmill.wire import vertex_embeddings, vertex_gemini
from promptmill.wire.anthropic_messages import answer as anthropic_messages_answer
from promptmill.wire.bedrock_converse import answer as bedrock_converse_answer
from promptmill.wire.bedrock_invoke import claude, jamba, llama, titan
from promptmill.wire.http_answer import HttpAnswer

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
REQUEST = CompletionRequest(messages=(Message("user", (Text("abcd"),)),))
BOOK = GenaiPriceBook()
COUNTED = {
    "x-amzn-bedrock-input-token-count": "12",
    "x-amzn-bedrock-output-token-count": "3",
    "x-amzn-bedrock-cache-read-input-token-count": "1000",
    "x-amzn-bedrock-cache-write-input-token-count": "100",
}


def cost(provider: str, model: str, completion: Completion) -> Price:
    return BOOK.price(Route("r", provider, model), completion.usage, model=completion.model, at=AT)


def read(read_answer: Callable[..., Completion], raw: Any, headers: dict[str, str] | None = None) -> Completion:
    return read_answer(HttpAnswer(200, headers or {}, b""), raw, REQUEST, request_id="")


def message(model: str, **usage: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "Blue"}]
    return {"type": "message", "model": model, "content": content, "stop_reason": "end_turn", "usage": usage}


SONNET, HAIKU = "claude-sonnet-5-5", "claude-haiku-5-5"  # 2 / 10, read 0.1, write 2.5, for an hour 4; 0.1 / 0.5 to 100k
KEPT = {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100}


@pytest.mark.parametrize(
    ("model", "usage", "nano"),
    [
        (SONNET, {"input_tokens": 14, "output_tokens": 4}, 14 * 2_000 + 4 * 10_000),
        (
            SONNET,
            {"input_tokens": 14, "output_tokens": 4, "output_tokens_details": {"thinking_tokens": 3}},
            14 * 2_000 + 4 * 10_000,
        ),
        (SONNET, {"input_tokens": 14, "cache_read_input_tokens": 1_000, "output_tokens": 4}, 28_000 + 100_000 + 40_000),
        (
            SONNET,
            {"input_tokens": 14, "cache_creation_input_tokens": 300, "output_tokens": 4},
            28_000 + 750_000 + 40_000,
        ),
        (
            SONNET,
            {
                "input_tokens": 14,
                "cache_creation_input_tokens": 300,
                "cache_read_input_tokens": 1_000,
                "cache_creation": KEPT,
                "output_tokens": 4,
                "service_tier": "standard",
            },
            28_000 + 200 * 2_500 + 100 * 4_000 + 100_000 + 40_000,
        ),
        (
            HAIKU,
            {"input_tokens": 99_000, "cache_read_input_tokens": 1_000, "output_tokens": 10},
            9_900_000 + 10_000 + 5_000,
        ),
        (  # above 100,000 tokens of prompt, whose cached ones count, all of it costs five times as much
            HAIKU,
            {"input_tokens": 99_001, "cache_read_input_tokens": 1_000, "output_tokens": 10},
            99_001 * 500 + 1_000 * 50 + 10 * 2_500,
        ),
    ],
)
@pytest.mark.parametrize("provider", ["anthropic", "anthropic-aws", "vertex"])
def test_anthropics_messages(provider: str, model: str, usage: dict[str, Any], nano: int) -> None:
    completion = read(anthropic_messages_answer.read_answer, message(model, **usage))
    assert cost(provider, model, completion) == Price(nano, "bundled")


def test_anthropics_other_tier_has_no_price_that_we_know() -> None:
    raw = message(SONNET, input_tokens=14, output_tokens=4, service_tier="priority")
    assert cost("anthropic", SONNET, read(anthropic_messages_answer.read_answer, raw)) == Price(None, "unknown")


def test_anthropics_message_without_usage_is_estimated() -> None:
    raw = {"model": SONNET, "content": [{"type": "text", "text": "Blue"}]}
    completion = read(anthropic_messages_answer.read_answer, raw)
    assert cost("anthropic", SONNET, completion) == Price(2_000 + 10_000, "estimated")


EU_SONNET = "eu.anthropic.claude-sonnet-5-5"  # 2.2 / 11, read 0.11, write 2.75, for an hour 4.4
CACHED = {"inputTokens": 12, "outputTokens": 3, "cacheReadInputTokens": 1_000, "cacheWriteInputTokens": 100}


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        ({"inputTokens": 12, "outputTokens": 3, "totalTokens": 15}, 12 * 2_200 + 3 * 11_000),
        (CACHED, 26_400 + 33_000 + 1_000 * 110 + 100 * 2_750),
        (
            {**CACHED, "cacheDetails": [{"ttl": "1h", "inputTokens": 40}, {"ttl": "5m", "inputTokens": 60}]},
            26_400 + 33_000 + 110_000 + 60 * 2_750 + 40 * 4_400,
        ),
    ],
)
def test_bedrocks_converse(usage: dict[str, Any], nano: int) -> None:
    raw = {"output": {"message": {"content": [{"text": "Blue"}]}}, "stopReason": "end_turn", "usage": usage}
    assert cost("bedrock", EU_SONNET, read(bedrock_converse_answer.read_answer, raw)) == Price(nano, "bundled")


def test_claude_by_invoke_model() -> None:
    whole = read(claude.read_answer, message(SONNET, input_tokens=12, output_tokens=3))
    counted = read(claude.read_answer, {"content": [{"type": "text", "text": "x"}]}, COUNTED)

    assert cost("bedrock", EU_SONNET, whole) == Price(12 * 2_200 + 3 * 11_000, "bundled")
    assert cost("bedrock", EU_SONNET, counted) == Price(26_400 + 33_000 + 110_000 + 275_000, "bundled")


TITAN = {
    "inputTextTokenCount": 5,
    "results": [{"tokenCount": 3, "outputText": "Blue", "completionReason": "FINISH"}],
}
LLAMA = {"generation": "Blue", "prompt_token_count": 11, "generation_token_count": 2, "stop_reason": "stop"}
JAMBA = {"choices": [{"message": {"content": "Blue"}}], "usage": {"prompt_tokens": 14, "completion_tokens": 2}}


@pytest.mark.parametrize(
    ("read_answer", "raw", "model", "price"),
    [
        (titan.read_text_answer, TITAN, "amazon.titan-text-express-v1", Price(5 * 200 + 3 * 600, "bundled")),
        (llama.read_answer, LLAMA, "us.meta.llama3-3-70b-instruct-v1:0", Price(13 * 720, "bundled")),
        (jamba.read_answer, JAMBA, "ai21.jamba-1-5-large-v1:0", Price(14 * 2_000 + 2 * 8_000, "own-table")),
        (
            titan.read_embedding_answer,
            {"embedding": [0.5], "inputTextTokenCount": 7},
            "amazon.titan-embed-text-v2:0",
            Price(7 * 20, "bundled"),
        ),
    ],
)
def test_native_bodies_at_bedrock(
    read_answer: Callable[..., Completion], raw: dict[str, Any], model: str, price: Price
) -> None:
    assert cost("bedrock", model, read(read_answer, raw)) == price


FLASH, PRO = "gemini-3.8-flash", "gemini-2.5-pro"  # 0.75 / 3.75, read 0.075; 1.25 / 10, above 200k 2.5 / 15


@pytest.mark.parametrize(
    ("model", "counts", "nano"),
    [
        (FLASH, (12, 3, 0, 0), 12 * 750 + 3 * 3_750),
        (FLASH, (12, 3, 20, 0), 12 * 750 + 23 * 3_750),
        (FLASH, (12, 1, 0, 10), 2 * 750 + 10 * 75 + 3_750),
        (FLASH, (12, 0, 0, 0), 12 * 750),
        (PRO, (200_000, 1, 0, 0), 200_000 * 1_250 + 10_000),
        (PRO, (200_001, 1, 2, 1), 200_000 * 2_500 + 250 + 3 * 15_000),
    ],
)
def test_gemini(model: str, counts: tuple[int, int, int, int], nano: int) -> None:
    names = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount")
    told = {name: count for name, count in zip(names, counts, strict=True) if count}
    usage = {**told, "totalTokenCount": sum(counts[:3]), "trafficType": "ON_DEMAND"}
    candidate = {"content": {"role": "model", "parts": [{"text": "Blue"}]}, "finishReason": "STOP"}
    raw = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model}

    completion = vertex_gemini.read_answer(HttpAnswer(200, {}, b""), raw, REQUEST)

    assert cost("vertex", model, completion) == Price(nano, "bundled")


def test_geminis_vectors() -> None:
    embedding = {"values": [0.5], "statistics": {"token_count": 8, "truncated": False}}
    raw = {"predictions": [{"embeddings": embedding}]}

    completion = vertex_embeddings.read_answer(HttpAnswer(200, {}, b""), raw, REQUEST)

    assert cost("vertex", "gemini-embedding-001", completion) == Price(8 * 150, "bundled")
