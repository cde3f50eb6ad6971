"""AI21 Jamba's own body on Bedrock: a few fields of OpenAI's chat, without a model. Its answers are OpenAI's."""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, Message, Role, Text
from promptmill.domain.recipe import Route
from promptmill.wire.bedrock_invoke.vendor import LABEL, WIRE_FORMAT, read_counted_usage
from promptmill.wire.flat_prompts import refuse_all_but, turns
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import (
    AnswerSource,
    Said,
    make_completion,
    malformed_answer,
)
from promptmill.wire.json_fields import Fields
from promptmill.wire.loose_json import as_object, as_text
from promptmill.wire.openai_chat.answer import first_choice, read_content
from promptmill.wire.openai_chat.usage import read_usage
from promptmill.wire.request_bodies import add_native
from promptmill.wire.translation import translate

_CARRIED = frozenset({"max_output_tokens", "temperature", "top_p", "stop", "json_object"})
_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "filter"}


def read_request(body: Fields) -> CompletionRequest:
    """Return the request. Fields without a place in it stay native. Raise RecordError for what is missing or wrong."""
    system, messages = _read_turns(body)
    return CompletionRequest(
        messages=messages,
        system=system,
        max_output_tokens=body.take_integer("max_tokens", least=1),
        temperature=body.take_number("temperature"),
        top_p=body.take_number("top_p"),
        stop=body.take_texts("stop"),
        wire_format=WIRE_FORMAT,
        native=body.left({"n": (1,), "frequency_penalty": (0,), "presence_penalty": (0,)}),
    )


def _read_turns(body: Fields) -> tuple[str, tuple[Message, ...]]:
    """Return the system prompt, which is the first message if there is one, and the other messages."""
    system, messages = "", list[Message]()
    for place, item in enumerate(body.take_objects("messages") or []):
        role, text = item.require_text("role"), item.require_text("content")
        item.refuse_left()
        if role == "system" and place == 0:
            system = text
        else:
            messages.append(Message(_read_role(item, role), (Text(text),)))
    if not messages:
        raise body.error("messages", "there is no message", code="missing_field", remedy="add one")
    return system, tuple(messages)


def _read_role(item: Fields, role: str) -> Role:
    if role == "user":
        return "user"
    if role == "assistant":
        return "assistant"
    raise item.unsupported("role", "this role is not known", remedy="use user or assistant")


def write_request(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, WIRE_FORMAT, model=route.model)
    del route
    refuse_all_but(_CARRIED, request, by=LABEL)
    optional = {
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": list(request.stop) or None,
        "response_format": {"type": "json_object"} if request.json_object else None,
    }
    body: dict[str, Any] = {
        "messages": [{"role": role, "content": text} for role, text in turns(request, by=LABEL)],
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    return add_native(body, request, wire_format=WIRE_FORMAT)


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    choice, model, unknown = first_choice(raw), as_text(as_object(raw).get("model")), list[str]()
    usage = read_counted_usage(answer.headers, raw) or read_usage(raw)
    if not isinstance(choice.get("message"), dict):
        reason = "the answer has no choices"
        raise malformed_answer(answer, reason, request_id=request_id, usage=usage, model=model)
    text = read_content(choice["message"].get("content"), unknown)
    raw_finish = as_text(choice.get("finish_reason"))
    source = AnswerSource(model, request_id, WIRE_FORMAT, raw)
    finish = (_FINISH.get(raw_finish, "unknown"), raw_finish)
    return make_completion(Said(text, (), unknown), source, request, finish, usage)


def ends(chunk: dict[str, Any]) -> bool:
    """Return whether this chunk is the last: it says why the model stopped."""
    choices = chunk.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and bool(first.get("finish_reason"))


def join(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Join chunks, which are OpenAI's. Usage is on the last of them."""
    told: dict[str, Any] = {}
    pieces, finish = [], None
    for chunk in chunks:
        told |= {name: value for name, value in chunk.items() if value is not None}
        for choice in chunk["choices"][:1] if isinstance(chunk.get("choices"), list) else ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            pieces.append(delta.get("content") if isinstance(delta, dict) else None)
            finish = choice.get("finish_reason") or finish if isinstance(choice, dict) else finish
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    message = {"role": "assistant", "content": text}
    return {**told, "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
