"""Batch lines of Gemini, on Vertex AI or at Google's Gemini API, and of Claude on Vertex AI.

A line is ``{"request"}`` (Vertex AI) or ``{"key", "request"}`` (Gemini API), or the request itself, with ``contents``.
Results are ``{status, processed_time, request, response}`` or, where the line has a key,
``{key, response}``; a failure has its reason in ``status``, or in ``error: {code, message}``. ``notes`` is there only where
something was changed.
"""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome, RawRecord
from promptmill.formats.lines import JsonLinesFormat
from promptmill.wire.anthropic_messages import answer as messages_answer
from promptmill.wire.anthropic_messages import request as messages_request
from promptmill.wire.json_fields import Fields
from promptmill.wire.lines import gemini as gemini_lines

_ITS_OWN = ("key", "custom_id", "metadata")


def _read(line: Fields, _record: RawRecord, recipe: Recipe) -> CompletionRequest:
    if "request" not in line and "contents" in line:
        request = gemini_lines.read_request(line, recipe)
        for name in line.values():
            line.take(name)
        return request
    for name in _ITS_OWN:
        line.take(name)
    body = line.require_object("request")
    if "messages" in body:
        body.take("anthropic_version")
        return messages_request.read_request(body, recipe)
    return gemini_lines.read_request(body, recipe)


def _write(outcome: Outcome, given: dict[str, Any], _recipe: Recipe, job_id: str) -> dict[str, Any]:
    names = {name: given[name] for name in _ITS_OWN if name in given}
    failure = outcome.failure
    response = _response(outcome, given, job_id)
    if "key" in given:
        failed = {"error": {"code": failure.code, "message": failure.message}} if failure else {}
        return {**names, **(failed or {"response": response})}
    status = f"{failure.code}: {failure.message}" if failure else ""
    at = outcome.attempts[-1].started_at if outcome.attempts else ""
    return {
        **names,
        "status": status,
        "processed_time": at,
        "request": given.get("request", given),
        "response": response,
    }


def _response(outcome: Outcome, given: dict[str, Any], job_id: str) -> dict[str, Any]:
    completion, asked = outcome.completion, given.get("request")
    if completion is None or outcome.failure is not None:
        return {}
    is_claude = isinstance(asked, dict) and "messages" in asked
    write = messages_answer.write_answer if is_claude else gemini_lines.write_answer
    return write(outcome, completion, job_id)


FORMAT = JsonLinesFormat("vertex", _read, _write)
