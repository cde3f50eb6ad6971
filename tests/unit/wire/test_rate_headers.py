"""The limits that headers tell: those of each provider as its documentation shows them, and odd ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from promptmill.domain.limits import ToldLimit
from promptmill.wire.rate_headers import DAY, MINUTE, SECOND, seconds_until, told_limits, with_headers_of

OPENAI = "https://api.openai.com/v1/chat/completions"
ANYBODY = "https://llm.example.com/v1/chat/completions"


def read(headers: dict[str, str], url: str = ANYBODY) -> dict[str, ToldLimit]:
    return {limit.counted: limit for limit in told_limits(CIMultiDict(headers), url=url)}


# developers.openai.com/api/docs/guides/rate-limits, "Rate limits in headers" (read 2026-11).
OPENAI_HEADERS = {
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-limit-tokens": "150000",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-requests": "1s",
    "x-ratelimit-reset-tokens": "6m0s",
}


def test_openai() -> None:
    told = read(OPENAI_HEADERS, OPENAI)
    assert told["requests"] == ToldLimit("requests", 60, MINUTE, 59, 1.0)
    # Six minutes for 16 tokens of 150,000 fit no period: the limit is believed, and its reset is not.
    assert told["tokens"] == ToldLimit("tokens", 150_000, MINUTE, 149_984, None)


# community.openai.com/t/1268905 (2025-05): headers of a real call, those of an earlier scheme among them.
def test_openai_as_it_really_answers() -> None:
    told = read(
        {
            "x-ratelimit-limit-requests": "5000",
            "x-ratelimit-limit-tokens": "160000",
            "x-ratelimit-limit-tokens_usage_based": "160000",
            "x-ratelimit-remaining-requests": "4999",
            "x-ratelimit-remaining-tokens": "159976",
            "x-ratelimit-remaining-tokens_usage_based": "159976",
            "x-ratelimit-reset-requests": "12ms",
            "x-ratelimit-reset-tokens": "9ms",
            "x-ratelimit-reset-tokens_usage_based": "9ms",
        },
        OPENAI,
    )
    assert told == {
        "requests": ToldLimit("requests", 5000, MINUTE, 4999, 0.012),
        "tokens": ToldLimit("tokens", 160_000, MINUTE, 159_976, 0.009),
    }


# The free tier counts requests by the day, and says so only by the reset: 200 a day come back one in 7m12s.
def test_a_daily_limit_under_a_minute_s_name_is_no_pace() -> None:
    told = read(OPENAI_HEADERS | {"x-ratelimit-limit-requests": "200", "x-ratelimit-remaining-requests": "199",
                                  "x-ratelimit-reset-requests": "7m12s"}, OPENAI)  # fmt: skip
    assert told["requests"].period_s == DAY
    assert not told["requests"].is_pace


# learn.microsoft.com/azure/ai-foundry/openai/how-to/quota and answers/5625878 (2025-11): whole seconds, and -1 for none.
def test_azure() -> None:
    url = "https://mine.openai.azure.com/openai/deployments/gpt/chat/completions"
    told = read(
        {
            "x-ratelimit-limit-requests": "1000",
            "x-ratelimit-remaining-requests": "997",
            "x-ratelimit-reset-requests": "10",
            "x-ratelimit-limit-tokens": "-1",
            "x-ratelimit-remaining-tokens": "-1",
            "x-ratelimit-reset-tokens": "0",
        },
        url,
    )
    assert told == {"requests": ToldLimit("requests", 1000, MINUTE, 997, 10.0)}


# Names by the page "Rate limits" of platform.claude.com (2026-11), values of a real call (2025-08-21, tidyllm's tests).
ANTHROPIC_HEADERS = {
    "date": "Thu, 21 Aug 2025 12:41:00 GMT",
    "anthropic-ratelimit-input-tokens-limit": "80000",
    "anthropic-ratelimit-input-tokens-remaining": "79000",
    "anthropic-ratelimit-input-tokens-reset": "2025-08-21T12:41:01Z",
    "anthropic-ratelimit-output-tokens-limit": "16000",
    "anthropic-ratelimit-output-tokens-remaining": "16000",
    "anthropic-ratelimit-output-tokens-reset": "2025-08-21T12:41:00Z",
    "anthropic-ratelimit-requests-limit": "1000",
    "anthropic-ratelimit-requests-remaining": "999",
    "anthropic-ratelimit-requests-reset": "2025-08-21T12:40:59Z",
    "anthropic-ratelimit-tokens-limit": "96000",
    "anthropic-ratelimit-tokens-remaining": "96000",
    "anthropic-ratelimit-tokens-reset": "2025-08-21T12:40:59Z",
}


def test_anthropic_counts_requests_input_and_output_apart() -> None:
    assert read(ANTHROPIC_HEADERS, "https://api.anthropic.com/v1/messages") == {
        "input_tokens": ToldLimit("input_tokens", 80_000, MINUTE, 79_000, 1.0),
        "output_tokens": ToldLimit("output_tokens", 16_000, MINUTE, 16_000, 0.0),
        "requests": ToldLimit("requests", 1000, MINUTE, 999, 0.0),
        "tokens": ToldLimit("tokens", 96_000, MINUTE, 96_000, 0.0),
    }


# console.groq.com/docs/rate-limits.md (2026-11): requests are those of a day, tokens those of a minute.
def test_groq() -> None:
    told = read(
        {
            "x-ratelimit-limit-requests": "14400",
            "x-ratelimit-limit-tokens": "18000",
            "x-ratelimit-remaining-requests": "14370",
            "x-ratelimit-remaining-tokens": "17997",
            "x-ratelimit-reset-requests": "2m59.56s",
            "x-ratelimit-reset-tokens": "7.66s",
        },
        "https://api.groq.com/openai/v1/chat/completions",
    )
    assert told["requests"] == ToldLimit("requests", 14_400, DAY, 14_370, 179.56)
    assert told["tokens"] == ToldLimit("tokens", 18_000, MINUTE, 17_997, 7.66)
    soon = {"x-ratelimit-limit-requests": "14400", "x-ratelimit-remaining-requests": "14399",
            "x-ratelimit-reset-requests": "6s"}  # fmt: skip
    assert read(soon, "https://api.groq.com/openai/v1/chat/completions")["requests"].period_s == DAY


# api.mistral.ai as it answers (2026): names with the period; a limit of 0 is a model that the plan has not.
def test_mistral() -> None:
    url = "https://api.mistral.ai/v1/chat/completions"
    told = read(
        {
            "x-ratelimit-limit-req-minute": "50",
            "x-ratelimit-remaining-req-minute": "49",
            "x-ratelimit-limit-tokens-minute": "50000",
            "x-ratelimit-remaining-tokens-minute": "47300",
            "x-ratelimit-limit-tokens-month": "4000000",
            "x-ratelimit-remaining-tokens-month": "3990000",
            "x-ratelimit-tokens-query-cost": "1300",
        },
        url,
    )
    assert told == {
        "requests": ToldLimit("requests", 50, MINUTE, 49, None),
        "tokens": ToldLimit("tokens", 50_000, MINUTE, 47_300, None),
    }
    assert read({"x-ratelimit-limit-req-minute": "0", "x-ratelimit-remaining-req-minute": "0"}, url) == {}
    older = {"ratelimitbysize-limit": "500000", "ratelimitbysize-remaining": "499000", "ratelimitbysize-reset": "37",
             "ratelimitbysize-query-cost": "1000"}  # fmt: skip
    assert read(older, url)["tokens"] == ToldLimit("tokens", 500_000, MINUTE, 499_000, 37.0)


# docs.together.ai/docs/rate-limits (2026): requests and tokens of a second.
def test_together() -> None:
    told = read(
        {
            "x-ratelimit-limit": "10",
            "x-ratelimit-remaining": "9",
            "x-ratelimit-reset": "1",
            "x-tokenlimit-limit": "3000",
            "x-tokenlimit-remaining": "2900",
        },
        "https://api.together.xyz/v1/chat/completions",
    )
    assert told["requests"] == ToldLimit("requests", 10, SECOND, 9, 1.0)
    assert told["requests"].per_s == 10
    assert told["tokens"] == ToldLimit("tokens", 3000, SECOND, 2900, None)


# docs.fireworks.ai/serverless/rate-limits (2026): prompt, uncached prompt and generated tokens of a minute.
def test_fireworks() -> None:
    told = read(
        {
            "x-ratelimit-limit-requests": "6000",
            "x-ratelimit-remaining-requests": "5999",
            "x-ratelimit-limit-tokens-prompt": "3600000",
            "x-ratelimit-limit-tokens-cache-adjusted-prompt": "900000",
            "x-ratelimit-limit-tokens-generated": "36000",
            "x-ratelimit-remaining-tokens-generated": "35000",
        },
        "https://api.fireworks.ai/inference/v1/chat/completions",
    )
    assert {counted: limit.limit for counted, limit in told.items()} == {
        "requests": 6000,
        "input_tokens": 900_000,
        "output_tokens": 36_000,
    }


# openrouter.ai/docs/api-reference/limits (2026): one window, which ends at a moment in milliseconds.
def test_openrouter_and_the_headers_of_whom_it_asked() -> None:
    headers = {
        "date": "Fri, 13 Nov 2026 12:00:00 GMT",
        "x-ratelimit-limit": "20",
        "x-ratelimit-remaining": "15",
        "x-ratelimit-reset": "1794571230000",
        "x-ratelimit-limit-requests": "30000",
        "x-ratelimit-remaining-requests": "29999",
    }
    told = read(headers, "https://openrouter.ai/api/v1/chat/completions")
    assert told == {"requests": ToldLimit("requests", 20, MINUTE, 15, 30.0)}
    daily = headers | {"x-ratelimit-reset": "1794614400000", "x-ratelimit-limit": "50"}
    assert read(daily, "https://openrouter.ai/api/v1/chat/completions")["requests"].period_s == DAY


# The body of a 429 as users report it (Gitlawb/openclaude issue 936, 2026-04).
def test_openrouter_tells_of_its_limit_in_the_body_of_a_refusal() -> None:
    told = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1794571230000", "n": 5}
    body = {"error": {"code": 429, "message": "Rate limit exceeded", "metadata": {"headers": told}}}
    headers = with_headers_of(body, CIMultiDict({"Date": "Fri, 13 Nov 2026 12:00:00 GMT"}))
    found = told_limits(headers, url="https://openrouter.ai/api/v1/chat/completions")
    assert found == (ToldLimit("requests", 20, MINUTE, 0, 30.0),)


@pytest.mark.parametrize("body", [None, [], "x", {}, {"error": "x"}, {"error": {"metadata": {"headers": [1]}}}])
def test_other_bodies_tell_nothing(body: object) -> None:
    assert with_headers_of(body, {"a": "b"}) == {"a": "b"}


# developers.cloudflare.com/fundamentals/api/reference/limits (updated 2026-04-20).
def test_cloudflare() -> None:
    url = "https://api.cloudflare.com/client/v4/accounts/a/ai/v1/chat/completions"
    told = read({"Ratelimit": '"default";r=50;t=30', "Ratelimit-Policy": '"burst";q=100;w=60'}, url)
    assert told == {"requests": ToldLimit("requests", 100, 60.0, 50, 30.0)}
    several = {
        "Ratelimit": '"user";r=1190;t=299, "ip";r=3;t=1',
        "Ratelimit-Policy": '"ip";q=200;w=1,"user";q=1200;w=300',
    }
    assert read(several, url)["requests"] == ToldLimit("requests", 1200, 300.0, 1190, 299.0)
    assert read({"Ratelimit-Policy": '"bytes";q=100;w=60;qu="content-bytes"'}, url) == {}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("1h2m3s", 3723.0),
        ("12ms", 0.012),
        ("850us", 0.00085),
        ("2m59.56s", 179.56),
        ("0s", 0.0),
        ("0", 0.0),
        ("7.66", 7.66),
        ("1794571230", 30.0),
        ("1794571230000", 30.0),
        ("2026-11-13T12:00:30Z", 30.0),
        ("2026-11-13T12:00:30.000Z", 30.0),
        ("2026-11-13T13:00:30+01:00", 30.0),
        ("Fri, 13 Nov 2026 12:00:30 GMT", 30.0),
        ("2026-11-13T11:59:30Z", 0.0),
        ("-1", None),
        ("-5s", None),
        ("soon", None),
        ("", None),
        ("1e400", None),
        ("9" * 400, None),
        ("5s5", None),
        ("99999999h", None),
    ],
)
def test_resets_in_all_spellings(text: str, seconds: float | None) -> None:
    found = seconds_until(text, date="Fri, 13 Nov 2026 12:00:00 GMT")
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_a_moment_without_the_reply_s_own_date_says_nothing() -> None:
    assert seconds_until("2026-11-13T12:00:30Z", date="") is None


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"x-ratelimit-remaining-requests": "59"},
        {"x-ratelimit-limit-requests": "0"},
        {"x-ratelimit-limit-requests": "-1"},
        {"x-ratelimit-limit-requests": "many"},
        {"x-ratelimit-limit-requests": ""},
        {"x-ratelimit-limit-requests": "9" * 300},
        {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "61"},
        {"x-ratelimit-limit-images": "5"},
        {"x-ratelimit-limit-audio-seconds": "5"},
        {"llm_provider-x-ratelimit-limit-requests": "60"},
        {"x-upstream-ratelimit-limit-requests": "60"},
        {"ratelimit": '"default";r=50;t=30'},
        {"ratelimit-policy": '"burst";q=0;w=60'},
        {"ratelimit-policy": '"burst";q=10;w=0'},
        {"ratelimit-policy": ';;;,,"'},
    ],
)
def test_odd_headers_tell_nothing(odd: dict[str, str]) -> None:
    assert read(odd) == {}


def test_half_of_it_tells_half() -> None:
    assert read({"x-ratelimit-limit-requests": "60"})["requests"] == ToldLimit("requests", 60, MINUTE)
    negative = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "-3",
        "x-ratelimit-reset-requests": "-1",
    }
    assert read(negative)["requests"] == ToldLimit("requests", 60, MINUTE)


def test_of_several_limits_of_a_kind_the_tightest_counts() -> None:
    both = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-limit-requests-second": "1",
        "x-ratelimit-limit-requests-day": "100000",
        "x-ratelimit-limit-project-tokens": "1000",
        "x-ratelimit-limit-tokens": "5000",
    }
    told = read(both)
    assert (told["requests"].limit, told["requests"].period_s) == (1, SECOND)
    assert told["tokens"].limit == 1000


def test_a_gateway_that_copies_the_headers_of_another_service() -> None:
    theirs = {"x-ratelimit-limit-requests": "7", "anthropic-ratelimit-requests-limit": "9", "x-ratelimit-limit": "8"}
    assert {limit.limit for limit in read(theirs, OPENAI).values()} == {7}
    assert {limit.limit for limit in read(theirs, "https://api.anthropic.com/v1/messages").values()} == {9}
    assert {limit.limit for limit in read(theirs, "https://openrouter.ai/api/v1/chat/completions").values()} == {8}
    assert read(theirs, "https://api.cloudflare.com/client/v4/accounts/a/ai/v1/chat/completions") == {}


@given(
    st.dictionaries(
        st.sampled_from([*OPENAI_HEADERS, *ANTHROPIC_HEADERS, "ratelimit", "ratelimit-policy", "x-ratelimit-reset"]),
        st.text(alphabet='0123456789.hms-:;=,"qwrtTZ+eE \x00é'),
    )
)
def test_no_header_raises(headers: dict[str, str]) -> None:
    for limit in read(headers).values():
        assert limit.limit > 0
        assert limit.per_s > 0
        assert limit.remaining is None or 0 <= limit.remaining <= limit.limit
        assert limit.reset_s is None or limit.reset_s >= 0
