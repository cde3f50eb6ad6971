"""Bedrock batch lines, Converse or native, answered as Bedrock's output file would.

A line is ``{"recordId", "modelInput"}``; without a ``recordId`` it gets one from its place. Results are
``{recordId, modelInput, modelOutput}``, or with ``error: {errorCode, errorMessage}`` in place of ``modelOutput``;
``errorCode`` is an HTTP status, and the message starts with our code. ``modelOutput`` is a ``ConverseResponse``, an
Anthropic message or another vendor's answer, as the ``modelInput`` was. ``notes`` is there only where something was
changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.formats.json_lines import JsonLinesFormat
from promptmill.wire.anthropic_messages.read_request import read_message_body
from promptmill.wire.bedrock_converse.read_request import read_converse_body
from promptmill.wire.bedrock_invoke.read_request import read_vendor_body, vendor_of, vendor_output
from promptmill.wire.json_fields import Fields
from promptmill.wire.rendered_answers import anthropic_message, converse_output

_CONVERSE_FIELDS = frozenset(
    {"inferenceConfig", "toolConfig", "guardrailConfig", "outputConfig", "additionalModelRequestFields", "modelId"}
)
_OTHER_VENDORS: Mapping[str, str] = {
    "schemaVersion": "Amazon Nova's",
    "prompt": "a text-completion model's (Mistral, …)",
    "message": "Cohere's",
    "texts": "an embedding model's",
    "taskType": "an image or embedding model's",
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
    if vendor := vendor_of(given, recipe):
        return read_vendor_body(vendor, body)
    match _invocation(given, recipe):
        case "converse":
            return read_converse_body(body, recipe)
        case "native":
            body.take("anthropic_version")
            return read_message_body(body, recipe)
    whose = next((name for field, name in _OTHER_VENDORS.items() if field in given), "another vendor's")
    raise body.error(
        "",
        f"this looks like {whose} own body, which cannot be carried",
        code="unsupported_body",
        remedy="write it as Converse or as the body of a vendor that is known, or set invocation_type in the recipe",
    )


def _invocation(body: Mapping[str, Any], recipe: Recipe) -> Literal["converse", "native", ""]:
    """What kind of body it is; the recipe's word counts, but for bodies that are surely neither."""
    if "messages" not in body or any(field in body for field in _OTHER_VENDORS):
        return ""
    if recipe.invocation_type != "detect":
        return recipe.invocation_type
    if "anthropic_version" in body:
        return "native"
    if _CONVERSE_FIELDS & body.keys():
        return "converse"
    block = _first_block(body)
    if block is None:
        return ""
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
    if vendor := vendor_of(given, recipe):
        return {"modelOutput": vendor_output(vendor, outcome, completion, job_id)}
    make = anthropic_message if _invocation(given, recipe) == "native" else converse_output
    return {"modelOutput": make(outcome, completion, job_id)}


def _error(outcome: Outcome, failure: Failure) -> dict[str, Any]:
    status = outcome.attempts[-1].status if outcome.attempts and failure.kind == "provider" else 0
    code = status or (_BAD_REQUEST if failure.kind == "record" else _UNAVAILABLE)
    return {"errorCode": code, "errorMessage": f"{failure.code}: {failure.message}"}


BEDROCK = JsonLinesFormat("bedrock", _read, _write)
