"""OpenAI's endpoints: how each writes a request and reads an answer, at every provider that has them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import RouteClosedError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Endpoint, Wire
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.request_bodies import unsupported
from promptmill.wire.stream_events import Assembler


class MakeBody(Protocol):
    def __call__(self, request: CompletionRequest, *, model: str, provider: Provider, wire: Wire) -> dict[str, Any]:
        """Raise RecordError for what cannot be carried."""
        ...


class ReadAnswer(Protocol):
    def __call__(self, answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
        """Raise RetryLaterError for a body that is no answer."""
        ...


class OpenAiEndpoint(Struct, frozen=True):
    """Write a request, read an answer, and put a stream together to one; ``make_assembler`` is None without streams."""

    write_request: MakeBody
    read_answer: ReadAnswer
    make_assembler: Callable[[], Assembler] | None = None


@cache
def endpoint_named(name: Endpoint) -> OpenAiEndpoint:
    """Return the endpoint. Raise RouteClosedError for a name that is not OpenAI's."""
    match name:
        case "chat":
            from promptmill.wire.openai_chat.answer import CHAT  # noqa: PLC0415 (imported when first needed)

            return CHAT
        case "responses":
            from promptmill.wire.openai.responses import RESPONSES  # noqa: PLC0415

            return RESPONSES
        case "completions":
            from promptmill.wire.openai.completions import COMPLETIONS  # noqa: PLC0415

            return COMPLETIONS
        case "embeddings":
            from promptmill.wire.openai.embeddings import EMBEDDINGS  # noqa: PLC0415

            return EMBEDDINGS
        case "moderations":
            from promptmill.wire.openai.moderations import MODERATIONS  # noqa: PLC0415

            return MODERATIONS
    raise RouteClosedError("unknown_dialect", f"no dialect is called {name} here")


def refuse_unknown_fields(body: dict[str, Any], provider: Provider) -> dict[str, Any]:
    """Return the body. Raise RecordError for a field that a provider with ``known_fields`` would refuse."""
    if provider.known_fields and (unknown := body.keys() - provider.known_fields):
        raise unsupported(min(unknown), f"cannot be sent to {provider.label}")
    return body
