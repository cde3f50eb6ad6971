"""The services that the contract is tried on: how each is reached, and what it does where services differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from promptmill.domain.recipe import Route
from promptmill.ports.batch_service import RefusalKind
from promptmill.wire.batches.terms import Proof
from tests.contract.providers.conftest import vertex_route
from tests.fakes.batches import anthropic, bedrock, gemini, mistral, openai_like, vertex
from tests.fakes.batches.openai import OpenAiBatchServer, error
from tests.fakes.batches.server import Says
from tests.fakes.clock import FakeClock
from tests.fakes.providers.anthropic import WORKSPACE


class Scene(Struct, frozen=True, kw_only=True):
    """One service.

    Attributes:
        refusals: answers to a create that say for certain that there is no batch, and what they mean.
        has_uploads: the lines are uploaded before the create.
    """

    server: Callable[[FakeClock], Any]
    route: Route
    base_path: str = "/v1"
    refusals: tuple[tuple[Says, RefusalKind], ...]
    proof: Proof = "label"
    has_uploads: bool = True
    servers: Mapping[str, str] = {}


def _route(provider: str, model: str, **settings: Any) -> Route:
    return Route(id=f"{provider}/{model}", provider=provider, model=model, **settings)


OPENAI_REFUSALS: tuple[tuple[Says, RefusalKind], ...] = (
    (error(429, "token_limit_exceeded", "Enqueued token limit reached for gpt-6-luna."), "queue_full"),
    (error(400, "invalid_request", "Batch queue limit reached."), "queue_full"),
    (error(429, "rate_limit_exceeded", "Too many requests"), "unavailable"),
    (error(429, "insufficient_quota", "You exceeded your current quota"), "route_closed"),
    (error(401, "invalid_api_key", "Incorrect API key provided"), "route_closed"),
    (error(404, "model_not_found", "The model does not exist"), "model_closed"),
    (error(400, "invalid_request", "Model m is not supported by the batch API"), "model_closed"),
    (error(413, "request_too_large", "too large"), "too_large"),
    (error(404, "not_found", "No such File object: file-9"), "unavailable"),
    (error(400, "invalid_value", "endpoint"), "invalid"),
)

ANTHROPIC_REFUSALS: tuple[tuple[Says, RefusalKind], ...] = (
    (anthropic.error(429, "rate_limit_error", "too many requests in the batch queue"), "queue_full"),
    (anthropic.error(400, "billing_error", "pay first"), "route_closed"),
    (anthropic.error(400, "invalid_request_error", "Your credit balance is too low to access"), "route_closed"),
    (anthropic.error(401, "authentication_error", "invalid x-api-key"), "route_closed"),
    (anthropic.error(404, "not_found_error", "model: claude-nothing"), "model_closed"),
    (anthropic.error(413, "request_too_large", "Request exceeds the maximum size"), "too_large"),
    (anthropic.error(400, "invalid_request_error", "requests.0.custom_id: too long"), "invalid"),
)

_QUOTA = "Sum of in-progress and submitted batch inference jobs using a base model has been exceeded"
_FEW = "Batch job contains less records (99) than the required minimum of: 100"
BEDROCK_REFUSALS: tuple[tuple[Says, RefusalKind], ...] = (
    (bedrock.error(400, "ServiceQuotaExceededException", _QUOTA), "queue_full"),
    (bedrock.error(429, "ThrottlingException", "Too many requests"), "unavailable"),
    (bedrock.error(400, "ValidationException", _FEW), "too_few_lines"),
    (bedrock.error(400, "ValidationException", "The job contains more records than the maximum"), "too_large"),
    (bedrock.error(400, "ValidationException", "The provided model identifier is invalid."), "model_closed"),
    (bedrock.error(400, "ValidationException", "Model m is not supported for batch inference"), "model_closed"),
    (bedrock.error(404, "ResourceNotFoundException", "no such model"), "model_closed"),
    (bedrock.error(403, "AccessDeniedException", "not authorized to perform: iam:PassRole"), "route_closed"),
    (bedrock.error(400, "ValidationException", "The role cannot be assumed"), "invalid"),
)
_EXHAUSTED = "You exceeded your current quota, please check your plan and billing details."
GEMINI_REFUSALS: tuple[tuple[Says, RefusalKind], ...] = (
    (gemini.error(429, "RESOURCE_EXHAUSTED", _EXHAUSTED), "queue_full"),
    (gemini.error(404, "NOT_FOUND", "models/m is not found or closed to new users"), "model_closed"),
    (gemini.error(403, "PERMISSION_DENIED", "You do not have permission to access the File"), "unavailable"),
    (gemini.error(403, "PERMISSION_DENIED", "The caller does not have permission"), "route_closed"),
    (gemini.error(400, "INVALID_ARGUMENT", "Request contains an invalid argument."), "invalid"),
)

SCENES: Mapping[str, Scene] = {
    "openai": Scene(
        server=OpenAiBatchServer,
        route=_route("openai", "gpt-6-luna", key="openai-key"),
        refusals=OPENAI_REFUSALS,
    ),
    "anthropic": Scene(
        server=anthropic.AnthropicBatchServer,
        route=_route("anthropic", "claude-haiku-5-5", key="anthropic-key"),
        refusals=ANTHROPIC_REFUSALS,
        proof="none",
        has_uploads=False,
    ),
    "anthropic-aws": Scene(
        server=lambda clock: anthropic.AnthropicBatchServer(clock, on_aws=True),
        route=_route("anthropic-aws", "claude-haiku-5-5", account=WORKSPACE),
        refusals=ANTHROPIC_REFUSALS,
        proof="none",
        has_uploads=False,
    ),
    "bedrock": Scene(
        server=bedrock.BedrockBatchServer,
        route=_route("bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0"),
        base_path="",
        refusals=BEDROCK_REFUSALS,
        has_uploads=False,
    ),
    "azure": Scene(
        server=openai_like.AzureBatchServer,
        route=_route("azure", openai_like.AzureBatchServer.deployment, key="azure"),
        base_path="/openai/v1",
        refusals=(*OPENAI_REFUSALS, (error(404, "DeploymentNotFound", "no such deployment"), "model_closed")),
    ),
    "perplexity": Scene(
        server=openai_like.PerplexityBatchServer,
        route=_route("perplexity", "perplexity/sonar", key="perplexity"),
        refusals=OPENAI_REFUSALS,
    ),
    "groq": Scene(
        server=openai_like.GroqBatchServer,
        route=_route("compatible", "llama-3.3-70b", key="openai-key"),
        base_path="/openai/v1",
        refusals=OPENAI_REFUSALS,
        servers={"127.0.0.1": "groq"},
    ),
    "together": Scene(
        server=openai_like.TogetherBatchServer,
        route=_route("compatible", "meta-llama/Llama-3.3-70B", key="openai-key"),
        refusals=OPENAI_REFUSALS,
        proof="upload",
        servers={"127.0.0.1": "together"},
    ),
    "deepinfra": Scene(
        server=openai_like.DeepInfraBatchServer,
        route=_route("compatible", "meta-llama/Llama-3.3-70B", key="openai-key"),
        base_path="/v1/openai",
        refusals=OPENAI_REFUSALS,
        servers={"127.0.0.1": "deepinfra"},
    ),
    "compatible": Scene(
        server=openai_like.CompatibleBatchServer,
        route=_route("compatible", "qwen3-8b", key="openai-key"),
        refusals=OPENAI_REFUSALS,
    ),
    "gemini": Scene(
        server=gemini.GeminiBatchServer,
        route=_route("gemini", "gemini-3.8-flash", key="gemini-key"),
        base_path="/v1beta",
        refusals=GEMINI_REFUSALS,
    ),
    "mistral": Scene(
        server=mistral.MistralBatchServer,
        route=_route("compatible", "mistral-small-latest", key="openai-key"),
        refusals=OPENAI_REFUSALS,
        servers={"127.0.0.1": "mistral"},
    ),
    "vertex": Scene(
        server=vertex.VertexBatchServer,
        route=vertex_route("gemini-3.8-flash"),
        base_path="",
        refusals=GEMINI_REFUSALS,
    ),
    "vertex-claude": Scene(
        server=vertex.VertexBatchServer,
        route=vertex_route("claude-haiku-5-5", dialect="messages"),
        base_path="",
        refusals=GEMINI_REFUSALS,
    ),
}
