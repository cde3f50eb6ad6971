"""Claude's older API of one prompt with turns in it, which ended with Claude 2: read as messages, answered in its shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from promptmill.domain.completion import Completion, CompletionRequest, Message, Text
from promptmill.wire.anthropic_messages.request import WIRE_FORMAT
from promptmill.wire.bedrock_invoke.vendor import user_messages
from promptmill.wire.json_fields import Fields
from promptmill.wire.request_bodies import take_stream

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
_DEFAULT_STOP = "\n\nHuman:"
_SPLIT = "the prompt was split into messages"


def is_claude_text(body: Mapping[str, Any]) -> bool:
    return "max_tokens_to_sample" in body


def read_request(body: Fields) -> CompletionRequest:
    """Return the request. Raise RecordError for what is missing or wrong."""
    body.take("anthropic_version")
    notes = take_stream(body)
    system, messages = _split_turns(body.require_text("prompt"))
    return CompletionRequest(
        messages=messages,
        system=system,
        model=body.take_text("model") or "",
        max_output_tokens=body.take_integer("max_tokens_to_sample", least=1),
        temperature=body.take_number("temperature"),
        top_p=body.take_number("top_p"),
        top_k=body.take_integer("top_k"),
        stop=tuple(stop for stop in body.take_texts("stop_sequences") if stop != _DEFAULT_STOP),
        wire_format=WIRE_FORMAT,
        native=body.left({"metadata": ({},)}),
        notes=(*notes, _SPLIT),
    )


def _split_turns(prompt: str) -> tuple[str, tuple[Message, ...]]:
    """Return what stands before the first turn, and the turns. An empty last one only asks for the answer."""
    system, *pieces = _TURN.split(prompt)
    if not pieces:
        return "", user_messages(prompt)
    turns = [(role, text.strip()) for role, text in zip(pieces[::2], pieces[1::2], strict=True)]
    said = [Message("assistant" if role == "Assistant" else "user", (Text(text),)) for role, text in turns if text]
    return system.strip(), tuple(said) or user_messages(prompt)


def write_answer(completion: Completion) -> dict[str, Any]:
    """Return an answer as Claude 2 gave it."""
    reason = "max_tokens" if completion.finish_reason == "length" else "stop_sequence"
    return {"type": "completion", "completion": completion.text, "stop_reason": reason, "stop": None}
