"""Prices that genai-prices lacks, with where they were read. A route's own ``price`` goes before them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from promptmill.domain.recipe import UserPrice

VERSION = "own.2026.11.22"
"""The version of the table. Change it with the table, since manifests and charges name it."""


class OwnPrice(Struct, frozen=True):
    """One price. ``source`` says where it was read, and how far it can be trusted."""

    price: UserPrice
    source: str


_AI21 = "last known list price of AI21's hosted API, which ended on 2026-08-09; litellm 1.109.1"
_NLP_CLOUD = "pay-as-you-go list price; litellm 1.109.1"

OWN_PRICES: Mapping[str, OwnPrice] = MappingProxyType(
    {
        "ai21/jamba-mini": OwnPrice(UserPrice("0.2", "0.4"), _AI21),
        "ai21/jamba-large": OwnPrice(UserPrice("2", "8"), _AI21),
        "nlpcloud/dolphin": OwnPrice(UserPrice("0.5", "0.5"), _NLP_CLOUD),
        "nlpcloud/chatdolphin": OwnPrice(UserPrice("0.5", "0.5"), _NLP_CLOUD),
    }
)
"""Prices by ``provider/model``."""
