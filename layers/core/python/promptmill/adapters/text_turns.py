"""Requests for models that take nothing but texts: their turns, and the refusal of everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from promptmill.adapters.request_bodies import refused_attachment, unsupported
from promptmill.domain.completion import Attachment, CompletionRequest, Message, Part, Text

TurnRole = Literal["system", "user", "assistant"]

_SAID: Mapping[str, str] = {
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "stop": "stop",
    "json_schema": "response_format",
    "json_object": "response_format",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "dimensions": "dimensions",
}
"""Fields of a request, and what users call them."""


def refuse_all_but(carried: frozenset[str], request: CompletionRequest, *, by: str) -> None:
    """Raises RecordError for the first field that is set and not among ``carried``."""
    for field, said in _SAID.items():
        value = getattr(request, field)
        if field not in carried and value is not None and value is not False and value != ():
            raise unsupported(said, f"cannot be sent to {by}")


def turns(request: CompletionRequest, *, by: str) -> Iterator[tuple[TurnRole, str]]:
    """The system prompt, if there is one, and each message as one text. Raises RecordError for what is no text."""
    if request.system:
        yield "system", request.system
    for place, message in enumerate(request.messages):
        yield message.role, text_of(message, f"messages[{place}]", by=by)


def text_of(message: Message, where: str, *, by: str) -> str:
    return "\n".join(_text(part, where, by=by) for part in message.parts)


def _text(part: Part, where: str, *, by: str) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Attachment):
        raise refused_attachment(part, by=by)
    raise unsupported(where, f"calls of tools cannot be sent to {by}")
