"""What each batch service takes: its limits, what may not be in a line, and how a lost create is found.

Plain values. Facts come from the providers' documents and SDKs; docs/batch-services.md says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from promptmill.domain.recipe import Endpoint
from promptmill.wire.request_bodies import unsupported

Input = Literal["upload", "inline", "own_bucket"]
Proof = Literal["label", "upload", "none"]

MB = 1_000_000
"""Limits are counted in decimal megabytes, which is less wherever a provider means the other ones."""


class BatchTerms(Struct, frozen=True, kw_only=True):
    """What one service takes.

    Attributes:
        label: the service's name for people.
        source: the document that says so.
        input: where the lines go: they are uploaded as a file, they lie in the body of the create itself, or the
            service reads them where they are staged, in our own bucket.
        endpoints: the endpoints of the provider's routes that can be answered in a batch, the default first.
        max_lines, max_bytes: the most that one batch may have; bytes are counted as sent.
        min_lines: a batch with fewer lines is refused.
        max_id: the longest id of a line. All services take letters, digits, ``-`` and ``_``.
        one_model: all lines of a batch are answered by one model.
        min_window_h, max_window_h: the shortest and the longest time that a batch can be given.
        appears_within_h: how long after its create was sent a batch can still turn up unseen, to run and to be billed.
        expires: the service ends a batch by itself when its time is over.
        proof: what proves that a batch is ours: a label that it carries, the id of its upload, or only its results.
        refuses: fields of a request's body that no batch may have.
        not_batched: what else cannot be in a batch, in words.
    """

    label: str
    source: str
    input: Input
    endpoints: tuple[Endpoint, ...]
    max_lines: int
    max_bytes: int
    min_lines: int = 1
    max_id: int = 64
    one_model: bool = True
    min_window_h: int = 24
    max_window_h: int = 24
    appears_within_h: int = 25
    expires: bool = True
    proof: Proof
    refuses: frozenset[str] = frozenset()
    not_batched: str = ""

    def window_h(self, wanted: int) -> int:
        """Return the time to ask for, as near to the wanted one as the service allows."""
        return max(self.min_window_h, min(self.max_window_h, wanted))


def refuse_unbatchable(body: Mapping[str, Any], terms: BatchTerms) -> None:
    """Raise RecordError for a body with a field that the service takes in live calls only."""
    for field in sorted(terms.refuses & body.keys()):
        if body[field] not in (None, False, [], {}):
            raise unsupported(field, f"cannot be in a batch of {terms.label}, only in a live call")


_OPENAI = BatchTerms(
    label="OpenAI",
    source="https://platform.openai.com/docs/guides/batch",
    input="upload",
    endpoints=("chat", "responses", "completions", "embeddings"),
    max_lines=50_000,
    max_bytes=200 * MB,
    proof="label",
    refuses=frozenset({"stream", "background"}),
    not_batched="streams and background responses",
)

_CHAT_ONLY: tuple[Endpoint, ...] = ("chat",)
_SERVERS: Mapping[str, BatchTerms] = {
    "azure": replace(
        _OPENAI,
        label="Azure OpenAI",
        source="https://learn.microsoft.com/azure/ai-services/openai/how-to/batch",
        endpoints=("chat", "responses"),
        expires=False,
        appears_within_h=14 * 24 + 1,
    ),
    "perplexity": replace(
        _OPENAI,
        label="Perplexity",
        source="https://docs.perplexity.ai",
        endpoints=("responses",),
        max_lines=10_000,
        max_bytes=100 * MB,
    ),
    "groq": replace(
        _OPENAI,
        label="Groq",
        source="https://console.groq.com/docs/batch",
        endpoints=_CHAT_ONLY,
        max_bytes=100 * MB,
        max_window_h=168,
        appears_within_h=169,
    ),
    "together": replace(
        _OPENAI,
        label="Together",
        source="https://docs.together.ai/docs/batch-inference",
        endpoints=_CHAT_ONLY,
        max_bytes=100 * MB,
        proof="upload",
    ),
    "deepinfra": replace(_OPENAI, label="DeepInfra", source="https://deepinfra.com/docs/batch", endpoints=_CHAT_ONLY),
    "mistral": replace(
        _OPENAI,
        label="Mistral",
        source="https://docs.mistral.ai/capabilities/batch",
        endpoints=("chat", "embeddings"),
        max_lines=1_000_000,
        max_bytes=512 * MB,
        min_window_h=1,
        max_window_h=168,
        appears_within_h=169,
    ),
    "compatible": replace(
        _OPENAI,
        label="any other OpenAI-compatible server",
        source="https://platform.openai.com/docs/guides/batch",
        max_bytes=100 * MB,
    ),
}

_ANTHROPIC = BatchTerms(
    label="Anthropic",
    source="https://platform.claude.com/docs/en/build-with-claude/batch-processing",
    input="inline",
    endpoints=("messages",),
    max_lines=100_000,
    max_bytes=256 * MB,
    one_model=False,
    proof="none",
    refuses=frozenset({"stream", "speed", "betas", "anthropic_beta"}),
    not_batched="streams, fast mode and beta features",
)

_BEDROCK = BatchTerms(
    label="Amazon Bedrock",
    source="https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference.html",
    input="own_bucket",
    endpoints=("converse", "invoke", "embeddings"),
    max_lines=50_000,
    max_bytes=5_000 * MB,
    min_lines=100,
    min_window_h=24,
    max_window_h=168,
    appears_within_h=169,
    proof="label",
    refuses=frozenset(
        {
            *("toolConfig", "outputConfig", "guardrailConfig", "performanceConfig"),
            *("tools", "tool_choice", "response_format", "output_config", "output_format"),
        }
    ),
    not_batched="tools, structured output, guardrails",
)

_GEMINI = BatchTerms(
    label="Gemini API",
    source="https://ai.google.dev/gemini-api/docs/batch-api",
    input="upload",
    endpoints=("generate",),
    max_lines=50_000,
    max_bytes=2_000 * MB,
    min_window_h=48,
    max_window_h=48,
    appears_within_h=49,
    proof="label",
    not_batched="embeddings",
)

_VERTEX = BatchTerms(
    label="Google Vertex AI",
    source="https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/batch-prediction-gemini",
    input="upload",
    endpoints=("generate", "messages"),
    max_lines=200_000,
    max_bytes=1_000 * MB,
    max_id=63,
    min_window_h=96,
    max_window_h=96,
    appears_within_h=97,
    proof="label",
    refuses=frozenset({"cachedContent"}),
    not_batched="embeddings and stored caches",
)

TERMS: Mapping[str, BatchTerms] = MappingProxyType(
    {
        "openai": _OPENAI,
        "anthropic": _ANTHROPIC,
        "anthropic-aws": replace(_ANTHROPIC, label="Claude Platform on AWS"),
        "bedrock": _BEDROCK,
        **_SERVERS,
        "gemini": _GEMINI,
        "vertex": _VERTEX,
    }
)
"""The services by the name of their provider in the table of providers."""
