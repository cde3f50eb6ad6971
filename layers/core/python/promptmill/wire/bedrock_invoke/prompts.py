"""Bodies on Bedrock that are one prompt: Mistral's and DeepSeek's, and Cohere's Command, which has a message."""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, Message, Text
from promptmill.domain.recipe import Route
from promptmill.wire.bedrock_invoke.vendor import LABEL, WIRE_FORMAT, read_counted_usage, user_messages
from promptmill.wire.flat_prompts import flat_prompt, refuse_all_but, turns
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import estimate_usage, malformed_answer
from promptmill.wire.json_fields import Fields
from promptmill.wire.loose_json import as_object, as_objects, as_text
from promptmill.wire.request_bodies import add_native
from promptmill.wire.translation import translate

_CARRIED = frozenset({"max_output_tokens", "temperature", "top_p", "top_k", "stop"})
_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


def read_request(body: Fields) -> CompletionRequest:
    """Return the request. Fields without a place in it stay native. Raise RecordError for what is missing or wrong."""
    return _with_settings(body, user_messages(body.require_text("prompt")))


def _with_settings(body: Fields, messages: tuple[Message, ...], system: str = "") -> CompletionRequest:
    return CompletionRequest(
        messages=messages,
        system=system,
        max_output_tokens=body.take_integer("max_tokens", least=1),
        temperature=body.take_number("temperature"),
        top_p=body.take_number("p") if "p" in body else body.take_number("top_p"),
        top_k=body.take_integer("k") if "k" in body else body.take_integer("top_k"),
        seed=body.take_integer("seed"),
        stop=body.take_texts("stop_sequences") or body.take_texts("stop"),
        wire_format=WIRE_FORMAT,
        native=body.left({}),
    )


def read_command_request(body: Fields) -> CompletionRequest:
    """Return the request of Cohere's Command: a message, what was said before, and a preamble."""
    said: list[Message] = []
    for turn in body.take_objects("chat_history") or ():
        role = (turn.take_text("role") or "USER").upper()
        text = turn.require_text("message")
        said.append(Message("assistant" if role == "CHATBOT" else "user", (Text(text),)))
    message = user_messages(body.require_text("message"))
    return _with_settings(body, (*said, *message), body.take_text("preamble") or "")


def write_request(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, WIRE_FORMAT, model=route.model)
    refuse_all_but(_CARRIED, request, by=LABEL)
    optional = {
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": list(request.stop) or None,
    }
    body: dict[str, Any] = {"prompt": _prompt(request, route)}
    body.update((name, value) for name, value in optional.items() if value is not None)
    return add_native(body, request, wire_format=WIRE_FORMAT)


def _prompt(request: CompletionRequest, route: Route) -> str:
    """Return the prompt: a line of this API brings its own template, and Mistral's is known."""
    said = list(turns(request, by=LABEL))
    if request.wire_format == WIRE_FORMAT and len(said) == 1:
        return said[0][1]
    if route.wire.turn or "mistral" not in route.model:
        return flat_prompt(request, route.wire, by=LABEL).text
    written = "".join(f" {text}</s>" if role == "assistant" else f"[INST] {text} [/INST]" for role, text in said)
    return f"<s>{written}"


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    reply = as_object(raw)
    answers = as_objects(reply.get("outputs")) or as_objects(reply.get("choices"))
    if not answers:
        raise malformed_answer(answer, "the answer has no outputs", request_id=request_id)
    text, raw_finish = as_text(answers[0].get("text")), as_text(answers[0].get("stop_reason"))
    return Completion(
        text=text,
        finish_reason=_FINISH.get(raw_finish, "unknown"),
        usage=read_counted_usage(answer.headers, raw) or estimate_usage(request, text, ()),
        raw_finish=raw_finish,
        request_id=request_id,
        wire_format=WIRE_FORMAT,
        raw=raw,
    )


def write_answer(completion: Completion) -> dict[str, Any]:
    """Return an answer as Mistral's models give it."""
    finish = "length" if completion.finish_reason == "length" else "stop"
    return {"outputs": [{"text": completion.text, "stop_reason": finish}]}


def write_command_answer(completion: Completion) -> dict[str, Any]:
    """Return an answer as Cohere's Command gives it."""
    finish = "MAX_TOKENS" if completion.finish_reason == "length" else "COMPLETE"
    return {"text": completion.text, "finish_reason": finish}


def ends(chunk: dict[str, Any]) -> bool:
    """Return whether this chunk is the last: it says why the model stopped."""
    return any(item.get("stop_reason") for name in ("outputs", "choices") for item in as_objects(chunk.get(name)))


def join(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Join chunks, each of which has the next piece of the first output."""
    outputs = [item for chunk in chunks for name in ("outputs", "choices") for item in as_objects(chunk.get(name))[:1]]
    reason = next((item["stop_reason"] for item in reversed(outputs) if item.get("stop_reason")), None)
    return {"outputs": [{"text": "".join(as_text(item.get("text")) for item in outputs), "stop_reason": reason}]}
