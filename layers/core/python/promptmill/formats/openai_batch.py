"""OpenAI batch lines for chat completions and embeddings, answered as OpenAI's output and error files would.

A line is ``{"custom_id", "method", "url", "body"}``; of these only ``body`` must be there, so that lines of Fireworks
and Together are taken too. Results are ``{id, custom_id, response: {status_code, request_id, body}, error}`` with a
``body`` that is a ``ChatCompletion`` or a ``CreateEmbeddingResponse``. Where there is no answer, also where the model's provider refused the request,
``response`` is null and ``error`` is ``{code, message}``. ``notes`` is there only where something was changed.
"""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome, RawRecord
from promptmill.formats.lines import JsonLinesFormat
from promptmill.wire import openai_embeddings
from promptmill.wire.json_fields import Fields
from promptmill.wire.openai_chat import answer as chat_answer
from promptmill.wire.openai_chat import request as chat_request

_CHAT = ("", "/v1/chat/completions", "/chat/completions", "/openai/v1/chat/completions")
_EMBEDDINGS = ("/v1/embeddings", "/embeddings", "/openai/v1/embeddings")


def _read(line: Fields, _record: RawRecord, recipe: Recipe) -> CompletionRequest:
    line.take("custom_id")
    endpoint = _endpoint(line)
    body = line.require_object("body")
    if endpoint in _EMBEDDINGS:
        return openai_embeddings.read_request(body)
    return chat_request.read_request(body, recipe)


def _write(outcome: Outcome, given: dict[str, Any], _recipe: Recipe, job_id: str) -> dict[str, Any]:
    return {
        "id": f"batch_req_{job_id}_{outcome.record.index}",
        "custom_id": given.get("custom_id"),
        "response": _response(outcome, job_id),
        "error": _error(outcome),
    }


def _endpoint(line: Fields) -> str:
    url, method = (line.take_text("url") or "").rstrip("/"), line.take_text("method") or "POST"
    if url not in (*_CHAT, *_EMBEDDINGS) or method.upper() != "POST":
        field = "method" if method.upper() != "POST" else "url"
        raise line.error(
            field,
            "only POST to /v1/chat/completions and /v1/embeddings can be run",
            code="unsupported_endpoint",
            remedy="write the line as a chat completion",
        )
    return url


def _response(outcome: Outcome, job_id: str) -> dict[str, Any] | None:
    completion = outcome.completion
    if completion is None or outcome.failure is not None:
        return None
    write = openai_embeddings.write_answer if completion.embeddings else chat_answer.write_answer
    body = write(outcome, completion, job_id)
    return {"status_code": 200, "request_id": completion.request_id, "body": body}


def _error(outcome: Outcome) -> dict[str, Any] | None:
    failure = outcome.failure
    return None if failure is None else {"code": failure.code, "message": failure.message}


FORMAT = JsonLinesFormat("openai", _read, _write)
