"""Bodies that vendors made up for Bedrock's InvokeModel, and their answers: Titan, Llama, Jamba, Cohere Embed.

A line has no model, so that a body is known by its fields, and where those are many vendors', by the recipe's routes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from promptmill.domain.completion import Completion, CompletionRequest, Message, Role, Text
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome
from promptmill.wire.json_fields import Fields
from promptmill.wire.rendered_answers import chat_completion

WIRE_FORMAT: Final = "bedrock-invoke"
Vendor = Literal["titan", "titan-embed", "llama", "jamba", "cohere-embed"]

_TITAN_EMBED = frozenset({"dimensions", "normalize", "embeddingTypes"})
_TITAN_FINISH: Mapping[str, str] = {"length": "LENGTH", "filter": "CONTENT_FILTERED"}


def vendor_of(body: Mapping[str, Any], recipe: Recipe) -> Vendor | None:
    """None for a body that is none of theirs."""
    models = [route.model for route in recipe.routes if route.provider == "bedrock"]
    if "texts" in body and "input_type" in body:
        return "cohere-embed"
    if "inputText" in body:
        makes_vectors = "textGenerationConfig" not in body and any("titan-embed" in model for model in models)
        return "titan-embed" if makes_vectors or _TITAN_EMBED & body.keys() else "titan"
    if "prompt" in body and ("max_gen_len" in body or any("meta.llama" in model for model in models)):
        return "llama"
    is_chat = "messages" in body and "anthropic_version" not in body
    return "jamba" if is_chat and any("ai21.jamba" in model for model in models) else None


def read_vendor_body(vendor: Vendor, body: Fields) -> CompletionRequest:
    """What has no place in a request stays native. Raises RecordError for what is missing or wrong."""
    return _READERS[vendor](body)


def vendor_output(vendor: Vendor, outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """As it came, where the same vendor answered; else made from the normalised answer."""
    if completion.wire_format == WIRE_FORMAT and completion.raw:
        return completion.raw
    if vendor == "jamba":
        return chat_completion(outcome, completion, job_id)
    return _WRITERS[vendor](completion)


def _asked(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("user", (Text(text),)) for text in texts)


def _titan(body: Fields) -> CompletionRequest:
    text = body.require_text("inputText")
    config = body.take_object("textGenerationConfig") or Fields({}, where=body.where)
    request = CompletionRequest(
        messages=_asked(text),
        max_output_tokens=config.take_integer("maxTokenCount", least=1),
        temperature=config.take_number("temperature"),
        top_p=config.take_number("topP"),
        stop=config.take_texts("stopSequences"),
        wire_format=WIRE_FORMAT,
        native=body.left({}),
    )
    config.refuse_left()
    return request


def _titan_embed(body: Fields) -> CompletionRequest:
    text, dimensions = body.require_text("inputText"), body.take_integer("dimensions", least=1)
    native = body.left({"normalize": (True,), "embeddingTypes": (["float"],)})
    return CompletionRequest(
        messages=_asked(text), dimensions=dimensions, kind="embedding", wire_format=WIRE_FORMAT, native=native
    )


def _llama(body: Fields) -> CompletionRequest:
    if "images" in body:
        raise body.unsupported("images", "images in a native body cannot be read", remedy="write it as Converse")
    return CompletionRequest(
        messages=_asked(body.require_text("prompt")),
        max_output_tokens=body.take_integer("max_gen_len", least=1),
        temperature=body.take_number("temperature"),
        top_p=body.take_number("top_p"),
        wire_format=WIRE_FORMAT,
        native=body.left({}),
    )


def _jamba(body: Fields) -> CompletionRequest:
    system, messages = _turns(body)
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


def _turns(body: Fields) -> tuple[str, tuple[Message, ...]]:
    """The system prompt stands first."""
    system, messages = "", list[Message]()
    for place, item in enumerate(body.take_objects("messages") or []):
        role, text = item.require_text("role"), item.require_text("content")
        item.refuse_left()
        if role == "system" and place == 0:
            system = text
        else:
            messages.append(Message(_role(item, role), (Text(text),)))
    if not messages:
        raise body.error("messages", "there is no message", code="missing_field", remedy="add one")
    return system, tuple(messages)


def _role(item: Fields, role: str) -> Role:
    if role == "user":
        return "user"
    if role == "assistant":
        return "assistant"
    raise item.unsupported("role", "no such role here", remedy="use user or assistant")


def _cohere_embed(body: Fields) -> CompletionRequest:
    texts, dimensions = body.take_texts("texts"), body.take_integer("output_dimension", least=1)
    if not texts:
        raise body.missing("texts")
    native = body.left({"embedding_types": (["float"],)})
    return CompletionRequest(
        messages=_asked(*texts), dimensions=dimensions, kind="embedding", wire_format=WIRE_FORMAT, native=native
    )


_READERS: Mapping[Vendor, Callable[[Fields], CompletionRequest]] = {
    "titan": _titan,
    "titan-embed": _titan_embed,
    "llama": _llama,
    "jamba": _jamba,
    "cohere-embed": _cohere_embed,
}


def _titan_output(completion: Completion) -> dict[str, Any]:
    result = {
        "tokenCount": completion.usage.output_total,
        "outputText": completion.text,
        "completionReason": _TITAN_FINISH.get(completion.finish_reason, "FINISH"),
    }
    return {"inputTextTokenCount": completion.usage.input_total, "results": [result]}


def _llama_output(completion: Completion) -> dict[str, Any]:
    return {
        "generation": completion.text,
        "prompt_token_count": completion.usage.input_total,
        "generation_token_count": completion.usage.output_total,
        "stop_reason": "length" if completion.finish_reason == "length" else "stop",
    }


def _titan_embed_output(completion: Completion) -> dict[str, Any]:
    vector = list(completion.embeddings[0]) if completion.embeddings else []
    return {"embedding": vector, "inputTextTokenCount": completion.usage.input_total}


def _cohere_embed_output(completion: Completion) -> dict[str, Any]:
    vectors = [list(vector) for vector in completion.embeddings]
    return {"response_type": "embeddings_by_type", "embeddings": {"float": vectors}}


_WRITERS: Mapping[Vendor, Callable[[Completion], dict[str, Any]]] = {
    "titan": _titan_output,
    "titan-embed": _titan_embed_output,
    "llama": _llama_output,
    "cohere-embed": _cohere_embed_output,
}
