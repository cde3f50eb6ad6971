"""The providers that a recipe can name, what each takes from its route, and what it offers."""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

from promptmill.domain.completion import WireFormat
from promptmill.domain.recipe import Endpoint

Use = Literal["required", "optional", "none"]
Ability = Literal[
    "chat",
    "embeddings",
    "streaming",
    "system prompt",
    "structured output",
    "tools",
    "usage",
    "cost",
    "throttle",
    "outage",
    "auth error",
    "context too long",
    "filtered content",
    "malformed answer",
]
ABILITIES: tuple[Ability, ...] = get_args(Ability)
"""What ``promptmill providers`` shows of each; tests/contract/providers/test_abilities.py runs every cell."""

RESERVED_BODY_FIELDS = frozenset({"model", "modelId", "messages", "stream", "stream_options", "mcp_servers"})
"""Never a line's to set, nor an operator's: they belong to the route and to us, or hold URLs."""


class Provider(Struct, frozen=True):
    """What a provider is.

    Attributes:
        protocol: the wire protocol of its adapter, in its first dialect.
        key: whether a route names a secret for it.
        base_url: whether a route gives its address; "optional" where the adapter has one of its own.
        region: whether a route may name a region.
        local_only: refused in every stage but ``local``.
        local_base_url: so is a ``base_url`` of its routes: elsewhere the address is the provider's own.
        account, api_version: whether a route names one.
        endpoints: that a route may choose from; the first is the default.
        lacks: what the provider does not offer. A request for it is refused by name, before anything is sent.
        usage: what its answers are counted by: its own report, or an estimate from their length.
        label: its name for people.
    """

    name: str
    wire_format: WireFormat
    key: Use
    base_url: Use = "optional"
    region: Use = "none"
    local_only: bool = False
    local_base_url: bool = False
    account: Use = "none"
    api_version: Use = "none"
    endpoints: tuple[Endpoint, ...] = ("chat",)
    lacks: frozenset[Ability] = frozenset()
    usage: Literal["reported", "estimated"] = "reported"
    label: str = ""

    @property
    def needs_key(self) -> bool:
        return self.key == "required"

    @property
    def takes_base_url(self) -> bool:
        return self.base_url != "none"


_OPENAI_ENDPOINTS: tuple[Endpoint, ...] = ("chat", "responses", "completions", "embeddings")

_ALL = (
    Provider(
        "ai21",
        "openai-chat",
        key="required",
        base_url="required",
        lacks=frozenset({"embeddings", "structured output"}),
        label="AI21",
    ),
    Provider(
        "anthropic",
        "anthropic-messages",
        key="required",
        api_version="optional",
        endpoints=("messages",),
        lacks=frozenset({"embeddings"}),
        label="Anthropic",
    ),
    Provider(
        "anthropic-aws",
        "anthropic-messages",
        key="none",
        region="optional",
        local_base_url=True,
        account="required",
        api_version="optional",
        endpoints=("messages",),
        lacks=frozenset({"embeddings"}),
        label="Claude Platform on AWS",
    ),
    Provider(
        "azure",
        "openai-chat",
        key="required",
        base_url="required",
        api_version="optional",
        endpoints=_OPENAI_ENDPOINTS,
        label="Azure OpenAI",
    ),
    Provider(
        "bedrock",
        "bedrock-converse",
        key="none",
        region="optional",
        local_base_url=True,
        api_version="optional",
        endpoints=("converse", "invoke", "embeddings"),
        label="Amazon Bedrock",
    ),
    Provider(
        "compatible",
        "openai-chat",
        key="optional",
        base_url="required",
        endpoints=_OPENAI_ENDPOINTS,
        label="an OpenAI-compatible server",
    ),
    Provider(
        "cloudflare",
        "openai-chat",
        key="required",
        account="required",
        endpoints=("chat", "responses", "embeddings"),
        label="Cloudflare Workers AI",
    ),
    Provider(
        "gooseai",
        "openai-completions",
        key="required",
        endpoints=("completions",),
        lacks=frozenset({"embeddings", "structured output", "tools", "filtered content"}),
        usage="estimated",
        label="GooseAI",
    ),
    Provider(
        "huggingface",
        "openai-chat",
        key="required",
        account="optional",
        endpoints=("chat", "responses"),
        lacks=frozenset({"embeddings"}),
        label="Hugging Face",
    ),
    Provider(
        "huggingface-endpoint",
        "openai-chat",
        key="optional",
        base_url="required",
        endpoints=_OPENAI_ENDPOINTS,
        label="Hugging Face Inference Endpoints",
    ),
    Provider(
        "local",
        "openai-chat",
        key="none",
        base_url="none",
        local_only=True,
        endpoints=_OPENAI_ENDPOINTS,
        label="the embedded model",
    ),
    Provider(
        "nlpcloud",
        "nlpcloud",
        key="required",
        endpoints=("",),
        lacks=frozenset({"embeddings", "structured output", "tools", "filtered content"}),
        label="NLP Cloud",
    ),
    Provider("openai", "openai-chat", key="required", endpoints=_OPENAI_ENDPOINTS, label="OpenAI"),
    Provider(
        "perplexity",
        "openai-responses",
        key="required",
        endpoints=("responses", "embeddings"),
        label="Perplexity",
    ),
    Provider(
        "replicate",
        "replicate",
        key="required",
        endpoints=("",),
        lacks=frozenset({"embeddings", "structured output", "tools", "filtered content"}),
        label="Replicate",
    ),
    Provider(
        "vertex",
        "vertex-generate",
        key="required",
        region="optional",
        local_base_url=True,
        account="optional",
        api_version="optional",
        endpoints=("generate", "messages", "embeddings"),
        label="Google Vertex AI",
    ),
)

PROVIDERS: dict[str, Provider] = {provider.name: provider for provider in _ALL}
