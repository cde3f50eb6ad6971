"""OpenAI's moderations: requests and answers, each read and written. Mistral's API has the same form."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from promptmill.domain.completion import Attachment, Completion, CompletionRequest, Message, Text
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Recipe, Wire
from promptmill.domain.record import Outcome
from promptmill.wire.attachments import read_linked_image
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import answering_model, estimate_usage, make_answer_id, malformed_answer
from promptmill.wire.json_fields import Fields
from promptmill.wire.loose_json import as_object, as_objects, as_text
from promptmill.wire.openai.endpoints import OpenAiEndpoint
from promptmill.wire.openai_chat.usage import read_usage
from promptmill.wire.request_bodies import add_native, refuse_fields, unsupported, unsupported_attachment
from promptmill.wire.translation import translate

WIRE_FORMAT: Final = "openai-moderations"
_NOT_OF_MODERATIONS = {
    "json_schema": "response_format",
    "json_object": "response_format",
    "tools": "tools",
    "tool_choice": "tool_choice",
}


def read_request(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Map each field, keep it as ``native``, or refuse it by name (RecordError)."""
    return CompletionRequest(
        messages=_read_inputs(body, recipe),
        model=body.take_text("model") or "",
        kind="moderation",
        wire_format=WIRE_FORMAT,
        native=body.left({}),
    )


def _read_inputs(body: Fields, recipe: Recipe) -> tuple[Message, ...]:
    """Return the texts, each of which gets a verdict. Parts with types are one input, which may hold images."""
    given = body.peek("input")
    if isinstance(given, list) and given and all(isinstance(item, dict) for item in given):
        parts = body.take_objects("input") or []
        return (Message("user", tuple(_read_part(part, recipe) for part in parts)),)
    texts = body.take_texts("input")
    if not texts:
        raise body.missing("input")
    return tuple(Message("user", (Text(text),)) for text in texts)


def _read_part(part: Fields, recipe: Recipe) -> Text | Attachment:
    match part.take_text("type"):
        case "text":
            return Text(part.require_text("text"))
        case "image_url":
            image = part.require_object("image_url")
            return read_linked_image(image, "url", recipe, image.require_text("url"))
    raise part.unsupported("type", "must be text or image_url")


def write_request(request: CompletionRequest, *, model: str, provider: Provider, wire: Wire) -> dict[str, Any]:
    """See MakeBody. The system text of a recipe is no part of what is judged."""
    del wire  # nothing of it concerns moderations
    request = translate(request, WIRE_FORMAT, model=model, lacks=provider.unsupported)
    if request.kind == "embedding":
        raise unsupported("input", f"this route of {provider.label} makes no embeddings")
    refuse_fields(request, _NOT_OF_MODERATIONS, by=f"{provider.label} for a moderation")
    return add_native({"model": model, "input": _write_inputs(request, provider)}, request, wire_format=WIRE_FORMAT)


def _write_inputs(request: CompletionRequest, provider: Provider) -> list[Any]:
    match request.messages:
        case [message] if len(message.parts) > 1 or not isinstance(message.parts[0], Text):
            return [_write_part(part, provider) for part in message.parts]
    texts = [part.text for message in request.messages for part in message.parts if isinstance(part, Text)]
    if len(texts) < sum(len(message.parts) for message in request.messages):
        raise unsupported("messages", f"{provider.label} moderates texts, or one text with images")
    return texts


def _write_part(part: Any, provider: Provider) -> dict[str, Any]:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Attachment(kind="image", url=url, data=data, media_type=media_type) if url or data:
            return {"type": "image_url", "image_url": {"url": url or f"data:{media_type};base64,{data}"}}
        case Attachment():
            raise unsupported_attachment(part, by=provider.label)
    raise unsupported("messages", f"{provider.label} moderates texts and images")


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """See ReadAnswer. OpenAI counts no tokens of moderations; Mistral does."""
    reply = as_object(raw)
    results, usage, model = as_objects(reply.get("results")), read_usage(reply), as_text(reply.get("model"))
    wanted = len(request.messages)
    if len(results) != wanted:
        reason = "the answer has not one result for each text"
        raise malformed_answer(answer, reason, request_id=request_id, usage=usage, model=model)
    return Completion(
        text=msgspec.json.encode(results[0] if wanted == 1 else results).decode(),
        finish_reason="stop",
        usage=usage or estimate_usage(request, "", ()),
        model=model,
        request_id=request_id,
        wire_format=WIRE_FORMAT,
        raw=reply,
    )


def write_answer(outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """Return OpenAI's ``ModerationCreateResponse``."""
    results = msgspec.json.decode(completion.text)
    return {
        "id": as_text(completion.raw.get("id")) or f"modr-{make_answer_id(outcome, job_id)}",
        "model": answering_model(outcome, completion),
        "results": results if isinstance(results, list) else [results],
    }


MODERATIONS = OpenAiEndpoint(write_request, read_answer)
