"""OpenAI batch lines for chat completions, answered as OpenAI's output and error files would.

A line is ``{"custom_id", "method", "url", "body"}``; of these only ``body`` must be there, so that lines of Fireworks
and Together are taken too. Results are ``{id, custom_id, response: {status_code, request_id, body}, error}`` with a
``body`` that is a ``ChatCompletion``. Where there is no answer, also where the model's provider refused the request,
``response`` is null and ``error`` is ``{code, message}``. ``notes`` is there only where something was changed.
"""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.dialects.answers import chat_completion
from promptmill.domain.dialects.fields import Fields
from promptmill.domain.dialects.json_lines import JsonLinesDialect
from promptmill.domain.dialects.openai_body import read_chat_body
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome, RawRecord

_URLS = ("", "/v1/chat/completions", "/chat/completions", "/openai/v1/chat/completions")


def _read(line: Fields, _record: RawRecord, recipe: Recipe) -> CompletionRequest:
    line.take("custom_id")
    _check_endpoint(line)
    return read_chat_body(line.require_object("body"), recipe)


def _write(outcome: Outcome, given: dict[str, Any], _recipe: Recipe, job_id: str) -> dict[str, Any]:
    return {
        "id": f"batch_req_{job_id}_{outcome.record.index}",
        "custom_id": given.get("custom_id"),
        "response": _response(outcome, job_id),
        "error": _error(outcome),
    }


def _check_endpoint(line: Fields) -> None:
    url, method = line.take_text("url") or "", line.take_text("method") or "POST"
    if url.rstrip("/") not in _URLS or method.upper() != "POST":
        field = "method" if method.upper() != "POST" else "url"
        raise line.error(
            field,
            "only POST to /v1/chat/completions can be run",
            code="unsupported_endpoint",
            remedy="write the line as a chat completion",
        )


def _response(outcome: Outcome, job_id: str) -> dict[str, Any] | None:
    completion = outcome.completion
    if completion is None or outcome.failure is not None:
        return None
    body = chat_completion(outcome, completion, job_id)
    return {"status_code": 200, "request_id": completion.request_id, "body": body}


def _error(outcome: Outcome) -> dict[str, Any] | None:
    failure = outcome.failure
    return None if failure is None else {"code": failure.code, "message": failure.message}


OPENAI = JsonLinesDialect("openai", _read, _write)
