"""Which body a call to Bedrock has: Converse's, or the one that the model's vendor made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.wire.bedrock_converse import answer as converse_answer
from promptmill.wire.bedrock_converse import request as converse_request
from promptmill.wire.bedrock_converse.answer import ConverseAssembler
from promptmill.wire.bedrock_invoke import claude, cohere, jamba, llama, titan
from promptmill.wire.bedrock_invoke.vendor import LABEL, InvokeAssembler
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.request_bodies import refuse_embedding
from promptmill.wire.streamed_answers import Assembler

_INVOKED: Final = frozenset({"anthropic-messages", "bedrock-invoke"})
"""Protocols of lines that InvokeModel carries as they are, so that it is chosen where the route leaves it open."""


class Reader(Protocol):
    def __call__(self, answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion: ...


class Body(Struct, frozen=True):
    """How requests and answers of one kind are written.

    Attributes:
        make: raises RecordError for what cannot be carried.
        read: raises RetryLaterError for what is no answer.
        assembler: of streams, None where there are none.
    """

    make: Callable[[CompletionRequest, Route], dict[str, Any]]
    read: Reader
    assembler: Callable[[], Assembler] | None = None
    operation: str = "invoke"
    stream_operation: str = "invoke-with-response-stream"


CONVERSE = Body(
    make=lambda request, _route: converse_request.write_request(request),
    read=converse_answer.read_answer,
    assembler=ConverseAssembler,
    operation="converse",
    stream_operation="converse-stream",
)
CLAUDE = Body(claude.write_request, claude.read_answer, claude.ClaudeAssembler)
_VENDORS: Mapping[str, Body] = {
    "anthropic.": CLAUDE,
    "amazon.titan-text": Body(
        titan.write_text_request, titan.read_text_answer, lambda: InvokeAssembler(titan.join, titan.ends)
    ),
    "ai21.jamba": Body(
        jamba.write_request,
        jamba.read_answer,
        lambda: InvokeAssembler(jamba.join, jamba.ends),
    ),
    "meta.llama": Body(
        llama.write_request,
        llama.read_answer,
        lambda: InvokeAssembler(llama.join, llama.ends),
    ),
}
_EMBEDDERS: Mapping[str, Body] = {
    "amazon.titan-embed-text": Body(titan.write_embedding_request, titan.read_embedding_answer),
    "amazon.titan-embed-g1-text": Body(titan.write_embedding_request, titan.read_embedding_answer),
    "cohere.embed": Body(cohere.write_request, cohere.read_answer),
}


def body_for(route: Route, request: CompletionRequest) -> Body:
    """By the route's dialect, or else by the line's protocol; models that make vectors have one body only.

    Raises:
        RecordError: vectors are wanted of a model that makes none.
        RouteClosedError: nobody knows the vendor's own body (``native_body_unknown``).
    """
    if embedder := _found(_EMBEDDERS, route.model):
        return embedder
    if route.endpoint == "embeddings":
        raise RouteClosedError("native_body_unknown", f"the body that {route.id} takes for embeddings is not known")
    refuse_embedding(request, by=LABEL)
    vendor = _found(_VENDORS, route.model)
    if route.endpoint == "invoke" or (not route.endpoint and request.wire_format in _INVOKED):
        return _invoked(vendor, route, request)
    return CONVERSE


def _invoked(vendor: Body | None, route: Route, request: CompletionRequest) -> Body:
    """A line of Anthropic's protocol goes to other vendors' models through Converse, as any line does."""
    if vendor is None and route.endpoint == "invoke":
        raise RouteClosedError("native_body_unknown", f"the body that {route.id} takes is not known: use converse")
    if vendor is None or (not route.endpoint and request.wire_format == "anthropic-messages" and vendor is not CLAUDE):
        return CONVERSE
    return vendor


def _found(bodies: Mapping[str, Body], model: str) -> Body | None:
    """By the model's id, after an ARN's head and an inference profile's region."""
    name = model.rpartition("/")[2] if model.startswith("arn:") else model
    bare = next((rest for rest in (name, name.partition(".")[2]) if rest.startswith(tuple(bodies))), "")
    return next((body for prefix, body in bodies.items() if bare.startswith(prefix)), None)
