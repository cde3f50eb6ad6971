"""OpenAI's chat, responses, completions, embeddings and moderations from the server's side, and servers in the way of vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec
from openai.types import EmbeddingCreateParams, ModerationCreateParams
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from openai.types.completion_create_params import (
    CompletionCreateParamsNonStreaming as TextParams,
)
from openai.types.completion_create_params import (
    CompletionCreateParamsStreaming as TextStreamParams,
)
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from tests.fakes.providers import openai_answers, openai_responses
from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire
from tests.fakes.providers.typed_params import problem_with

KEY = "sk-fake-openai-key"
Dialect = Literal["chat", "responses", "completions", "embeddings", "moderations"]
REQUEST_ID = {"x-request-id": "req_fake_1"}
PARAMS: Mapping[tuple[Dialect, bool], Any] = {
    ("chat", False): CompletionCreateParamsNonStreaming,
    ("chat", True): CompletionCreateParamsStreaming,
    ("responses", False): ResponseCreateParamsNonStreaming,
    ("responses", True): ResponseCreateParamsStreaming,
    ("completions", False): TextParams,
    ("completions", True): TextStreamParams,
    ("embeddings", False): EmbeddingCreateParams,
    ("moderations", False): ModerationCreateParams,
}
_PATHS: Mapping[str, Dialect] = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/completions": "completions",
    "/embeddings": "embeddings",
    "/moderations": "moderations",
}
_TROUBLES: Mapping[Trouble, tuple[int, str, str]] = {
    "throttled": (429, "rate_limit_error", "rate_limit_exceeded"),
    "overloaded": (503, "server_error", "server_is_overloaded"),
    "unauthorized": (401, "invalid_request_error", "invalid_api_key"),
    "out_of_money": (429, "insufficient_quota", "insufficient_quota"),
    "too_long": (400, "invalid_request_error", "context_length_exceeded"),
    "no_such_model": (404, "invalid_request_error", "model_not_found"),
    "bad_field": (400, "invalid_request_error", "unsupported_value"),
    "filtered": (400, "invalid_request_error", "content_policy_violation"),
}
_TOO_LONG = "This model's maximum context length is 4096 tokens"


class OpenAi:
    """OpenAI itself, or a server that speaks like it.

    Args:
        flavour: ``vllm`` knows neither of OpenAI's newer names of fields.
        own: how this server differs: ``root`` of its paths, ``key_header`` in lower case, ``key`` as that header has it.
    """

    root, key_header, key = "/v1", "authorization", f"Bearer {KEY}"
    dialects: tuple[Dialect, ...] = get_args(Dialect)

    def __init__(self, flavour: Literal["openai", "vllm"] = "openai", **own: str) -> None:
        self._flavour = flavour
        vars(self).update(own)

    def refusal_of(self, sent: Sent) -> Wire | None:
        dialect = self.dialect_of(sent)
        if dialect is None or sent.method != "POST":
            return self.refuse(404, "unknown_url", f"Invalid URL {sent.path}")
        if sent.headers.get(self.key_header) != self.key:
            return self.refuse(401, "invalid_api_key", "Incorrect API key provided")
        wrong = self.problem(sent, dialect)
        return self.refuse(400, "invalid_value", wrong) if wrong else None

    def refuse(self, status: int, code: str, message: str) -> Wire:
        return error(status, "invalid_request_error", code, message)

    def dialect_of(self, sent: Sent) -> Dialect | None:
        if not sent.path.startswith(self.root):
            return None
        dialect = _PATHS.get(sent.path.removeprefix(self.root))
        return dialect if dialect in self.dialects else None

    def problem(self, sent: Sent, dialect: Dialect) -> str | None:
        other = "max_tokens" if self._flavour == "openai" and dialect == "chat" else "max_completion_tokens"
        if other in sent.body:
            return f"Unsupported parameter: '{other}' is not supported with this model."
        also = frozenset({"top_k"}) if self._flavour == "vllm" else frozenset[str]()
        return common_problem(sent, dialect, also=also)

    def refusal(self, behaviour: Refuse) -> Wire:
        status, kind, code = _TROUBLES[behaviour.trouble]
        if self._flavour == "vllm" and behaviour.trouble == "too_long":
            body = {"error": {"message": _TOO_LONG, "type": "BadRequestError", "param": None, "code": 400}}
            return Wire(400, body, behaviour.headers)
        wire = error(status, kind, code, f"{behaviour.trouble} on purpose")
        return msgspec.structs.replace(wire, headers={**wire.headers, **behaviour.headers})

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        dialect = self.dialect_of(sent)
        assert dialect is not None
        return answer_in(dialect, behaviour, sent, headers=REQUEST_ID, model=f"{sent.body['model']}-2026-01-01")


def common_problem(sent: Sent, dialect: Dialect, *, also: frozenset[str] = frozenset()) -> str | None:
    """Return what any such server finds wrong: by OpenAI's own types, and a schema that is not closed."""
    if sent.headers.get("content-type") != "application/json":
        return "Content-Type must be application/json"
    streamed = sent.body.get("stream") is True
    return problem_with(sent.body, PARAMS[dialect, streamed], also=also) or _loose_schema(sent.body)


def answer_in(dialect: Dialect, behaviour: Answer, sent: Sent, *, headers: dict[str, str], model: str) -> Wire:
    """Return the answer as a whole, or as a stream if one was asked for."""
    if dialect == "embeddings":
        return Wire(200, openai_answers.embeddings(behaviour, sent, model), headers)
    if dialect == "moderations":
        return Wire(200, openai_answers.moderations(sent, model), headers)
    shape = openai_responses if dialect == "responses" else openai_answers
    whole = {
        "chat": openai_answers.chat,
        "completions": openai_answers.completion,
        "responses": openai_responses.response,
    }[dialect](behaviour, model)
    if not sent.body.get("stream"):
        return Wire(200, whole, headers)
    with_usage = dialect == "responses" or bool((sent.body.get("stream_options") or {}).get("include_usage"))
    return Wire(200, None, headers, shape.blocks(whole, with_usage=with_usage), shape.ERROR_BLOCK)


def error(status: int, kind: str, code: str, message: str) -> Wire:
    return Wire(status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, REQUEST_ID)


def _loose_schema(body: dict[str, Any]) -> str | None:
    wanted = (body.get("response_format") or {}).get("json_schema") or (body.get("text") or {}).get("format") or {}
    if wanted.get("strict") and not _is_closed(wanted.get("schema") or {}):
        return "Invalid schema for response_format: 'additionalProperties' is required to be supplied and to be false."
    return None


def _is_closed(schema: Any) -> bool:
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
    return all(map(_is_closed, schema.values()))
