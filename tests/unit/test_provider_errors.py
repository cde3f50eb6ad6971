"""Every error code of the providers, and what it does to the record and to the route."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.errors import ProviderError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.providers import anthropic as anthropic_provider
from promptmill.providers import openai as openai_provider
from promptmill.providers.bedrock import errors as bedrock_errors
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields, provider_error
from tests.fakes.clock import START

OPENAI, ANTHROPIC, BEDROCK = openai_provider.VERDICTS, anthropic_provider.VERDICTS, bedrock_errors.VERDICTS


def error_for(verdicts: Verdicts, status: int, body: Any, headers: dict[str, str] | None = None) -> ProviderError:
    codes, message = error_fields(body)
    return provider_error(ErrorReply(status, codes, message, headers or {}), verdicts, now=START)


def openai_body(code: str, kind: str = "invalid_request_error", message: str = "m") -> Any:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic_body(kind: str, error_code: str | None = None, message: str = "m") -> Any:
    details = {"details": {"error_code": error_code}} if error_code else {}
    return {"type": "error", "error": {"type": kind, "message": message, **details}}


CLOSED, REFUSED, RETRIED = RouteClosedError, RecordRefusedError, RetryLaterError


@pytest.mark.parametrize(
    ("verdicts", "status", "body", "kind", "code"),
    [
        (OPENAI, 429, openai_body("rate_limit_exceeded", "requests"), RETRIED, "rate_limit_exceeded"),
        (OPENAI, 429, openai_body("slow_down", "rate_limit_error"), RETRIED, "slow_down"),
        (OPENAI, 429, openai_body("x", "insufficient_quota"), CLOSED, "insufficient_quota"),
        (OPENAI, 429, openai_body("credit_balance_exhausted"), CLOSED, "credit_balance_exhausted"),
        (OPENAI, 429, openai_body("organization_usage_limit_exceeded"), CLOSED, "organization_usage_limit_exceeded"),
        (OPENAI, 429, openai_body("organization_spend_limit_exceeded"), CLOSED, "organization_spend_limit_exceeded"),
        (OPENAI, 429, openai_body("project_spend_limit_exceeded"), CLOSED, "project_spend_limit_exceeded"),
        (OPENAI, 503, openai_body("server_is_overloaded"), RETRIED, "server_is_overloaded"),
        (OPENAI, 500, openai_body("", "server_error"), RETRIED, "server_error"),
        (OPENAI, 400, openai_body("context_length_exceeded"), REFUSED, "context_length_exceeded"),
        (OPENAI, 400, openai_body("content_policy_violation"), REFUSED, "content_policy_violation"),
        (OPENAI, 400, openai_body("content_filter"), REFUSED, "content_filter"),
        (OPENAI, 400, openai_body("unsupported_parameter"), REFUSED, "unsupported_parameter"),
        (OPENAI, 401, openai_body("invalid_api_key"), CLOSED, "invalid_api_key"),
        (OPENAI, 403, openai_body("unsupported_country"), CLOSED, "unsupported_country"),
        (OPENAI, 404, openai_body("model_not_found"), CLOSED, "model_not_found"),
        (OPENAI, 402, {"error": "included credits exceeded"}, CLOSED, "http_402"),
        (OPENAI, 422, {"detail": "too long"}, REFUSED, "http_422"),
        (OPENAI, 413, None, REFUSED, "http_413"),
        (OPENAI, 429, None, RETRIED, "http_429"),
        # vLLM, old vLLM, llama.cpp, Ollama
        (OPENAI, 400, {"error": {"message": "m", "type": "BadRequestError", "code": 400}}, REFUSED, "BadRequestError"),
        (OPENAI, 400, {"object": "error", "message": "m", "type": "BadRequestError"}, REFUSED, "BadRequestError"),
        (
            OPENAI,
            400,
            {"error": {"message": "This model's maximum context length is 4096", "type": "BadRequestError"}},
            REFUSED,
            "context_length_exceeded",
        ),
        (
            OPENAI,
            400,
            {"error": {"code": 400, "type": "exceed_context_size_error", "message": "m", "n_ctx": 4096}},
            REFUSED,
            "exceed_context_size_error",
        ),
        (
            OPENAI,
            503,
            {"error": {"code": 503, "type": "unavailable_error", "message": "Loading model"}},
            RETRIED,
            "unavailable_error",
        ),
        (OPENAI, 404, {"error": "model 'x' not found"}, CLOSED, "http_404"),
        (OPENAI, 503, {"error": "server busy"}, RETRIED, "http_503"),
        # Anthropic
        (ANTHROPIC, 429, anthropic_body("rate_limit_error"), RETRIED, "rate_limit_error"),
        (ANTHROPIC, 429, anthropic_body("rate_limit_error", "ramp_limit_exceeded"), RETRIED, "ramp_limit_exceeded"),
        *(
            (ANTHROPIC, 429, anthropic_body("rate_limit_error", f"{whose}_spend_limit_reached"), CLOSED, code)
            for whose in ("enforced", "contract", "linked_organization")
            for code in [f"{whose}_spend_limit_reached"]
        ),
        (ANTHROPIC, 402, anthropic_body("billing_error"), CLOSED, "billing_error"),
        (
            ANTHROPIC,
            400,
            anthropic_body("invalid_request_error", message="You have reached your specified API usage limits. You …"),
            CLOSED,
            "invalid_request_error",
        ),
        (
            ANTHROPIC,
            400,
            anthropic_body("invalid_request_error", message="Your credit balance is too low to access the API"),
            CLOSED,
            "invalid_request_error",
        ),
        (
            ANTHROPIC,
            400,
            anthropic_body("invalid_request_error", message="messages.0: 'Your credit balance is too low' is odd"),
            REFUSED,
            "invalid_request_error",
        ),
        (
            ANTHROPIC,
            400,
            anthropic_body("invalid_request_error", message="prompt is too long: 9 tokens > 8 maximum"),
            REFUSED,
            "context_length_exceeded",
        ),
        (ANTHROPIC, 401, anthropic_body("authentication_error"), CLOSED, "authentication_error"),
        (ANTHROPIC, 403, anthropic_body("permission_error"), CLOSED, "permission_error"),
        (ANTHROPIC, 404, anthropic_body("not_found_error"), CLOSED, "not_found_error"),
        (ANTHROPIC, 413, anthropic_body("request_too_large"), REFUSED, "request_too_large"),
        (ANTHROPIC, 500, anthropic_body("api_error"), RETRIED, "api_error"),
        (ANTHROPIC, 504, anthropic_body("timeout_error"), RETRIED, "timeout_error"),
        (ANTHROPIC, 529, anthropic_body("overloaded_error"), RETRIED, "overloaded_error"),
    ],
)
def test_codes(verdicts: Verdicts, status: int, body: Any, kind: type[ProviderError], code: str) -> None:
    error = error_for(verdicts, status, body)

    assert (type(error), error.code, error.status) == (kind, code, status)


@pytest.mark.parametrize(
    ("status", "told", "kind"),
    [
        (400, "true", RETRIED),
        (429, "false", CLOSED),
        (503, "false", REFUSED),
        (503, "true", RETRIED),
        (401, "false", CLOSED),
        (307, "", CLOSED),
        (200, "", CLOSED),
    ],
)
def test_a_provider_that_says_whether_to_retry_is_believed(status: int, told: str, kind: type[ProviderError]) -> None:
    assert type(error_for(OPENAI, status, {}, {"x-should-retry": told})) is kind


def test_a_known_code_outweighs_x_should_retry() -> None:
    error = error_for(OPENAI, 429, openai_body("insufficient_quota"), {"x-should-retry": "true"})

    assert isinstance(error, RouteClosedError)


@pytest.mark.parametrize("code", ["Sky colour?", "a" * 65, "", "é", "x\ny", "1234", None, 7, {}])
def test_only_a_code_that_looks_like_one_becomes_the_errors_code(code: Any) -> None:
    error = error_for(OPENAI, 400, {"error": {"code": code, "message": "secret prompt"}})

    assert error.code == "http_400"
    assert "secret" not in str(error)


def test_the_detail_is_bounded() -> None:
    assert len(error_for(OPENAI, 400, {"error": "x" * 10_000}).detail) == 500


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "code", "type", "message"]), inner),
)


@given(st.sampled_from([OPENAI, ANTHROPIC, BEDROCK]), st.integers(min_value=200, max_value=599), JSON)
def test_any_body_at_any_status_is_one_of_the_three_errors(verdicts: Verdicts, status: int, body: Any) -> None:
    error = error_for(verdicts, status, body)

    assert isinstance(error, RETRIED | REFUSED | CLOSED)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", error.code)
