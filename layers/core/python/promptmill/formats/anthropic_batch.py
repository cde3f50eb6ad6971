"""Anthropic batch lines, and ``{"requests": [...]}`` documents once they are lines; answered as its results file would.

A line is ``{"custom_id", "params"}``; only ``params`` must be there, and they may be a body of OpenAI's chat API.
Results are ``{custom_id, result}`` with a result
``{type: succeeded, message}``, ``{type: errored, error: {type: error, error: {type, message, details}}}`` where
``details.error_code`` is our code, or ``{type: canceled}`` for a record that the job's end left out, with the reason
in ``notes``. Otherwise ``notes`` is there only where something was changed.
"""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.formats.lines import JsonLinesFormat
from promptmill.wire.anthropic_messages.answer import write_answer
from promptmill.wire.anthropic_messages.request import read_request
from promptmill.wire.json_fields import Fields
from promptmill.wire.openai_chat import request as chat_request

_ERROR_TYPES = (
    ("rate", "rate_limit_error"),
    ("thrott", "rate_limit_error"),
    ("overload", "overloaded_error"),
    ("timeout", "timeout_error"),
)


def _read(line: Fields, _record: RawRecord, recipe: Recipe) -> CompletionRequest:
    line.take("custom_id")
    params = line.require_object("params")
    read = chat_request.read_request if chat_request.is_chat_body(params.values()) else read_request
    return read(params, recipe)


def _write(outcome: Outcome, given: dict[str, Any], _recipe: Recipe, job_id: str) -> dict[str, Any]:
    line = {"custom_id": given.get("custom_id"), "result": _result(outcome, job_id)}
    if outcome.failure is not None and outcome.failure.kind == "stopped":
        line["notes"] = (*outcome.notes, f"{outcome.failure.code}: {outcome.failure.message}")
    return line


def _result(outcome: Outcome, job_id: str) -> dict[str, Any]:
    failure = outcome.failure
    if failure is not None:
        return {"type": "canceled"} if failure.kind == "stopped" else _write_error(failure)
    if outcome.completion is None:
        raise ValueError("an outcome is an answer or a failure")
    return {"type": "succeeded", "message": write_answer(outcome, outcome.completion, job_id)}


def _write_error(failure: Failure) -> dict[str, Any]:
    details = {"error_code": failure.code}
    error = {"type": _error_type(failure), "message": failure.message, "details": details}
    return {"type": "errored", "error": {"type": "error", "error": error, "request_id": None}}


def _error_type(failure: Failure) -> str:
    if failure.kind == "record":
        return "invalid_request_error"
    return next((official for part, official in _ERROR_TYPES if part in failure.code.lower()), "api_error")


FORMAT = JsonLinesFormat("anthropic", _read, _write)
