"""Endpoints that speak OpenAI's protocols, and how they differ. A further one is one more line of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import RouteClosedError
from promptmill.domain.recipe import Endpoint, Wire
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.request_bodies import unsupported
from promptmill.wire.streamed_answers import Assembler

_PATHS: Mapping[Endpoint, str] = MappingProxyType(
    {
        "chat": "/chat/completions",
        "responses": "/responses",
        "completions": "/completions",
        "embeddings": "/embeddings",
    }
)
_NO_TOP_K: Mapping[str, str] = MappingProxyType({"top_k": "top_k"})
_PERPLEXITY_FIELDS = frozenset(
    (
        *("model", "models", "preset", "input", "instructions", "max_output_tokens", "max_steps", "reasoning"),
        *("effort", "response_format", "store", "stream", "tools", "tool_choice", "language_preference", "skills"),
    )
)
_GOOSEAI_FIELDS = frozenset(
    (
        *("prompt", "max_tokens", "min_tokens", "temperature", "top_p", "top_k", "tfs", "top_a", "typical_p", "stop"),
        *("repetition_penalty", "repetition_penalty_slope", "repetition_penalty_range", "frequency_penalty"),
        *("presence_penalty", "n", "logit_bias", "logprobs", "echo", "stream"),
    )
)


class Preset(Struct, frozen=True):
    """One kind of endpoint.

    Attributes:
        label: for messages to people.
        base_url: "" where the route or the deployment gives it; may hold ``{account}``.
        paths: by dialect, after the base URL; may hold ``{model}``.
        deployments: addresses are Azure's: models are deployments, and an ``api_version`` puts them into the URL.
        key_header: the header that carries the key, after ``key_prefix``.
        account_header: the header that names the route's account, "" for none.
        max_tokens_field: the name of the bound of an answer, in the dialects chat and completions.
        default_max_tokens: sent where nothing bounds the answer, for endpoints whose own default is small; 0 for none.
        unsupported: fields of the request that the endpoint does not take, with what users call them; refused.
        known_fields: all fields that the endpoint takes in a body, where it refuses any other; empty: whatever comes.
        stores: dialects in which answers are kept unless ``store: false`` is sent.
        stream_usage: a stream tells its usage if ``stream_options`` asks for it.
        schemas: answers can be held to a JSON schema.
        embedding_encoding: how vectors are asked for.
        ended: host that a former service was at, with what to say to who still asks it.
    """

    label: str
    base_url: str = ""
    paths: Mapping[Endpoint, str] = _PATHS
    deployments: bool = False
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    key_required: bool = False
    account_header: str = ""
    max_tokens_field: str = "max_tokens"
    default_max_tokens: int = 0
    unsupported: Mapping[str, str] = _NO_TOP_K
    known_fields: frozenset[str] = frozenset()
    stores: frozenset[Endpoint] = frozenset()
    stream_usage: bool = True
    schemas: bool = True
    embedding_encoding: str = "float"
    ended: tuple[str, str] = ("", "")


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "openai": Preset(
            label="OpenAI",
            base_url="https://api.openai.com/v1",
            key_required=True,
            max_tokens_field="max_completion_tokens",
            stores=frozenset({"chat", "responses"}),
        ),
        "azure": Preset(
            label="Azure OpenAI",
            deployments=True,
            key_header="api-key",
            key_prefix="",
            key_required=True,
            max_tokens_field="max_completion_tokens",
            stores=frozenset({"chat", "responses"}),
        ),
        "perplexity": Preset(
            label="Perplexity",
            base_url="https://api.perplexity.ai/v1",
            key_required=True,
            unsupported=MappingProxyType(
                {name: name for name in ("temperature", "top_p", "top_k", "seed", "stop", "tool_choice")}
            ),
            known_fields=_PERPLEXITY_FIELDS,
            stores=frozenset({"responses"}),
            embedding_encoding="base64_int8",
        ),
        "cloudflare": Preset(
            label="Cloudflare Workers AI",
            base_url="https://api.cloudflare.com/client/v4/accounts/{account}/ai/v1",
            key_required=True,
            default_max_tokens=2048,
        ),
        "huggingface": Preset(
            label="Hugging Face",
            base_url="https://router.huggingface.co/v1",
            key_required=True,
            account_header="X-HF-Bill-To",
        ),
        "huggingface-endpoint": Preset(label="a Hugging Face endpoint"),
        "ai21": Preset(
            label="AI21",
            key_required=True,
            unsupported=MappingProxyType({"top_k": "top_k", "seed": "seed", "tool_choice": "tool_choice"}),
            schemas=False,
            stream_usage=False,
            ended=("api.ai21.com", "AI21's hosted API ended on 9 August 2026: give the base_url of your own Jamba"),
        ),
        "gooseai": Preset(
            label="GooseAI",
            base_url="https://api.goose.ai/v1",
            paths=MappingProxyType({"completions": "/engines/{model}/completions"}),
            key_required=True,
            unsupported=MappingProxyType({"seed": "seed"}),
            known_fields=_GOOSEAI_FIELDS,
            stream_usage=False,
        ),
        "compatible": Preset(label="an OpenAI-compatible endpoint", stores=frozenset({"responses"})),
        "local": Preset(label="the embedded model", unsupported=MappingProxyType({}), stores=frozenset({"responses"})),
    }
)


class MakeBody(Protocol):
    def __call__(self, request: CompletionRequest, *, model: str, preset: Preset, wire: Wire) -> dict[str, Any]:
        """Raises RecordError for what cannot be carried."""
        ...


class ReadAnswer(Protocol):
    def __call__(self, answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
        """Raises RetryLaterError: the body is no answer."""
        ...


class OpenAiEndpoint(Struct, frozen=True):
    """One protocol: how a request is written, an answer read, and a stream put together to one; None: not streamed."""

    write_request: MakeBody
    read_answer: ReadAnswer
    make_assembler: Callable[[], Assembler] | None = None


def endpoint_named(name: Endpoint) -> OpenAiEndpoint:
    """Raises RouteClosedError for one that is not OpenAI's."""
    match name:
        case "chat":
            from promptmill.wire.openai_chat.answer import CHAT  # noqa: PLC0415 (imported when first needed)

            return CHAT
        case "responses":
            from promptmill.wire.openai_responses import RESPONSES  # noqa: PLC0415

            return RESPONSES
        case "completions":
            from promptmill.wire.openai_completions import COMPLETIONS  # noqa: PLC0415

            return COMPLETIONS
        case "embeddings":
            from promptmill.wire.openai_embeddings import EMBEDDINGS  # noqa: PLC0415

            return EMBEDDINGS
    raise RouteClosedError("unknown_dialect", f"no dialect is called {name} here")


def checked_fields(body: dict[str, Any], preset: Preset) -> dict[str, Any]:
    """The body, for endpoints that refuse what they don't know. Raises RecordError."""
    if preset.known_fields and (unknown := body.keys() - preset.known_fields):
        raise unsupported(min(unknown), f"cannot be sent to {preset.label}")
    return body
