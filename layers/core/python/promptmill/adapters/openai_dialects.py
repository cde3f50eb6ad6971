"""OpenAI's protocols: each imported when its first route needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from promptmill.adapters.http_calls import HttpAnswer
from promptmill.adapters.openai_presets import Preset
from promptmill.adapters.request_bodies import unsupported
from promptmill.adapters.streamed_answers import Assembler
from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import RouteClosedError
from promptmill.domain.recipe import Dialect, Wire


class MakeBody(Protocol):
    def __call__(self, request: CompletionRequest, *, model: str, preset: Preset, wire: Wire) -> dict[str, Any]:
        """Raises RecordError for what cannot be carried."""
        ...


class ReadAnswer(Protocol):
    def __call__(self, answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
        """Raises RetryLaterError: the body is no answer."""
        ...


class OpenAiDialect(Struct, frozen=True):
    """One protocol: how a request is written, an answer read, and a stream put together to one; None: not streamed."""

    request_body: MakeBody
    completion_of: ReadAnswer
    make_assembler: Callable[[], Assembler] | None = None


def dialect_named(name: Dialect) -> OpenAiDialect:
    """Raises RouteClosedError for one that is not OpenAI's."""
    match name:
        case "chat":
            from promptmill.adapters.openai_chat import CHAT  # noqa: PLC0415 (imported when first needed)

            return CHAT
        case "responses":
            from promptmill.adapters.openai_responses import RESPONSES  # noqa: PLC0415

            return RESPONSES
        case "completions":
            from promptmill.adapters.openai_completions import COMPLETIONS  # noqa: PLC0415

            return COMPLETIONS
        case "embeddings":
            from promptmill.adapters.openai_embeddings import EMBEDDINGS  # noqa: PLC0415

            return EMBEDDINGS
    raise RouteClosedError("unknown_dialect", f"no dialect is called {name} here")


def checked_fields(body: dict[str, Any], preset: Preset) -> dict[str, Any]:
    """The body, for endpoints that refuse what they don't know. Raises RecordError."""
    if preset.known_fields and (unknown := body.keys() - preset.known_fields):
        raise unsupported(min(unknown), f"cannot be sent to {preset.label}")
    return body
