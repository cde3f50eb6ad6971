"""Providers that speak OpenAI's protocols in their own way, from their side."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, get_args

import msgspec
from perplexity.types.embedding_create_params import EmbeddingCreateParams
from perplexity.types.response_create_params import ResponseCreateParamsNonStreaming, ResponseCreateParamsStreaming

from tests.fakes.providers import openai_answers, openai_responses
from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire
from tests.fakes.providers.openai import Dialect, OpenAi, answer_in, common_problem
from tests.fakes.providers.typed_params import problem_with

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
KEYS: Mapping[str, str] = {
    "azure": "fake-azure-key-0123456789abcdef",
    "perplexity": "pplx-fake-key",
    "cloudflare": "fake-cloudflare-token",
    "huggingface": "hf_fake_token",
    "ai21": "fake-ai21-key",
    "gooseai": "sk-fake-goose-key",
}
_STATUS: Mapping[Trouble, int] = {
    "throttled": 429,
    "overloaded": 503,
    "unauthorized": 401,
    "out_of_money": 402,
    "too_long": 400,
    "no_such_model": 404,
    "bad_field": 422,
    "filtered": 400,
}


class _Like(OpenAi):
    """A server that has errors of its own, and gives requests an id."""

    request_id: Mapping[str, str] = {"x-request-id": "req_fake_1"}
    max_tokens_field = "max_tokens"

    def __init__(self) -> None:
        super().__init__("openai")

    def refuse(self, status: int, code: str, message: str) -> Wire:
        del code
        return self.error(status, message)

    def problem(self, sent: Sent, dialect: Dialect) -> str | None:
        other = {"max_tokens": "max_completion_tokens"}.get(self.max_tokens_field, "max_tokens")
        if other in sent.body:
            return f"unknown field {other}"
        return common_problem(sent, dialect)

    def refusal(self, behaviour: Refuse) -> Wire:
        wire = self.error(_STATUS[behaviour.trouble], self.words(behaviour.trouble))
        return msgspec.structs.replace(wire, headers={**wire.headers, **behaviour.headers})

    def words(self, trouble: Trouble) -> str:
        return "maximum context length is 4096 tokens" if trouble == "too_long" else f"{trouble} on purpose"

    def error(self, status: int, message: str) -> Wire:
        return Wire(status, {"error": {"message": message}}, dict(self.request_id))

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        dialect = self.dialect_of(sent)
        assert dialect is not None
        model = sent.body.get("model", "m")
        return answer_in(dialect, behaviour, sent, headers=dict(self.request_id), model=model)


class Azure(_Like):
    """Both of its address styles. The deployment is called ``my-luna``, the model under it ``gpt-6-luna``."""

    key_header, key = "api-key", KEYS["azure"]
    request_id = {"apim-request-id": "req_fake_1"}  # noqa: RUF012 (see the base class)
    max_tokens_field = "max_completion_tokens"
    _CURRENT = re.compile(r"/openai/v1/(chat/completions|responses|completions|embeddings)(?:\?api-version=preview)?")
    _OLDER = re.compile(
        r"/openai/(?:deployments/my-luna/(chat/completions|completions|embeddings)|(responses))\?api-version=20\d\d-\d\d-\d\d(?:-preview)?"
    )

    def dialect_of(self, sent: Sent) -> Dialect | None:
        found = self._CURRENT.fullmatch(sent.path) or self._OLDER.fullmatch(sent.path)
        name = next(filter(None, found.groups()), "").partition("/")[0] if found else ""
        return next((dialect for dialect in get_args(Dialect) if dialect == name), None)

    def problem(self, sent: Sent, dialect: Dialect) -> str | None:
        if "authorization" in sent.headers:
            return "two keys"
        if self._OLDER.fullmatch(sent.path) and dialect == "chat" and "store" in sent.body:
            return "Unrecognized request argument supplied: store"
        return common_problem(sent, dialect) if dialect != "chat" else super().problem(sent, dialect)

    def refusal(self, behaviour: Refuse) -> Wire:
        if behaviour.trouble == "filtered":
            inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"violence": {"filtered": True}}}
            error = {"code": "content_filter", "status": 400, "param": "prompt", "message": "m", "innererror": inner}
            return Wire(400, {"error": error}, dict(self.request_id))
        if behaviour.trouble == "no_such_model":
            return Wire(404, {"error": {"code": "DeploymentNotFound", "message": "m"}}, dict(self.request_id))
        wire = super().refusal(behaviour)
        code = {"throttled": "429", "too_long": "context_length_exceeded"}.get(behaviour.trouble, "x")
        return msgspec.structs.replace(wire, body={"error": {**wire.body["error"], "code": code}})

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        dialect = self.dialect_of(sent)
        assert dialect is not None
        model = "gpt-6-luna-2026-01-01"
        wire = answer_in(dialect, behaviour, sent, headers=dict(self.request_id), model=model)
        if dialect == "chat" and wire.blocks:
            prompt = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
            return msgspec.structs.replace(wire, blocks=(openai_answers.sse(prompt), *wire.blocks))
        return wire


class Perplexity(_Like):
    """Its own SDK's types decide, and an unknown field is a 400."""

    key = f"Bearer {KEYS['perplexity']}"
    _PARAMS: Mapping[str, Any] = {
        "False": ResponseCreateParamsNonStreaming,
        "True": ResponseCreateParamsStreaming,
    }

    def dialect_of(self, sent: Sent) -> Dialect | None:
        paths: Mapping[str, Dialect] = {
            "/v1/responses": "responses",
            "/v1/agent": "responses",
            "/v1/embeddings": "embeddings",
        }
        return paths.get(sent.path)

    def problem(self, sent: Sent, dialect: Dialect) -> str | None:
        if dialect == "embeddings":
            return problem_with(sent.body, EmbeddingCreateParams)
        return problem_with(sent.body, self._PARAMS[str(sent.body.get("stream", False))])

    def error(self, status: int, message: str) -> Wire:
        body = {"error": {"message": message, "type": "error", "code": status, "param": None}}
        return Wire(status, body, dict(self.request_id))

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        if self.dialect_of(sent) == "embeddings":
            return Wire(200, self._embeddings(behaviour, sent), dict(self.request_id))
        whole = openai_responses.response(behaviour, sent.body["model"])
        found = {"type": "search_results", "results": [], "queries": []}
        whole["output"] = [found, *(item for item in whole["output"] if item["type"] != "reasoning")]
        whole["usage"] = self._usage(behaviour) if behaviour.with_usage else None
        if not sent.body.get("stream"):
            return Wire(200, whole, dict(self.request_id))
        blocks = openai_responses.blocks(whole, with_usage=True)
        failed = {"type": "response.failed", "sequence_number": 9, "error": {"message": "boom", "type": "server_error"}}
        return Wire(200, None, dict(self.request_id), blocks, openai_answers.sse(failed))

    def _usage(self, answer: Answer) -> dict[str, Any]:
        return {
            "input_tokens": answer.input_tokens,
            "output_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
            "input_tokens_details": {
                "cache_read_input_tokens": answer.cache_read,
                "cache_creation_input_tokens": answer.cache_write,
            },
            "tool_calls_details": {"search_web": {"invocation": 1}},
            "cost": {
                "currency": "USD",
                "input_cost": 0.00005,
                "output_cost": 0.0001,
                "tool_calls_cost": 0.0025,
                "total_cost": 0.00265,
            },
        }

    def _embeddings(self, behaviour: Answer, sent: Sent) -> dict[str, Any]:
        vectors = [bytes([len(text) % 128, 255]) for text in sent.body["input"]]
        data = [
            {"object": "embedding", "index": index, "embedding": base64.b64encode(vector).decode()}
            for index, vector in enumerate(vectors)
        ]
        cost = {"currency": "USD", "input_cost": 0.000001, "total_cost": 0.000001}
        usage = {"prompt_tokens": behaviour.input_tokens, "total_tokens": behaviour.input_tokens, "cost": cost}
        return {"object": "list", "data": data, "model": sent.body["model"], "usage": usage}


class Cloudflare(_Like):
    root, key = f"/client/v4/accounts/{ACCOUNT}/ai/v1", f"Bearer {KEYS['cloudflare']}"
    dialects = ("chat", "responses", "embeddings")
    request_id = {"cf-ray": "req_fake_1"}  # noqa: RUF012 (see the base class)
    _CODES: Mapping[Trouble, tuple[int, int]] = {
        "throttled": (429, 3040),
        "overloaded": (408, 3007),
        "unauthorized": (401, 10000),
        "out_of_money": (429, 3036),
        "too_long": (413, 3006),
        "no_such_model": (400, 5007),
        "bad_field": (400, 5004),
        "filtered": (400, 3003),
    }

    def problem(self, sent: Sent, dialect: Dialect) -> str | None:
        if dialect == "chat" and "max_tokens" not in sent.body:
            return "the answer would be cut at 256 tokens"
        return super().problem(sent, dialect)

    def refusal(self, behaviour: Refuse) -> Wire:
        status, code = self._CODES[behaviour.trouble]
        wire = self.error(status, self.words(behaviour.trouble), code)
        return msgspec.structs.replace(wire, headers={**wire.headers, **behaviour.headers})

    def error(self, status: int, message: str, code: int = 7000) -> Wire:
        body = {"success": False, "errors": [{"code": code, "message": message}], "result": None, "messages": []}
        return Wire(status, body, dict(self.request_id))


class HuggingFace(_Like):
    """The router. What its errors look like depends on who is behind it."""

    key = f"Bearer {KEYS['huggingface']}"
    dialects = ("chat", "responses")

    def problem(self, sent: Sent, dialect: Dialect) -> str | None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+(?::[\w-]+)?", sent.body.get("model", "")):
            return "model must be org/name, with or without :provider"
        return common_problem(sent, dialect)

    def error(self, status: int, message: str) -> Wire:
        shapes: Mapping[int, dict[str, Any]] = {402: {"error": message}, 429: {"message": message}}
        return Wire(status, shapes.get(status, {"error": {"message": message}}), dict(self.request_id))


class HuggingFaceEndpoint(OpenAi):
    """An endpoint that scales to zero: nothing but its gateway answers until it is up."""

    def __init__(self) -> None:
        super().__init__("vllm")

    def problem(self, sent: Sent, dialect: Dialect) -> str | None:
        if "max_completion_tokens" in sent.body:
            return "unknown field"
        return common_problem(sent, dialect, also=frozenset({"top_k"}))

    def refusal(self, behaviour: Refuse) -> Wire:
        if behaviour.trouble == "overloaded":
            return Wire(503, {"error": "503 Service Unavailable"}, {"x-request-id": "req_fake_1"})
        return super().refusal(behaviour)


class Ai21(_Like):
    """Jamba, hosted by somebody."""

    root, key = "/studio/v1", f"Bearer {KEYS['ai21']}"
    dialects = ("chat",)
    _FIELDS = frozenset(
        ("model", "messages", "max_tokens", "temperature", "top_p", "stop", "n", "stream", "tools", "response_format")
    )

    def problem(self, sent: Sent, dialect: Dialect) -> str | None:
        if unknown := sent.body.keys() - self._FIELDS - {"documents"}:
            return f"unknown fields: {unknown}"
        if (sent.body.get("response_format") or {}).get("type") not in (None, "text", "json_object"):
            return "response_format: text or json_object"
        return super().problem(sent, dialect)

    def error(self, status: int, message: str) -> Wire:
        return Wire(status, {"detail": message}, dict(self.request_id))

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        whole = openai_answers.chat(behaviour, sent.body["model"])
        counts = {"prompt_tokens": behaviour.input_tokens, "completion_tokens": behaviour.output_tokens}
        usage = {**counts, "total_tokens": sum(counts.values())}
        if behaviour.with_usage:
            whole["usage"] = usage
        if not sent.body.get("stream"):
            return Wire(200, whole, dict(self.request_id))
        blocks = openai_answers.blocks(whole, with_usage=True)
        return Wire(200, None, dict(self.request_id), blocks, openai_answers.ERROR_BLOCK)


class GooseAi(_Like):
    """Completions of base models. No usage, no ids, and the model is in the address."""

    key = f"Bearer {KEYS['gooseai']}"
    request_id: Mapping[str, str] = {}
    _FIELDS = frozenset(
        (
            *("prompt", "max_tokens", "min_tokens", "temperature", "top_p", "top_k", "tfs", "top_a", "typical_p"),
            *("repetition_penalty", "frequency_penalty", "presence_penalty", "n", "logit_bias", "logprobs", "echo"),
            *("stop", "stream"),
        )
    )

    def dialect_of(self, sent: Sent) -> Dialect | None:
        return "completions" if sent.path == "/v1/engines/gpt-neo-20b/completions" else None

    def problem(self, sent: Sent, dialect: Dialect) -> str | None:
        del dialect
        if unknown := sent.body.keys() - self._FIELDS:
            return f"unknown fields: {unknown}"
        return None if isinstance(sent.body.get("prompt"), str) else "prompt is missing"

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        whole = openai_answers.completion(behaviour, "gpt-neo-20b")
        del whole["usage"]
        if not sent.body.get("stream"):
            return Wire(200, whole)
        blocks = openai_answers.blocks(whole, with_usage=False)
        return Wire(200, None, {}, blocks, openai_answers.ERROR_BLOCK)
