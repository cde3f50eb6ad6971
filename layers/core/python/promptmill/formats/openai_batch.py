"""OpenAI batch lines of its endpoints that answer in words or vectors, answered as OpenAI's output and error files would.

A line is ``{"custom_id", "method", "url", "body"}``; of these only ``body`` must be there, so that lines of Fireworks
and Together are taken too; a line may also be the body itself. The ``url`` may be whole, lack its slash or be a path of
Azure's deployments: only its end says something, and nothing is ever sent to it. Results are
``{id, custom_id, response: {status_code, request_id, body}, error}`` with a ``body`` of the API that the line asked.
Where there is no answer, also where the model's provider refused the request, ``response`` is null and ``error`` is
``{code, message}``. ``notes`` is there only where something was changed.
"""

from __future__ import annotations

import base64
import re
from array import array
from collections.abc import Mapping
from typing import Any

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome, RawRecord
from promptmill.formats.lines import JsonLinesFormat
from promptmill.wire.anthropic_messages import answer as messages_answer
from promptmill.wire.anthropic_messages import request as messages_request
from promptmill.wire.json_fields import Fields
from promptmill.wire.openai import embeddings as openai_embeddings
from promptmill.wire.openai_chat import answer as chat_answer
from promptmill.wire.openai_chat import request as chat_request

_HOST = re.compile(r"https?://(?:[a-z0-9-]+\.)*(?:openai\.com|openai\.azure\.com|services\.ai\.azure\.com)(?=/|$)")
_PATH = re.compile(
    r"/*(?:openai/)?(?:v\d+/)?(?:deployments/[^/]+/)?"
    r"(chat/completions|completions|responses|embeddings|messages|moderations)/*"
)
_USUAL = {f"/v1/{name}": name for name in ("chat/completions", "responses", "embeddings")}
_RUN = "chat/completions, responses, completions, embeddings, moderations and messages"


def _read(line: Fields, _record: RawRecord, recipe: Recipe) -> CompletionRequest:
    line.take("custom_id")
    is_bare = "body" not in line and ("input" in line or "messages" in line)
    body = line if is_bare else line.require_object("body")
    endpoint = _endpoint(line, body.values())
    match endpoint:
        case "embeddings":
            return openai_embeddings.read_request(body, recipe)
        case "moderations":
            from promptmill.wire.openai import moderations  # noqa: PLC0415 (few lines ask for them)

            return moderations.read_request(body, recipe)
        case "responses" | "completions":
            from promptmill.wire.lines import openai as openai_lines  # noqa: PLC0415 (most lines are chat completions)

            is_response = endpoint == "responses"
            read = openai_lines.read_response_request if is_response else openai_lines.read_completion_request
            return read(body, recipe)
        case "messages":
            return messages_request.read_request(body, recipe)
    return chat_request.read_request(body, recipe)


def _write(outcome: Outcome, given: dict[str, Any], _recipe: Recipe, job_id: str) -> dict[str, Any]:
    return {
        "id": f"batch_req_{job_id}_{outcome.record.index}",
        "custom_id": given.get("custom_id"),
        "response": _response(outcome, given, job_id),
        "error": _error(outcome),
    }


def _endpoint(line: Fields, body: Mapping[str, Any]) -> str:
    url, method = line.take_text("url") or "", line.take_text("method") or "POST"
    endpoint = _endpoint_at(url, body)
    if not endpoint or method.upper() != "POST":
        raise line.error(
            "method" if method.upper() != "POST" else "url",
            f"only POST to {_RUN} can be run",
            code="unsupported_endpoint",
            remedy="write the line as a chat completion",
        )
    return endpoint


def _endpoint_at(url: str, body: Mapping[str, Any]) -> str:
    """Return the endpoint that a URL names, or that a body without one is written for; "" if that is not known."""
    if not url:
        if "messages" in body or "input" not in body:
            return "chat/completions"
        if "moderation" in str(body.get("model")):
            return "moderations"
        return "responses" if body.keys() & {"instructions", "max_output_tokens", "text"} else "embeddings"
    if url in _USUAL:
        return _USUAL[url]
    path = _HOST.sub("", url.partition("?")[0].lower(), count=1)
    found = _PATH.fullmatch(path)
    return found[1] if found else ""


def _response(outcome: Outcome, given: Mapping[str, Any], job_id: str) -> dict[str, Any] | None:
    completion = outcome.completion
    if completion is None or outcome.failure is not None:
        return None
    asked = given.get("body") if isinstance(given.get("body"), dict) else given
    body = _answer_body(outcome, given, asked if isinstance(asked, dict) else {}, job_id)
    return {"status_code": 200, "request_id": completion.request_id, "body": body}


def _answer_body(outcome: Outcome, given: Mapping[str, Any], asked: Mapping[str, Any], job_id: str) -> dict[str, Any]:
    completion = outcome.completion
    if completion is None:
        raise ValueError("an outcome is an answer or a failure")
    if completion.embeddings:
        body = openai_embeddings.write_answer(outcome, completion, job_id)
        return _in_base64(body) if asked.get("encoding_format") == "base64" else body
    url = given.get("url")
    match _endpoint_at(url if isinstance(url, str) else "", asked):
        case "responses" | "completions" as endpoint:
            from promptmill.wire.lines import openai as openai_lines  # noqa: PLC0415 (most lines are chat completions)

            is_response = endpoint == "responses"
            write = openai_lines.write_response_answer if is_response else openai_lines.write_completion_answer
            return write(outcome, completion, job_id)
        case "moderations":
            from promptmill.wire.openai import moderations  # noqa: PLC0415

            return moderations.write_answer(outcome, completion, job_id)
        case "messages":
            return messages_answer.write_answer(outcome, completion, job_id)
    return chat_answer.write_answer(outcome, completion, job_id)


def _in_base64(body: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of vectors as the line asked for them: little-endian floats of 32 bits in base64."""
    data = [
        {**item, "embedding": base64.b64encode(array("f", item["embedding"]).tobytes()).decode()}
        for item in body["data"]
    ]
    return {**body, "data": data}


def _error(outcome: Outcome) -> dict[str, Any] | None:
    failure = outcome.failure
    return None if failure is None else {"code": failure.code, "message": failure.message}


FORMAT = JsonLinesFormat("openai", _read, _write)
