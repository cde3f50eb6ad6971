"""Read the usage that servers report which speak OpenAI's APIs: each puts some of it somewhere else."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from promptmill.domain.completion import Usage
from promptmill.wire.json_answers import make_usage, read_nano_usd
from promptmill.wire.loose_json import as_count, as_object, count_in

_CACHED = ("cached_tokens", "cache_read_input_tokens", "cache_read_tokens", "prompt_cache_hit_tokens")
_CACHED_BESIDE = (*_CACHED, "num_cached_tokens", "cached_prompt_tokens")
_WRITTEN = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens", "cache_write_input_tokens")
_COSTS = ("cost", "estimated_cost", "total_cost")
_TICKS_PER_USD = 10_000_000_000
_DOLLARS = (None, "USD", "usd")


def read_usage(raw: Any) -> Usage | None:
    """Return the usage of an answer, or None if it reports none that makes sense.

    ``total_tokens`` decides where the parts leave something out: some servers count reasoning, others what was read
    from a cache, beside the tokens that they name.
    """
    answer = as_object(raw)
    usage = as_object(answer.get("usage"))
    counts = _read_counts(usage)
    if counts is None:
        return None
    asked, answered, total = counts
    read_in = as_object(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    written_out = as_object(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    cached = count_in(read_in, *_CACHED) or count_in(usage, *_CACHED_BESIDE)
    written = count_in(read_in, *_WRITTEN) or count_in(usage, *_WRITTEN)
    reasoning = count_in(written_out, "reasoning_tokens") or count_in(usage, "reasoning_tokens")
    beside = total - asked - answered
    if beside > 0 and beside == cached + written:
        asked += beside
    elif beside > 0:
        answered, reasoning = answered + beside, max(reasoning, beside)
    elif reasoning > answered:
        answered += reasoning
    return make_usage(
        input_total=asked,
        cache_read=cached,
        cache_write=written,
        output_total=answered,
        reasoning=reasoning,
        service_tier=read_tier(answer),
        reported_nano_usd=_read_cost(usage),
        input_audio=count_in(read_in, "audio_tokens"),
        output_audio=count_in(written_out, "audio_tokens"),
        output_image=count_in(written_out, "image_tokens"),
        hosted=_read_hosted(answer, usage),
    )


def _read_counts(usage: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Return the tokens of input, of output and of both."""
    asked = _first_count(usage, "prompt_tokens", "input_tokens")
    answered = _first_count(usage, "completion_tokens", "output_tokens")
    total = _first_count(usage, "total_tokens")
    if asked is not None and answered is None and total is not None:
        answered = max(0, total - asked)
    if asked is None or answered is None or min(asked, answered) < 0:
        return None
    return asked, answered, total or 0


def _first_count(usage: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        if (count := as_count(usage.get(name))) is not None:
            return count
    return None


def read_tier(raw: Any) -> str:
    """Return the service tier that served the call, or "" where the answer does not say."""
    tier = as_object(raw).get("service_tier")
    return tier if isinstance(tier, str) else ""


def _read_cost(usage: Mapping[str, Any]) -> int | None:
    """Return the cost that the provider reports: in dollars (OpenRouter, Perplexity, DeepInfra) or in ticks (xAI)."""
    ticks = as_count(usage.get("cost_in_usd_ticks"))
    if ticks is not None:
        return read_nano_usd(Decimal(ticks) / _TICKS_PER_USD)
    cost = next((usage[name] for name in _COSTS if usage.get(name) is not None), None)
    if isinstance(cost, dict):
        return read_nano_usd(cost.get("total_cost")) if cost.get("currency") in _DOLLARS else None
    own = read_nano_usd(cost)
    if usage.get("is_byok") is not True:
        return own
    # With a key of one's own the router charges its fee alone, and the model's provider the rest.
    rest = read_nano_usd(as_object(usage.get("cost_details")).get("upstream_inference_cost"))
    return None if own is None or rest is None else own + rest


_SEARCHES = ("num_search_queries", "num_sources_used")


def _read_hosted(answer: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, int]:
    """Return how often tools were called that the provider runs, and charges for, by their names."""
    calls: dict[str, int] = {}
    for item in _items(answer.get("output")):
        kind = item.get("type")
        if isinstance(kind, str) and kind.endswith("_call") and kind not in _OWN_CALLS:
            name = kind.removesuffix("_call")
            calls[name] = calls.get(name, 0) + 1
    for tool, told in as_object(answer.get("tool_usage")).items():
        calls[tool] = max(calls.get(tool, 0), count_in(as_object(told), "num_requests"))
    searches = count_in(usage, *_SEARCHES)
    told = as_object(usage.get("server_side_tool_usage_details") or usage.get("server_side_tool_usage"))
    if searches or any(count_in(told, name) for name in told):
        calls["server_side_tools"] = searches + sum(count_in(told, name) for name in told)
    return {name: count for name, count in calls.items() if count}


def _items(output: Any) -> list[dict[str, Any]]:
    return [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []


_OWN_CALLS = frozenset(
    ("function_call", "custom_tool_call", "computer_call", "local_shell_call", "apply_patch_call", "mcp_call")
)
"""Calls of tools that the user runs, or whose calls are free."""
