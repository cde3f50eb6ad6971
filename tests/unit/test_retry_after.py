"""Retry-After in every form, good and bad."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.wire.error_replies import retry_after_s, should_retry

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text()))
def test_any_text_is_no_wait_or_a_finite_one(headers: dict[str, str]) -> None:
    seconds = retry_after_s(headers, now=NOW)

    assert seconds is None or (seconds >= 0 and math.isfinite(seconds))


@given(st.integers(min_value=-86_400, max_value=86_400))
def test_http_dates_are_seconds_from_now(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)

    assert retry_after_s({"retry-after": date}, now=NOW) == max(0, seconds)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 30 ", 30.0),
        ("-1", 0.0),
        ("1e1", 10.0),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30.0),
        ("Sun, 22 Nov 2026 14:00:30 +0200", 30.0),
        ("Sun, 99 Nov 2026 12:00:30 GMT", None),
        ("Sun, 22 Nov 99999 12:00:30 GMT", None),
    ],
)
def test_values(value: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": value}, now=NOW) == seconds


def test_milliseconds_come_first_and_nonsense_in_them_is_passed_over() -> None:
    assert retry_after_s({"retry-after-ms": "250", "retry-after": "1"}, now=NOW) == 0.25
    assert retry_after_s({"retry-after-ms": "x", "retry-after": "1"}, now=NOW) == 1.0


@pytest.mark.parametrize(("value", "told"), [("true", True), ("FALSE", False), ("maybe", None), ("", None)])
def test_should_retry(value: str, told: bool | None) -> None:
    assert should_retry({"x-should-retry": value}) is told
