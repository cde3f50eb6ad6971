"""The providers that a recipe can name, and what each takes from its route."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from promptmill.domain.completion import Protocol

Use = Literal["required", "optional", "none"]

RESERVED_BODY_FIELDS = frozenset({"model", "modelId", "messages", "stream", "stream_options", "mcp_servers"})
"""Never a line's to set, nor an operator's: they belong to the route and to us, or hold URLs."""


class Provider(Struct, frozen=True):
    """What a provider is.

    Attributes:
        protocol: the wire protocol of its adapter.
        key: whether a route names a secret for it.
        base_url: whether a route gives its address; "optional" where the adapter has one of its own.
        region: whether a route may name an AWS region.
        local_only: refused in every stage but ``local``.
        local_base_url: so is a ``base_url`` of its routes: elsewhere the address is the provider's own.
    """

    name: str
    protocol: Protocol
    key: Use
    base_url: Use = "optional"
    region: Use = "none"
    local_only: bool = False
    local_base_url: bool = False

    @property
    def needs_key(self) -> bool:
        return self.key == "required"

    @property
    def takes_base_url(self) -> bool:
        return self.base_url != "none"


_ALL = (
    Provider("anthropic", "anthropic-messages", key="required"),
    Provider("bedrock", "bedrock-converse", key="none", region="optional", local_base_url=True),
    Provider("compatible", "openai-chat", key="optional", base_url="required"),
    Provider("local", "openai-chat", key="none", base_url="none", local_only=True),
    Provider("openai", "openai-chat", key="required"),
)

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}
