"""Tokens a second of an attempt."""

from __future__ import annotations

import msgspec
import pytest

from promptmill.domain.completion import Usage
from promptmill.domain.record import Attempt, Price

ATTEMPT = Attempt(
    call_id="j.1.0.1.0",
    record=0,
    route="openai/m",
    started_at="2026-11-22T12:00:00.000Z",
    latency_ms=1_000,
    code="ok",
    status=200,
    usage=Usage(input_total=10, output_total=90),
    price=Price(1, "bundled"),
)


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 90.0),
        ({"first_token_ms": 400}, 150.0),
        ({"first_token_ms": 1_000}, None),
        ({"code": "timeout"}, None),
        ({"latency_ms": 0}, None),
    ],
)
def test_tokens_a_second(changes: dict[str, object], rate: float | None) -> None:
    assert msgspec.structs.replace(ATTEMPT, **changes).tokens_per_s == rate
