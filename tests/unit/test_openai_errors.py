"""Every error that the reference names of OpenAI's and of those who speak like it, and what it does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from promptmill.domain.errors import ProviderError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.domain.provider_table import PROVIDERS
from promptmill.providers.openai import error_in_answer, error_of, holds_error, service_ended
from promptmill.wire.http_answer import HttpAnswer
from tests.fakes.clock import START

CLOSED, REFUSED, RETRIED = RouteClosedError, RecordRefusedError, RetryLaterError


def error_for(status: int, body: Any, headers: dict[str, str] | None = None) -> ProviderError:
    answer = HttpAnswer(status, headers or {}, msgspec.json.encode(body))
    return error_of(answer, msgspec.json.decode(answer.body), now=START)


def cloudflare(code: int) -> dict[str, Any]:
    return {"success": False, "errors": [{"code": code, "message": "m"}], "result": None, "messages": []}


def azure(code: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "m", **more}}


def perplexity(code: int, kind: str) -> dict[str, Any]:
    return {"error": {"message": "m", "type": kind, "code": code, "param": None}}


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        # Cloudflare: the day's neurons close the route for now, though they come as a 429
        (429, cloudflare(3036), CLOSED, "cloudflare_3036"),
        (429, cloudflare(3040), RETRIED, "cloudflare_3040"),
        (408, cloudflare(3007), RETRIED, "cloudflare_3007"),
        (408, cloudflare(3008), RETRIED, "cloudflare_3008"),
        (413, cloudflare(3006), REFUSED, "cloudflare_3006"),
        (400, cloudflare(5007), CLOSED, "cloudflare_5007"),
        (400, cloudflare(5004), REFUSED, "cloudflare_5004"),
        (400, cloudflare(3003), REFUSED, "cloudflare_3003"),
        *((403, cloudflare(code), CLOSED, f"cloudflare_{code}") for code in (5018, 5016, 3023, 3041)),
        (404, cloudflare(3042), CLOSED, "cloudflare_3042"),
        (405, cloudflare(5019), CLOSED, "cloudflare_5019"),
        (405, cloudflare(5005), CLOSED, "cloudflare_5005"),
        (500, cloudflare(9999), RETRIED, "cloudflare_9999"),
        # Azure
        (
            400,
            azure("content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
            REFUSED,
            "content_filter",
        ),
        (404, azure("DeploymentNotFound"), CLOSED, "DeploymentNotFound"),
        (429, azure("429"), RETRIED, "http_429"),
        (401, azure("401"), CLOSED, "http_401"),
        # Perplexity
        (429, perplexity(429, "request_rate_limit_exceeded"), RETRIED, "request_rate_limit_exceeded"),
        (400, perplexity(400, "bad_request"), REFUSED, "bad_request"),
        (401, perplexity(401, "unauthorized"), CLOSED, "unauthorized"),
        (403, perplexity(403, "forbidden"), CLOSED, "forbidden"),
        (413, perplexity(413, "too_large"), REFUSED, "too_large"),
        (424, perplexity(424, "x"), RETRIED, "x"),
        (503, perplexity(503, "x"), RETRIED, "x"),
        # Hugging Face: one of three shapes, by who is behind the router
        (401, {"error": "Invalid username or password."}, CLOSED, "http_401"),
        (402, {"error": "You have exceeded your monthly included credits"}, CLOSED, "http_402"),
        (402, {"message": "You have exceeded your monthly included credits"}, CLOSED, "http_402"),
        (400, {"error": {"message": "m", "code": "model_not_supported"}}, CLOSED, "model_not_supported"),
        (404, {"error": {"message": "m"}}, CLOSED, "http_404"),
        (429, {"message": "m"}, RETRIED, "http_429"),
        (502, {"error": "scaled to zero"}, RETRIED, "http_502"),
        (503, {"error": "503 Service Unavailable"}, RETRIED, "http_503"),
        # AI21
        *((status, {"detail": "m"}, CLOSED, f"http_{status}") for status in (401, 403, 404)),
        *((status, {"detail": "m"}, REFUSED, f"http_{status}") for status in (400, 422)),
        (422, {"detail": [{"loc": ["body", "n"], "msg": "m", "type": "t"}]}, REFUSED, "http_422"),
        *((status, {"detail": "m"}, RETRIED, f"http_{status}") for status in (408, 429, 500, 503)),
        # GooseAI
        (402, {"error": {"message": "m", "type": "t", "code": "c"}}, CLOSED, "c"),
        (404, {"error": {"message": "no such engine", "type": "t", "code": None}}, CLOSED, "t"),
        (429, {"error": {"message": "m", "type": "t"}}, RETRIED, "t"),
        (500, {}, RETRIED, "http_500"),
    ],
)
def test_what_an_error_does(status: int, body: Any, kind: type[ProviderError], code: str) -> None:
    error = error_for(status, body)
    assert (type(error), error.code, error.status) == (kind, code, status)


@pytest.mark.parametrize(
    ("raw", "is_one"),
    [
        ({"error": {"message": "m"}}, True),
        ({"error": "m"}, True),
        ({"success": False, "errors": [{"code": 3040}]}, True),
        ({"error": None, "output": []}, False),
        ({"error": {"message": "m"}, "choices": [{}]}, False),
        ({"choices": []}, False),
        ([], False),
        (None, False),
    ],
)
def test_errors_hide_in_answers(raw: Any, is_one: bool) -> None:
    assert holds_error(raw) is is_one


def test_an_error_in_an_answer_may_be_charged_whatever_it_does() -> None:
    bodies = [azure("rate_limit_exceeded"), azure("insufficient_quota"), azure("content_filter")]
    errors = [error_in_answer(body, {"x-request-id": "r"}, now=START) for body in bodies]
    assert [type(error) for error in errors] == [RETRIED, CLOSED, REFUSED]
    assert all(error.usage_unknown and error.request_id == "r" for error in errors)


@pytest.mark.parametrize(
    ("error", "url", "code"),
    [
        (RouteClosedError("http_410", status=410), "https://api.ai21.com/studio/v1/chat/completions", "service_ended"),
        (RetryLaterError("connection"), "https://api.ai21.com/studio/v1/chat/completions", "service_ended"),
        (RetryLaterError("connection"), "https://jamba.example/v1/chat/completions", "connection"),
        (RetryLaterError("http_503", status=503), "https://api.ai21.com/studio/v1/chat/completions", "http_503"),
    ],
)
def test_a_service_that_has_ended_says_so(error: ProviderError, url: str, code: str) -> None:
    ended = service_ended(error, PROVIDERS["ai21"], url)
    assert (ended.code if ended else error.code) == code
    assert ended is None or "base_url" in ended.detail
