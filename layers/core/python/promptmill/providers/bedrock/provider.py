"""Amazon Bedrock over plain HTTP with botocore's signature: Converse, and InvokeModel with each vendor's own body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RouteClosedError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Endpoint, Route
from promptmill.ports.clock import Clock
from promptmill.providers.addresses import AwsHost
from promptmill.providers.api_call import ApiCall, StreamReader, complete
from promptmill.providers.bedrock.errors import AwsEventDecoder, error_of, request_id_of, stream_error
from promptmill.providers.http import HttpCalls
from promptmill.wire.bedrock_converse import answer as converse_answer
from promptmill.wire.bedrock_converse import request_body as converse_body
from promptmill.wire.bedrock_converse.answer import ConverseAssembler
from promptmill.wire.bedrock_invoke import claude, cohere, jamba, llama, prompts, titan
from promptmill.wire.bedrock_invoke.vendor import LABEL, InvokeAssembler
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.request_bodies import encode_body, finish_body, refuse_embedding
from promptmill.wire.stream_events import Assembler, StreamEvent

_INVOKED: Final = frozenset({"anthropic-messages", "bedrock-invoke"})
"""Formats of lines that InvokeModel carries as they are, so that it is chosen if the route names no endpoint."""


class Reader(Protocol):
    def __call__(self, answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion: ...


class Body(Struct, frozen=True):
    """How requests and answers of one kind are written.

    Attributes:
        make: makes a request's body; raises RecordError for what cannot be carried.
        read: reads an answer; raises RetryLaterError for what is no answer.
        assembler: makes what puts a stream together, None if answers are not streamed.
        endpoint: the endpoint that takes it.
    """

    make: Callable[[CompletionRequest, Route], dict[str, Any]]
    read: Reader
    assembler: Callable[[], Assembler] | None = None
    endpoint: Endpoint = "invoke"


CONVERSE = Body(
    make=lambda request, route: converse_body.write_request(request, model=route.model),
    read=converse_answer.read_answer,
    assembler=ConverseAssembler,
    endpoint="converse",
)
CLAUDE = Body(claude.write_request, claude.read_answer, claude.ClaudeAssembler)
_PROMPTED = Body(prompts.write_request, prompts.read_answer, lambda: InvokeAssembler(prompts.join, prompts.ends))
_VENDORS: Mapping[str, Body] = {
    "anthropic.": CLAUDE,
    "mistral.": _PROMPTED,
    "deepseek.": _PROMPTED,
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
    "amazon.titan-embed-text": Body(titan.write_embedding_request, titan.read_embedding_answer, endpoint="embeddings"),
    "amazon.titan-embed-g1-text": Body(
        titan.write_embedding_request, titan.read_embedding_answer, endpoint="embeddings"
    ),
    "cohere.embed": Body(cohere.write_request, cohere.read_answer, endpoint="embeddings"),
}


def body_for(route: Route, request: CompletionRequest) -> Body:
    """Choose by the route's endpoint, or else by the line's format; models that make vectors have one body only.

    Raises:
        RecordError: vectors are wanted of a model that makes none.
        RouteClosedError: nobody knows the vendor's own body (``native_body_unknown``).
    """
    if embedder := _find_body(_EMBEDDERS, route.model):
        return embedder
    if route.endpoint == "embeddings":
        raise RouteClosedError("native_body_unknown", f"the body that {route.id} takes for embeddings is not known")
    refuse_embedding(request, by=LABEL)
    vendor = _find_body(_VENDORS, route.model)
    if route.endpoint == "invoke" or (not route.endpoint and request.wire_format in _INVOKED):
        return _body_to_invoke(vendor, route, request)
    return CONVERSE


def _body_to_invoke(vendor: Body | None, route: Route, request: CompletionRequest) -> Body:
    if vendor is None and route.endpoint == "invoke":
        raise RouteClosedError("native_body_unknown", f"the body that {route.id} takes is not known: use converse")
    # A line in Anthropic's format goes to the models of other vendors through Converse, as any line does.
    if vendor is None or (not route.endpoint and request.wire_format == "anthropic-messages" and vendor is not CLAUDE):
        return CONVERSE
    return vendor


def makes_vectors(model: str) -> bool:
    """Return True for a model that makes vectors, whatever it is asked."""
    return _find_body(_EMBEDDERS, model) is not None


def _find_body(bodies: Mapping[str, Body], model: str) -> Body | None:
    """Find the body by the model's id, which may follow an ARN's head and an inference profile's region."""
    name = model.rpartition("/")[2] if model.startswith("arn:") else model
    bare = next((rest for rest in (name, name.partition(".")[2]) if rest.startswith(tuple(bodies))), "")
    return next((body for prefix, body in bodies.items() if bare.startswith(prefix)), None)


class Bedrock:
    """Calls to Bedrock from one deployment."""

    def __init__(self, provider: Provider, host: AwsHost, *, http: HttpCalls, clock: Clock) -> None:
        self._provider, self._host, self._http, self._clock = provider, host, http, clock

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py. Vectors, and whatever else does not come in tokens, are not streamed."""
        del call_id  # the protocol has no place for it
        body = body_for(route, request)
        data = encode_body(finish_body(body.make(request, route), request, route))
        assembler = body.assembler() if route.stream and body.assembler else None
        url = self._url(route, body.endpoint, is_stream=assembler is not None)
        call = ApiCall(
            url=url,
            body=data,
            headers=await self._host.headers(route, url, data),
            error=lambda answer, raw: error_of(answer, raw, now=self._clock.now()),
            read=lambda answer, raw: body.read(answer, raw, request, request_id=request_id_of(answer.headers)),
            stream=StreamReader(AwsEventDecoder(), assembler, self._error_in, request_id_of) if assembler else None,
        )
        return await complete(call, route, self._http)

    def _url(self, route: Route, endpoint: Endpoint, *, is_stream: bool) -> str:
        paths = self._provider.stream_paths if is_stream else self._provider.paths
        return self._host.base_url(route) + paths[endpoint].replace("{model}", quote(route.model, safe="-._~"))

    def _error_in(self, event: StreamEvent, headers: Mapping[str, str]) -> ProviderError | None:
        return stream_error(event, headers, now=self._clock.now())
