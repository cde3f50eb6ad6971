"""Anthropic's messages through Bedrock's InvokeModel."""

from __future__ import annotations

from typing import Any

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Route
from promptmill.wire.anthropic_messages import answer as messages_answer
from promptmill.wire.anthropic_messages.request import write_hosted_request
from promptmill.wire.bedrock_invoke.vendor import chunk_json, read_counted_usage
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.stream_events import StreamEvent

API_VERSION = "bedrock-2023-05-31"


def write_request(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    return write_hosted_request(request, route, version=API_VERSION)


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    completion = messages_answer.read_answer(answer, raw, request, request_id=request_id)
    if completion.usage.source == "reported":
        return completion
    counted = read_counted_usage(answer.headers, raw)
    return msgspec.structs.replace(completion, usage=counted) if counted else completion


class ClaudeAssembler(messages_answer.MessageAssembler):
    """Assembles Anthropic's events, each of which comes in a chunk."""

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        return self.add_json(chunk_json(event))
