"""Prices that genai-prices lacks, with where they were read. A route's own ``price`` goes before them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from msgspec import Struct

from promptmill.domain.recipe import Route, UserPrice

VERSION = "own.2026.11.28.1"
"""The version of the table. Change it with the table, since manifests and charges name it."""


class OwnPrice(Struct, frozen=True):
    """One price.

    Attributes:
        source: where it was read, and how far it can be trusted.
        instead: the table takes the model for another one, so this price goes before it.
    """

    price: UserPrice
    source: str
    instead: bool = False


_AI21 = "last known list price of AI21's hosted API, which ended on 2026-08-09; litellm 1.109.1"
_NLP_CLOUD = "pay-as-you-go list price; litellm 1.109.1"

_AWS = "on demand in US regions; litellm 1.110.2, not compared with AWS's own page"
_GOOGLE = "litellm 1.110.2, not compared with Google's own page"
_BEDROCK: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "amazon.nova-2-lite-v1:0": ("0.3", "2.5", "0.075"),
        "apac.amazon.nova-2-lite-v1:0": ("0.33", "2.75", "0.0825"),
        "amazon.nova-2-pro-preview-20251202-v1:0": ("1.375", "11", "0.34375"),
        "amazon.titan-text-premier-v1:0": ("0.5", "1.5"),
        "amazon.titan-embed-g1-text-02": ("0.1", "0"),
        "ai21.jamba-1-5-large-v1:0": ("2", "8"),
        "ai21.jamba-1-5-mini-v1:0": ("0.2", "0.4"),
        "cohere.embed-english-v3": ("0.1", "0"),
        "cohere.embed-multilingual-v3": ("0.1", "0"),
        "cohere.embed-v4:0": ("0.12", "0"),
        "deepseek.v3-v1:0": ("0.58", "1.68"),
        "deepseek.v3.2": ("0.62", "1.85"),
        "meta.llama3-1-405b-instruct-v1:0": ("2.4", "2.4"),
        "minimax.minimax-m2": ("0.3", "1.2"),
        "minimax.minimax-m2.1": ("0.3", "1.2"),
        "minimax.minimax-m2.5": ("0.3", "1.2"),
        "mistral.mistral-large-2407-v1:0": ("2", "6"),
        "moonshot.kimi-k2-thinking": ("0.6", "2.5"),
        "moonshotai.kimi-k2-thinking": ("0.6", "2.5"),
        "moonshotai.kimi-k2.5": ("0.6", "3"),
        "nvidia.nemotron-nano-12b-v2": ("0.2", "0.6"),
        "openai.gpt-oss-safeguard-120b": ("0.15", "0.6"),
        "openai.gpt-oss-safeguard-20b": ("0.07", "0.2"),
        "us.openai.gpt-5.4": ("2.75", "16.5", "0.275"),
        "global.openai.gpt-5.4": ("2.5", "15", "0.25"),
        "us.openai.gpt-5.5": ("5.5", "33", "0.55"),
        "global.openai.gpt-5.5": ("5", "30", "0.5"),
        "qwen.qwen3-235b-a22b-2507-v1:0": ("0.22", "0.88"),
        "qwen.qwen3-coder-next": ("0.5", "1.2"),
        "qwen.qwen3-next-80b-a3b": ("0.15", "1.2"),
        "us.xai.grok-4.6": ("2.2", "6.6", "0.55"),
        "global.xai.grok-4.6": ("2", "6", "0.5"),
        "writer.palmyra-vision-7b": ("0.15", "0.6"),
        "zai.glm-4.7": ("0.6", "2.2"),
        "zai.glm-4.7-flash": ("0.07", "0.4"),
        "zai.glm-5": ("1", "3.2"),
    }
)
"""USD per million tokens of input, of output, and of input read from a cache."""


_MODERATION = "OpenAI's moderation endpoint is free of charge: developers.openai.com/api/docs/guides/moderation"
_OPENAI_MODERATION = (
    *("omni-moderation-latest", "omni-moderation-2024-09-26"),
    *("text-moderation-latest", "text-moderation-stable", "text-moderation-007"),
)


def _by_tokens(read: str, written: str, cached: str | None = None) -> UserPrice:
    return UserPrice(read, written, cached)


def own_price(name: str) -> OwnPrice | None:
    """Return our price of ``provider/model``, or None. A profile of Bedrock's costs what its model does, and its place."""
    if (found := OWN_PRICES.get(name)) is not None:
        return found
    provider, _, model = name.partition("/")
    if provider != "bedrock":
        return None
    bare = model.rpartition("/")[2] if model.startswith("arn:") else model
    return OWN_PRICES.get(f"bedrock/{bare}") or OWN_PRICES.get(f"bedrock/{bare.partition('.')[2]}")


OWN_PRICES: Mapping[str, OwnPrice] = MappingProxyType(
    {
        "ai21/jamba-mini": OwnPrice(UserPrice("0.2", "0.4"), _AI21),
        "ai21/jamba-large": OwnPrice(UserPrice("2", "8"), _AI21),
        "nlpcloud/dolphin": OwnPrice(UserPrice("0.5", "0.5"), _NLP_CLOUD),
        "nlpcloud/chatdolphin": OwnPrice(UserPrice("0.5", "0.5"), _NLP_CLOUD),
        "vertex/gemini-3.8-flash-cyber": OwnPrice(UserPrice("1.5", "7.5", "0.15"), _GOOGLE, instead=True),
        **{f"openai/{model}": OwnPrice(UserPrice("0", "0"), _MODERATION, instead=True) for model in _OPENAI_MODERATION},
        **{f"bedrock/{model}": OwnPrice(_by_tokens(*rates), _AWS) for model, rates in _BEDROCK.items()},
    }
)
"""Prices by ``provider/model``."""

_HALF = Decimal("0.5")
_BATCH_FACTORS: Mapping[str, Mapping[str, Decimal]] = MappingProxyType(
    {"bedrock": dict.fromkeys(("anthropic.claude-", "amazon.nova-", "meta.llama"), _HALF)}
)
"""What a line of a batch costs beside a live call, by the beginning of the model's name. Read in litellm 1.110.2, which has
0.5 for all models of these families; others differ from model to model, and are unknown until somebody has read them."""


def batch_factor(route: Route) -> Decimal | None:
    """Return what a line of a batch costs beside a live call where genai-prices has no price of batches, None if unknown."""
    bare = route.model.rpartition("/")[2]
    names = (bare, bare.partition(".")[2])  # a profile of Bedrock's begins with its region
    for start, factor in _BATCH_FACTORS.get(route.provider, {}).items():
        if any(name.startswith(start) for name in names):
            return factor
    return None
