"""Anthropic's messages on Vertex AI: their body without a model, and with a version."""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import Route
from promptmill.wire.anthropic_messages import write_request as anthropic_messages_write_request

API_VERSION = "vertex-2023-10-16"


def request_body(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Raises RecordError for what cannot be carried."""
    body = anthropic_messages_write_request.request_body(request, model=route.model)
    del body["model"]
    return {"anthropic_version": route.api_version or API_VERSION, **body}
