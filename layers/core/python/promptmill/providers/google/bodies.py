"""What a call to Vertex AI is about: a text of Gemini's or Claude's, or vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Route
from promptmill.providers.anthropic.provider import request_id_of
from promptmill.wire import vertex_claude, vertex_embeddings
from promptmill.wire.anthropic_messages import answer as anthropic_messages_answer
from promptmill.wire.anthropic_messages.answer import MessageAssembler
from promptmill.wire.embedding_requests import refuse_embedding
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.streamed_answers import Assembler
from promptmill.wire.vertex_gemini import answer as vertex_gemini_answer
from promptmill.wire.vertex_gemini import request as vertex_gemini_request
from promptmill.wire.vertex_gemini.request import LABEL


class Body(Struct, frozen=True):
    """How requests and answers of one kind are written.

    Attributes:
        make: raises RecordError for what cannot be carried.
        read: raises RetryLaterError for what is no answer.
        assembler: of streams, None where there are none.
        stream_fields: what asks for a stream, beside the verb.
    """

    publisher: str
    verb: str
    make: Callable[[CompletionRequest, Route], dict[str, Any]]
    read: Callable[[HttpAnswer, Any, CompletionRequest], Completion]
    assembler: Callable[[], Assembler] | None = None
    stream_verb: str = ""
    stream_fields: dict[str, Any] = {}


def _claude_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest) -> Completion:
    request_id = request_id_of(answer.headers)
    return anthropic_messages_answer.completion_of(answer, raw, request, request_id=request_id)


GEMINI = Body(
    publisher="google",
    verb="generateContent",
    make=lambda request, _route: vertex_gemini_request.request_body(request),
    read=vertex_gemini_answer.completion_of,
    assembler=vertex_gemini_answer.GeminiAssembler,
    stream_verb="streamGenerateContent?alt=sse",
)
CLAUDE = Body(
    publisher="anthropic",
    verb="rawPredict",
    make=vertex_claude.request_body,
    read=_claude_answer,
    assembler=MessageAssembler,
    stream_verb="streamRawPredict",
    stream_fields={"stream": True},
)


def body_for(route: Route, request: CompletionRequest) -> Body:
    """By the route's dialect, or else by the model's name. Raises RecordError: vectors of a model that makes none."""
    if route.endpoint == "embeddings" or (not route.endpoint and "embedding" in route.model):
        return Body(
            publisher="google",
            verb=vertex_embeddings.verb(route.model),
            make=lambda asked, to: vertex_embeddings.request_body(asked, model=to.model),
            read=vertex_embeddings.completion_of,
        )
    refuse_embedding(request, by=LABEL)
    is_claude = route.endpoint == "messages" or (not route.endpoint and route.model.startswith("claude"))
    return CLAUDE if is_claude else GEMINI
