"""Anthropic's messages through InvokeModel: their body without a model, and with a version."""

from __future__ import annotations

from typing import Any

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Route
from promptmill.wire.anthropic_messages import (
    answer as anthropic_messages_answer,
)
from promptmill.wire.anthropic_messages import (
    write_request as anthropic_messages_write_request,
)
from promptmill.wire.anthropic_messages.answer import MessageAssembler
from promptmill.wire.bedrock_invoke.vendor import chunk_json, counted_usage
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.stream_events import StreamEvent

API_VERSION = "bedrock-2023-05-31"


def request_body(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Raises RecordError for what cannot be carried."""
    body = anthropic_messages_write_request.request_body(request, model=route.model)
    del body["model"]
    return {"anthropic_version": route.api_version or API_VERSION, **body}


def completion_of(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Raises RetryLaterError: the body is no answer."""
    completion = anthropic_messages_answer.completion_of(answer, raw, request, request_id=request_id)
    if completion.usage.source == "reported":
        return completion
    counted = counted_usage(answer.headers, raw)
    return msgspec.structs.replace(completion, usage=counted) if counted else completion


class ClaudeAssembler(MessageAssembler):
    """Anthropic's events, each in a chunk."""

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        return self.add_json(chunk_json(event))
