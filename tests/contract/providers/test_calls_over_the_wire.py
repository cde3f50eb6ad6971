"""Retries and fallback over real adapters: what is billed is what the attempts say."""

from __future__ import annotations

import random

import msgspec
import pytest

from promptmill.calls.call_gate import ClosedRoutes
from promptmill.calls.call_routes import CallContext, RouteOutcome, call_routes
from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import Route
from tests.contract.providers.conftest import Stand
from tests.fakes.clock import FakeClock
from tests.fakes.price_book import FlatPrices
from tests.fakes.providers.behaviours import Answer, CutOff, Refuse, Reply
from tests.fakes.sending import OpenSending


async def run(
    stand: Stand, request: CompletionRequest, *routes: Route, clock: FakeClock | None = None
) -> tuple[RouteOutcome, ClosedRoutes]:
    closed, clock = ClosedRoutes(), clock or FakeClock()
    caller = CallContext(
        call_gate=OpenSending(clock, total=10),
        closed=closed,
        providers=stand.providers,
        prices=FlatPrices(),
        clock=clock,
        rng=random.Random(1),
    )
    called = await call_routes(request, routes=routes or (stand.route,), record=0, caller=caller)
    return called, closed


async def test_every_call_is_an_attempt_and_every_known_charge_is_counted(
    stand: Stand, plain: CompletionRequest
) -> None:
    stand.will(
        Refuse("throttled", {"Retry-After": "20"}),
        Refuse("overloaded"),
        CutOff(in_body=True),
        Reply(200, b'{"half":'),
        Answer(input_tokens=100, cache_read=40, output_tokens=7),
    )
    clock = FakeClock()

    called, closed = await run(stand, plain, clock=clock)

    assert called.completion is not None
    assert len(called.attempts) == len(stand.fake.sent) == 5
    assert [a.price.nano_usd for a in called.attempts] == [0, 0, None, None, 100 * 10 + 7 * 20]
    assert stand.fake.billed[-1] == (100, 7)
    assert 20 <= clock.sleeps[0] <= 30
    assert not closed.codes


@pytest.mark.parametrize(("trouble", "times"), [("unauthorized", 3), ("out_of_money", 1), ("no_such_model", 1)])
async def test_a_closed_route_makes_room_for_the_next(
    stand: Stand, plain: CompletionRequest, trouble: str, times: int
) -> None:
    if stand.name.startswith(("bedrock", "vertex")):
        times = 1  # their codes say that nobody's key is good
    stand.will(*[msgspec.convert({"trouble": trouble}, Refuse)] * times, Answer("From the second."))
    second = stand.fork(id="second")

    called, closed = await run(stand, plain, stand.route, second)

    assert called.completion is not None
    assert (called.completion.text, called.route) == ("From the second.", "second")
    assert list(closed.codes) == [stand.route.id]
    assert [a.code == "ok" for a in called.attempts] == [False] * times + [True]


async def test_a_record_that_is_too_long_says_so(stand: Stand, plain: CompletionRequest) -> None:
    stand.will(Refuse("too_long"))

    called, closed = await run(stand, plain)

    assert called.failure is not None
    assert (called.failure.kind, called.failure.code) == ("record", "context_length_exceeded")
    assert stand.route.id in called.failure.message
    assert not closed.codes
