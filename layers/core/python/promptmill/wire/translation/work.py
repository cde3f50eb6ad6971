"""The state of one translation from one API to another, and what the APIs lack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptmill.domain.completion import (
    CompletionRequest,
    WireFormat,
)
from promptmill.wire.request_bodies import unsupported

LABELS: Mapping[WireFormat, str] = {
    "openai-chat": "the chat API",
    "openai-responses": "the responses API",
    "openai-completions": "the completions API",
    "openai-embeddings": "the embeddings API",
    "openai-moderations": "the moderations API",
    "anthropic-messages": "Anthropic's API",
    "bedrock-converse": "Converse",
    "bedrock-invoke": "this model's own body",
    "vertex-generate": "Gemini's API",
    "vertex-embeddings": "Vertex AI's API for vectors",
    "replicate": "Replicate's API",
    "nlpcloud": "NLP Cloud's API",
}
HINTS = frozenset(
    (
        *(
            "user",
            "metadata",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
        ),
        *("store", "service_tier", "verbosity", "cache_control", "anthropic_beta", "betas", "speed", "requestMetadata"),
        *("performanceConfig", "serviceTier", "additionalModelResponseFieldPaths", "labels", "safetySettings"),
        *("reasoning_effort", "thinking", "truncation", "include", "input_type", "truncate"),
    )
)
"""Fields of all APIs without which the answer is as good: who asks, what to cache, how to bill, how long to think."""


class Translation:
    """One translation: the words that all APIs share (``said``), fields that are left, and notes."""

    def __init__(self, request: CompletionRequest, target: WireFormat, model: str) -> None:
        self.request, self.target, self.model = request, target, model
        self.left = dict(request.native) if request.wire_format != target else {}
        self.said: dict[str, Any] = {}
        self.notes: list[str] = []

    def drop(self, name: str) -> None:
        """Leave out a hint, with a note. Raise RecordError if the recipe refuses that."""
        label = LABELS.get(self.target, "this API")
        if self.request.refuse_hints:
            raise unsupported(name, f"{label} has no such field, and the recipe says unknown_fields: refuse")
        self.note(f"{name} was left out: {label} has no such field")

    def note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def say(self, name: str, value: Any) -> None:
        if value is not None:
            self.said[name] = value
