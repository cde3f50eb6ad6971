"""Bedrock batch lines, Converse or native, answered as Bedrock's output file would.

A line is ``{"recordId", "modelInput"}``; without a ``recordId`` it gets one from its place. Results are
``{recordId, modelInput, modelOutput}``, or with ``error: {errorCode, errorMessage}`` in place of ``modelOutput``;
``errorCode`` is an HTTP status, and the message starts with our code. ``modelOutput`` is a ``ConverseResponse``, an
Anthropic message or another vendor's answer, as the ``modelInput`` was. ``notes`` is there only where something was
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.formats.lines import JsonLinesFormat
from promptmill.wire.anthropic_messages import answer as messages_answer
from promptmill.wire.anthropic_messages import request as messages_request
from promptmill.wire.bedrock_converse import answer as converse_answer
from promptmill.wire.bedrock_converse import request as converse_request
from promptmill.wire.bedrock_invoke import claude_text, cohere, jamba, llama, prompts, text_generation, titan
from promptmill.wire.bedrock_invoke.vendor import WIRE_FORMAT
from promptmill.wire.json_fields import Fields
from promptmill.wire.openai import embeddings as openai_embeddings
from promptmill.wire.openai_chat import answer as chat_answer
from promptmill.wire.openai_chat import request as chat_request

_CONVERSE_FIELDS = frozenset(
    {"inferenceConfig", "toolConfig", "guardrailConfig", "outputConfig", "additionalModelRequestFields", "modelId"}
)
_OTHER_VENDORS: Mapping[str, str] = {
    "texts": "an embedding model's",
    "taskType": "an image or embedding model's",
}
_TITAN_EMBED_FIELDS = frozenset({"dimensions", "normalize", "embeddingTypes"})
Vendor = Literal["titan", "titan-embed", "llama", "jamba", "cohere-embed", "prompt", "command", "claude-text"]
_READERS: Mapping[Vendor, Callable[[Fields], CompletionRequest]] = {
    "titan": titan.read_text_request,
    "titan-embed": titan.read_embedding_request,
    "llama": llama.read_request,
    "jamba": jamba.read_request,
    "cohere-embed": cohere.read_request,
    "prompt": prompts.read_request,
    "command": prompts.read_command_request,
    "claude-text": claude_text.read_request,
}
_WRITERS: Mapping[Vendor, Callable[[Completion], dict[str, Any]]] = {
    "titan": titan.write_text_answer,
    "titan-embed": titan.write_embedding_answer,
    "llama": llama.write_answer,
    "cohere-embed": cohere.write_answer,
    "prompt": prompts.write_answer,
    "command": prompts.write_command_answer,
    "claude-text": claude_text.write_answer,
}
_BAD_REQUEST = 400
_UNAVAILABLE = 503


def _read(line: Fields, _record: RawRecord, recipe: Recipe) -> CompletionRequest:
    line.take("recordId")
    return _read_body(line.require_object("modelInput"), recipe)


def _write(outcome: Outcome, given: dict[str, Any], recipe: Recipe, job_id: str) -> dict[str, Any]:
    return {
        "recordId": given.get("recordId") or f"PM{outcome.record.index:09d}",
        "modelInput": given.get("modelInput"),
        **_output(outcome, given.get("modelInput"), recipe, job_id),
    }


def _read_body(body: Fields, recipe: Recipe) -> CompletionRequest:
    given = body.values()
    if text_generation.is_text_generation(given):
        return text_generation.read_request(body, recipe)
    if vendor := _vendor_of(given, recipe):
        return _READERS[vendor](body)
    match _invocation(given, recipe):
        case "converse":
            return converse_request.read_request(body, recipe)
        case "native":
            body.take("anthropic_version")
            return messages_request.read_request(body, recipe)
        case "chat":
            return chat_request.read_request(body, recipe)
    whose = next((name for field, name in _OTHER_VENDORS.items() if field in given), "another vendor's")
    raise body.error(
        "",
        f"this looks like {whose} own body, which is not supported",
        code="unsupported_body",
        remedy="write it as Converse or as the body of a vendor that is known, or set invocation_type in the recipe",
    )


def _vendor_of(body: Mapping[str, Any], recipe: Recipe) -> Vendor | None:
    """Return the vendor that made up this body, or None for Converse's and Anthropic's.

    A line names no model, so that a body is known by its fields, and where several vendors have those, by the recipe's
    routes.
    """
    models = [route.model for route in recipe.routes if route.provider == "bedrock"]
    if "texts" in body and "input_type" in body:
        return "cohere-embed"
    if "inputText" in body:
        makes_vectors = "textGenerationConfig" not in body and any("titan-embed" in model for model in models)
        return "titan-embed" if makes_vectors or _TITAN_EMBED_FIELDS & body.keys() else "titan"
    if "prompt" in body and ("max_gen_len" in body or any("meta.llama" in model for model in models)):
        return "llama"
    if isinstance(body.get("prompt"), str):
        return "claude-text" if claude_text.is_claude_text(body) else "prompt"
    if isinstance(body.get("message"), str):
        return "command"
    is_chat = "messages" in body and "anthropic_version" not in body
    return "jamba" if is_chat and any("ai21.jamba" in model for model in models) else None


def _invocation(body: Mapping[str, Any], recipe: Recipe) -> Literal["converse", "native", "chat", ""]:
    """Return the API of this body. The recipe may say which, except for bodies that are surely of neither."""
    if "messages" not in body or any(field in body for field in _OTHER_VENDORS):
        return ""
    if recipe.invocation_type != "detect":
        return recipe.invocation_type
    if "anthropic_version" in body:
        return "native"
    if "schemaVersion" in body or _CONVERSE_FIELDS & body.keys():
        return "converse"
    block = _first_block(body)
    if block is None or text_generation.is_text_generation(
        body
    ):  # plain texts, as gpt-oss, Qwen and all others take them that speak OpenAI's chat API
        models = [route.model for route in recipe.routes if route.provider == "bedrock"]
        of_claude = bool(models) and all("anthropic." in model for model in models)
        return "native" if of_claude and not chat_request.is_chat_body(body) and "parameters" not in body else "chat"
    return "native" if "type" in block else "converse"


def _first_block(body: Mapping[str, Any]) -> dict[str, Any] | None:
    for message in body["messages"] if isinstance(body["messages"], list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(content, list) and content and isinstance(content[0], dict):
            return content[0]
    return None


def _output(outcome: Outcome, model_input: Any, recipe: Recipe, job_id: str) -> dict[str, Any]:
    failure, completion = outcome.failure, outcome.completion
    if failure is not None or completion is None:
        return {"error": _error(outcome, failure or Failure("worker", "no_outcome", "there is no answer"))}
    given = model_input if isinstance(model_input, dict) else {}
    if text_generation.is_text_generation(given) and "messages" not in given:
        return {"modelOutput": text_generation.write_answer(completion)}
    if vendor := _vendor_of(given, recipe):
        return {"modelOutput": _vendor_output(vendor, outcome, completion, job_id)}
    match _invocation(given, recipe):
        case "native":
            return {"modelOutput": messages_answer.write_answer(outcome, completion, job_id)}
        case "chat":
            return {"modelOutput": chat_answer.write_answer(outcome, completion, job_id)}
    return {"modelOutput": converse_answer.write_answer(outcome, completion, job_id)}


def _vendor_output(vendor: Vendor, outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """Return the answer as it came where the same vendor answered, else one made from the normalised answer."""
    if completion.wire_format == WIRE_FORMAT and completion.raw:
        return completion.raw
    if vendor == "jamba":
        write = openai_embeddings.write_answer if completion.embeddings else chat_answer.write_answer
        return write(outcome, completion, job_id)
    return _WRITERS[vendor](completion)


def _error(outcome: Outcome, failure: Failure) -> dict[str, Any]:
    status = outcome.attempts[-1].status if outcome.attempts and failure.kind == "provider" else 0
    code = status or (_BAD_REQUEST if failure.kind == "record" else _UNAVAILABLE)
    return {"errorCode": code, "errorMessage": f"{failure.code}: {failure.message}"}


FORMAT = JsonLinesFormat("bedrock", _read, _write)
