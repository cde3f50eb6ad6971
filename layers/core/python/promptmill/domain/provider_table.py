"""The one table of providers: what a recipe may say of each, where and how it is called, and what it lacks.

``promptmill providers``, the check of recipes and the adapters read it. It holds plain values: no network code.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
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
"""Neither a line nor an operator may set these fields: they belong to the route and to us, or hold URLs."""


class Provider(Struct, frozen=True, kw_only=True):
    """One provider.

    Attributes:
        label: its name for people.
        wire_format: the format of its first endpoint.
        source: the document that says where and how it is called.
        key: whether a route names a secret for it.
        base_url: whether a route gives its address; "optional" where ``url`` has one.
        region, account, api_version: whether a route names one.
        local_only: every stage but ``local`` refuses it.
        local_base_url: every stage but ``local`` refuses a ``base_url``: elsewhere the address is the provider's own.
        lacks: what it does not offer. A request for it is refused by name, before anything is sent.
        usage: its answers are counted by its own report, or by an estimate from their length.

        url: its address, which may hold ``{account}`` and ``{region}``; "" where the route or the deployment gives it.
        urls_by_region: the addresses of regions that do not follow ``url``.
        paths: by endpoint, what follows the address; may hold ``{model}`` and more. The first endpoint is the default.
        stream_paths: the paths of streams, for endpoints that have another one for them.
        key_header: the header that carries the key, after ``key_prefix``.
        express_key_header: the header that carries an API key where ``key_header`` carries a token.
        account_header: the header that names the route's account, "" for none.
        version_header: the header that names the version of the API, "" for none.
        default_version: the version to name if the route names none.
        signing_name: the service that AWS's signature is made for, "" where calls are not signed.
        deployments: addresses are Azure's: models are deployments, and an ``api_version`` puts them into the URL.
        ended: the host of a service that has ended, and what to say to those who still call it.

        max_tokens_field: the name of the limit of an answer, in the endpoints chat and completions.
        default_max_tokens: the limit to send if nothing limits the answer, for small defaults; 0 for none.
        unsupported: fields of the request that its OpenAI endpoints refuse, with what users call them.
        known_fields: all fields that a body may have, for providers that refuse any other; empty: any field may go.
        stores: endpoints that keep answers unless ``store: false`` is sent.
        stream_usage: a stream reports its usage if ``stream_options`` asks for it.
        embedding_encoding: the encoding in which vectors are asked for.
    """

    name: str
    label: str
    wire_format: WireFormat
    source: str
    key: Use
    base_url: Use = "optional"
    region: Use = "none"
    account: Use = "none"
    api_version: Use = "none"
    local_only: bool = False
    local_base_url: bool = False
    lacks: frozenset[Ability] = frozenset()
    usage: Literal["reported", "estimated"] = "reported"

    url: str = ""
    urls_by_region: Mapping[str, str] = MappingProxyType({})
    paths: Mapping[Endpoint, str]
    stream_paths: Mapping[Endpoint, str] = MappingProxyType({})
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    express_key_header: str = ""
    account_header: str = ""
    version_header: str = ""
    default_version: str = ""
    signing_name: str = ""
    deployments: bool = False
    ended: tuple[str, str] = ("", "")

    max_tokens_field: str = "max_tokens"
    default_max_tokens: int = 0
    unsupported: Mapping[str, str] = MappingProxyType({"top_k": "top_k"})
    known_fields: frozenset[str] = frozenset()
    stores: frozenset[Endpoint] = frozenset()
    stream_usage: bool = True
    embedding_encoding: str = "float"

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints that a route may choose from, the default first."""
        return tuple(self.paths)

    @property
    def holds_to_schemas(self) -> bool:
        """Return True if answers can be held to a JSON schema."""
        return "structured output" not in self.lacks


_CHAT, _RESPONSES, _COMPLETIONS, _EMBEDDINGS = "/chat/completions", "/responses", "/completions", "/embeddings"
_OPENAI_PATHS: Mapping[Endpoint, str] = MappingProxyType(
    {"chat": _CHAT, "responses": _RESPONSES, "completions": _COMPLETIONS, "embeddings": _EMBEDDINGS}
)
_WITH_MODERATIONS: Mapping[Endpoint, str] = MappingProxyType({**_OPENAI_PATHS, "moderations": "/moderations"})
_VERTEX_MODELS = "/v1/projects/{account}/locations/{region}/publishers"
_CLAUDE_VERSION = "2023-06-01"
"""Version 2026-10-21 refuses sampling parameters; with this one, batch files written before it keep working."""


def _same(*names: str) -> Mapping[str, str]:
    return MappingProxyType({name: name for name in names})


_ALL = (
    Provider(
        name="ai21",
        label="AI21",
        wire_format="openai-chat",
        source="https://docs.ai21.com/reference/jamba-1-6-api-ref",
        key="required",
        base_url="required",
        paths={"chat": _CHAT},
        lacks=frozenset({"embeddings", "structured output"}),
        unsupported=_same("top_k", "seed", "tool_choice"),
        stream_usage=False,
        ended=("api.ai21.com", "AI21's hosted API ended on 9 August 2026: give the base_url of your own Jamba"),
    ),
    Provider(
        name="anthropic",
        label="Anthropic",
        wire_format="anthropic-messages",
        source="https://platform.claude.com/docs/en/api/messages",
        key="required",
        api_version="optional",
        url="https://api.anthropic.com/v1",
        paths={"messages": "/messages"},
        key_header="x-api-key",
        key_prefix="",
        version_header="anthropic-version",
        default_version=_CLAUDE_VERSION,
        lacks=frozenset({"embeddings"}),
    ),
    Provider(
        name="anthropic-aws",
        label="Claude Platform on AWS",
        wire_format="anthropic-messages",
        source="https://docs.aws.amazon.com/claude-platform",
        key="none",
        region="optional",
        account="required",
        api_version="optional",
        local_base_url=True,
        url="https://aws-external-anthropic.{region}.api.aws/v1",
        paths={"messages": "/messages"},
        signing_name="aws-external-anthropic",
        account_header="anthropic-workspace-id",
        version_header="anthropic-version",
        default_version=_CLAUDE_VERSION,
        lacks=frozenset({"embeddings"}),
    ),
    Provider(
        name="azure",
        label="Azure OpenAI",
        wire_format="openai-chat",
        source="https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle",
        key="required",
        base_url="required",
        api_version="optional",
        paths=_OPENAI_PATHS,
        key_header="api-key",
        key_prefix="",
        deployments=True,
        max_tokens_field="max_completion_tokens",
        stores=frozenset({"chat", "responses"}),
    ),
    Provider(
        name="bedrock",
        label="Amazon Bedrock",
        wire_format="bedrock-converse",
        source="https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
        key="none",
        region="optional",
        api_version="optional",
        local_base_url=True,
        url="https://bedrock-runtime.{region}.amazonaws.com",
        paths={
            "converse": "/model/{model}/converse",
            "invoke": "/model/{model}/invoke",
            "embeddings": "/model/{model}/invoke",
        },
        stream_paths={
            "converse": "/model/{model}/converse-stream",
            "invoke": "/model/{model}/invoke-with-response-stream",
        },
        signing_name="bedrock",
    ),
    Provider(
        name="compatible",
        label="an OpenAI-compatible server",
        wire_format="openai-chat",
        source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        key="optional",
        base_url="required",
        paths=_WITH_MODERATIONS,
        stores=frozenset({"responses"}),
    ),
    Provider(
        name="cloudflare",
        label="Cloudflare Workers AI",
        wire_format="openai-chat",
        source="https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility",
        key="required",
        account="required",
        url="https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1",
        paths={"chat": _CHAT, "responses": _RESPONSES, "embeddings": _EMBEDDINGS},
        default_max_tokens=2048,
    ),
    Provider(
        name="gemini",
        label="Gemini API",
        wire_format="vertex-generate",
        source="https://ai.google.dev/api/generate-content",
        key="required",
        url="https://generativelanguage.googleapis.com/v1beta",
        paths={"generate": "/models/{model}:generateContent"},
        stream_paths={"generate": "/models/{model}:streamGenerateContent?alt=sse"},
        key_header="x-goog-api-key",
        key_prefix="",
        lacks=frozenset({"embeddings"}),
    ),
    Provider(
        name="gooseai",
        label="GooseAI",
        wire_format="openai-completions",
        source="https://goose.ai/docs/api/completions",
        key="required",
        url="https://api.goose.ai/v1",
        paths={"completions": "/engines/{model}/completions"},
        lacks=frozenset({"embeddings", "structured output", "tools", "filtered content"}),
        usage="estimated",
        unsupported=_same("seed"),
        known_fields=frozenset(
            (
                *("prompt", "max_tokens", "min_tokens", "temperature", "top_p", "top_k", "tfs", "top_a", "typical_p"),
                *("repetition_penalty", "repetition_penalty_slope", "repetition_penalty_range", "frequency_penalty"),
                *("presence_penalty", "n", "logit_bias", "logprobs", "echo", "stop", "stream"),
            )
        ),
        stream_usage=False,
    ),
    Provider(
        name="huggingface",
        label="Hugging Face",
        wire_format="openai-chat",
        source="https://huggingface.co/docs/inference-providers",
        key="required",
        account="optional",
        url="https://router.huggingface.co/v1",
        paths={"chat": _CHAT, "responses": _RESPONSES},
        account_header="X-HF-Bill-To",
        lacks=frozenset({"embeddings"}),
    ),
    Provider(
        name="huggingface-endpoint",
        label="Hugging Face Inference Endpoints",
        wire_format="openai-chat",
        source="https://huggingface.co/docs/inference-endpoints",
        key="optional",
        base_url="required",
        paths=_OPENAI_PATHS,
    ),
    Provider(
        name="local",
        label="the embedded model",
        wire_format="openai-chat",
        source="https://github.com/ggml-org/llama.cpp/tree/master/tools/server",
        key="none",
        base_url="none",
        local_only=True,
        paths=_OPENAI_PATHS,
        unsupported=MappingProxyType({}),
        stores=frozenset({"responses"}),
    ),
    Provider(
        name="nlpcloud",
        label="NLP Cloud",
        wire_format="nlpcloud",
        source="https://docs.nlpcloud.com",
        key="required",
        url="https://api.nlpcloud.io/v1",
        paths={"": "/{model}/generation"},
        key_prefix="Token ",
        lacks=frozenset({"embeddings", "structured output", "tools", "filtered content"}),
    ),
    Provider(
        name="openai",
        label="OpenAI",
        wire_format="openai-chat",
        source="https://github.com/openai/openai-openapi",
        key="required",
        url="https://api.openai.com/v1",
        paths=_WITH_MODERATIONS,
        max_tokens_field="max_completion_tokens",
        stores=frozenset({"chat", "responses"}),
    ),
    Provider(
        name="perplexity",
        label="Perplexity",
        wire_format="openai-responses",
        source="https://docs.perplexity.ai",
        key="required",
        url="https://api.perplexity.ai/v1",
        paths={"responses": _RESPONSES, "embeddings": _EMBEDDINGS},
        unsupported=_same("temperature", "top_p", "top_k", "seed", "stop", "tool_choice"),
        known_fields=frozenset(
            (
                *("model", "models", "preset", "input", "instructions", "max_output_tokens", "max_steps", "reasoning"),
                *("effort", "response_format", "store", "stream", "tools", "tool_choice", "language_preference"),
                "skills",
            )
        ),
        stores=frozenset({"responses"}),
        embedding_encoding="base64_int8",
    ),
    Provider(
        name="replicate",
        label="Replicate",
        wire_format="replicate",
        source="https://replicate.com/docs/reference/http",
        key="required",
        url="https://api.replicate.com/v1",
        paths={"": "/models/{model}/predictions"},
        lacks=frozenset({"embeddings", "structured output", "tools", "filtered content"}),
    ),
    Provider(
        name="vertex",
        label="Google Vertex AI",
        wire_format="vertex-generate",
        source="https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest",
        key="required",
        region="optional",
        account="optional",
        api_version="optional",
        local_base_url=True,
        url="https://{region}-aiplatform.googleapis.com",
        urls_by_region={
            "global": "https://aiplatform.googleapis.com",
            "us": "https://aiplatform.us.rep.googleapis.com",
            "eu": "https://aiplatform.eu.rep.googleapis.com",
        },
        paths={
            "generate": f"{_VERTEX_MODELS}/google/models/{{model}}:generateContent",
            "messages": f"{_VERTEX_MODELS}/anthropic/models/{{model}}:rawPredict",
            "embeddings": f"{_VERTEX_MODELS}/google/models/{{model}}:{{verb}}",
        },
        stream_paths={
            "generate": f"{_VERTEX_MODELS}/google/models/{{model}}:streamGenerateContent?alt=sse",
            "messages": f"{_VERTEX_MODELS}/anthropic/models/{{model}}:streamRawPredict",
        },
        express_key_header="x-goog-api-key",
    ),
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType({provider.name: provider for provider in _ALL})
