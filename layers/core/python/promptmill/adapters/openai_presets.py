"""Endpoints that speak OpenAI's chat protocol, and how they differ. A further one is one more line of the table."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from msgspec import Struct


class Preset(Struct, frozen=True):
    """One kind of endpoint.

    Attributes:
        label: for messages to people.
        base_url: "" where the route or the deployment gives it.
        url: template of the address, with ``{base_url}`` and ``{model}``.
        key_header: the header that carries the key, after ``key_prefix``.
        unsupported: fields of the request that the endpoint does not take, with what users call them; refused.
    """

    label: str
    base_url: str = ""
    url: str = "{base_url}/chat/completions"
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    key_required: bool = False
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    unsupported: Mapping[str, str] = MappingProxyType({"top_k": "top_k"})


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "openai": Preset(
            label="OpenAI",
            base_url="https://api.openai.com/v1",
            key_required=True,
            max_tokens_field="max_completion_tokens",
        ),
        "compatible": Preset(label="an OpenAI-compatible endpoint"),
        "local": Preset(label="the embedded model", unsupported=MappingProxyType({})),
    }
)
