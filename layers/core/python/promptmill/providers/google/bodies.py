"""What a call to Vertex AI is about: a text of Gemini's or Claude's, or vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Route
from promptmill.providers.anthropic.provider import request_id_of
from promptmill.wire import vertex_embeddings, vertex_gemini
from promptmill.wire.anthropic_messages import answer as anthropic_messages_answer
from promptmill.wire.anthropic_messages.answer import MessageAssembler
from promptmill.wire.anthropic_messages.request import write_hosted_request
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.request_bodies import refuse_embedding
from promptmill.wire.streamed_answers import Assembler
from promptmill.wire.vertex_gemini import LABEL

_CLAUDE_VERSION = "vertex-2023-10-16"


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
    return anthropic_messages_answer.read_answer(answer, raw, request, request_id=request_id)


GEMINI = Body(
    publisher="google",
    verb="generateContent",
    make=lambda request, _route: vertex_gemini.write_request(request),
    read=vertex_gemini.read_answer,
    assembler=vertex_gemini.GeminiAssembler,
    stream_verb="streamGenerateContent?alt=sse",
)
CLAUDE = Body(
    publisher="anthropic",
    verb="rawPredict",
    make=lambda request, route: write_hosted_request(request, route, version=_CLAUDE_VERSION),
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
            make=lambda asked, to: vertex_embeddings.write_request(asked, model=to.model),
            read=vertex_embeddings.read_answer,
        )
    refuse_embedding(request, by=LABEL)
    is_claude = route.endpoint == "messages" or (not route.endpoint and route.model.startswith("claude"))
    return CLAUDE if is_claude else GEMINI
