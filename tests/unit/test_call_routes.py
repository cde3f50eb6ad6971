"""Routes in order: tries, waits, closings, and what is said in the end."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from datetime import datetime

import msgspec
import pytest
from msgspec import structs

from promptmill.calls.call_gate import ClosedRoutes, SendingEndedError
from promptmill.calls.call_routes import CallContext, RouteOutcome, call_routes
from promptmill.calls.retry_policy import MAX_REFUSALS
from promptmill.domain.completion import Completion, CompletionRequest, Message, Text, Usage
from promptmill.domain.errors import PromptmillError, RecordError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.domain.record import LOST, Attempt, Price
from tests.fakes.clock import FakeClock
from tests.fakes.model_provider import ANSWER, FakeModels, Step
from tests.fakes.price_book import FlatPrices
from tests.fakes.sending import OpenSending

REQUEST = CompletionRequest(messages=(Message("user", (Text("Sky colour?"),)),))
A, B = Route("a", "openai", "m", attempts=3), Route("b", "anthropic", "m", attempts=3)
FAILED = RetryLaterError("server_error", "try again", status=503)
REFUSED = RetryLaterError("rate_limit_exceeded", "slow down", status=429)
KEY_REFUSED = RouteClosedError("invalid_api_key", "no", status=401)
TOO_LONG = RecordRefusedError("context_length_exceeded", "too long", status=400, request_id="req_9")
NO_SEED = RecordError("seed: cannot be sent", code="unsupported_field", field="seed")


class Bench:
    """Everything that call_routes takes, with a script a route."""

    def __init__(
        self, latency_s: float = 0.0, total: int = 100, ends_at: float = math.inf, **scripts: Sequence[Step]
    ) -> None:
        self.clock = FakeClock()
        self.models = FakeModels(scripts, clock=self.clock, latency_s=latency_s)
        self.closings: list[tuple[str, str]] = []
        self.closed = ClosedRoutes(on_close=self._on_close)
        self.sending = OpenSending(self.clock, total=total, ends_at=ends_at)

    async def _on_close(self, route: str, code: str) -> None:
        self.closings.append((route, code))

    async def run(
        self,
        *routes: Route,
        seed: int = 1,
        record: int = 7,
        earlier: Sequence[Attempt] = (),
        prices: FlatPrices | None = None,
        budgeted: bool = False,
    ) -> RouteOutcome:
        caller = CallContext(
            call_gate=self.sending,
            closed=self.closed,
            providers=self.models,
            prices=prices or FlatPrices(),
            clock=self.clock,
            rng=random.Random(seed),
            budgeted=budgeted,
        )
        return await call_routes(REQUEST, routes=routes, record=record, caller=caller, earlier=earlier)

    @property
    def waits(self) -> list[float]:
        """Without the providers' own latency."""
        return [seconds for seconds in self.clock.sleeps if seconds != 0.0]


async def test_the_first_route_answers() -> None:
    bench = Bench(latency_s=0.25)

    called = await bench.run(A, B)

    assert (called.completion, called.failure, called.route) == (ANSWER, None, "a")
    (attempt,) = called.attempts
    assert (attempt.call_id, attempt.record, attempt.route, attempt.code) == ("j.1.0.1.0", 7, "a", "ok")
    assert (attempt.latency_ms, attempt.started_at, attempt.status) == (250, "2026-11-22T12:00:00.000Z", 200)
    assert (attempt.usage, attempt.price) == (ANSWER.usage, Price(21 * 10 + 9 * 20, "user-set"))
    assert bench.models.calls == [("a", "j.1.0.1.0")]


async def test_every_try_is_an_attempt_of_its_own() -> None:
    bench = Bench(a=[FAILED, RetryLaterError("timeout", usage_unknown=True)])

    called = await bench.run(A, B)

    assert called.route == "a"
    assert [(a.call_id, a.code, a.status, a.price) for a in called.attempts] == [
        ("j.1.0.1.0", "server_error", 503, Price(0, "not-charged")),
        ("j.1.0.1.1", "timeout", 0, Price(None, "unknown")),
        ("j.1.0.1.2", "ok", 200, Price(390, "user-set")),
    ]
    assert [a.usage.source for a in called.attempts] == ["none", "none", "reported"]


@pytest.mark.parametrize("tries", [1, 2, 6])
async def test_a_route_gets_as_many_tries_as_it_says_then_the_next_one_answers(tries: int) -> None:
    bench = Bench(a=[FAILED] * 10)

    called = await bench.run(msgspec.structs.replace(A, attempts=tries), B)

    assert called.route == "b"
    assert [route for route, _ in bench.models.calls] == ["a"] * tries + ["b"]
    assert len(bench.waits) == tries - 1
    assert bench.closings == []


async def test_waits_grow_with_full_jitter_up_to_30_seconds() -> None:
    highest, lowest = [0.0] * 8, [math.inf] * 8
    for seed in range(200):
        bench = Bench(a=[FAILED] * 9)
        await bench.run(msgspec.structs.replace(A, attempts=9), seed=seed)
        highest = [max(pair) for pair in zip(highest, bench.waits, strict=True)]
        lowest = [min(pair) for pair in zip(lowest, bench.waits, strict=True)]

    for least, most, bound in zip(lowest, highest, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert 0 <= least < 0.1 * bound
        assert 0.9 * bound < most <= bound


@pytest.mark.parametrize("asked", [0.5, 20.0, 300.0])
async def test_retry_after_is_waited_for_and_stretched_by_half_at_most(asked: float) -> None:
    waits = []
    for seed in range(100):
        bench = Bench(a=[RetryLaterError("slow_down", status=429, retry_after_s=asked)])
        assert (await bench.run(A, seed=seed)).route == "a"
        waits += bench.waits

    assert asked <= min(waits) < 1.1 * asked
    assert 1.4 * asked < max(waits) <= 1.5 * asked


async def test_a_retry_after_of_zero_backs_off_all_the_same() -> None:
    bench = Bench(a=[RetryLaterError("slow_down", status=429, retry_after_s=0.0)])

    await bench.run(A)

    assert len(bench.waits) == 1


async def test_a_longer_retry_after_is_not_waited_for_and_the_route_rests() -> None:
    bench = Bench(a=[RetryLaterError("slow_down", status=429, retry_after_s=301.0)])

    first, second = await bench.run(A, B), await bench.run(A, B)
    bench.clock.advance(301)
    third = await bench.run(A, B)

    assert [called.route for called in (first, second, third)] == ["b", "b", "a"]
    assert bench.waits == []
    assert [route for route, _ in bench.models.calls] == ["a", "b", "b", "a"]
    assert bench.closings == []


async def test_a_rest_is_not_made_longer_by_those_who_find_it() -> None:
    bench = Bench(a=[RetryLaterError("slow_down", status=429, retry_after_s=400.0)])
    await bench.run(A, B)
    for _ in range(3):
        bench.clock.advance(100)
        assert (await bench.run(A, B)).route == "b"
    bench.clock.advance(100)

    assert (await bench.run(A, B)).route == "a"


async def test_a_route_that_rests_is_waited_for_where_no_other_one_answers() -> None:
    refused = [RecordRefusedError("content_filter", status=400)]
    bench = Bench(a=[RetryLaterError("slow_down", status=429, retry_after_s=86_400.0)], b=refused)

    called = await bench.run(A, B)

    assert (called.route, bench.clock.monotonic()) == ("a", 86_400)


async def test_a_rest_that_nobody_waits_for_any_more_fails_the_record() -> None:
    bench = Bench(a=[RetryLaterError("slow_down", status=429, retry_after_s=86_400.0)] * 2)

    failure = (await bench.run(A)).failure

    assert failure is not None
    assert (failure.kind, failure.code) == ("provider", "slow_down")


DOUBTFUL = RouteClosedError("http_403", status=403)
DOUBTFUL.is_certain = False


async def test_a_refusal_that_may_be_the_records_own_is_tried_once_more_and_blamed_on_it() -> None:
    bench = Bench(a=[DOUBTFUL, DOUBTFUL])

    refused, answered = await bench.run(A), await bench.run(A)

    assert refused.failure is not None
    assert (refused.failure.kind, answered.route, bench.closings) == ("record", "a", [])


async def test_refusals_while_earlier_calls_are_not_answered_yet_close_no_route() -> None:
    bench = Bench(latency_s=1.0, a=[DOUBTFUL] * 5)

    together = await asyncio.gather(*(bench.run(A, B, record=record) for record in range(20)))

    assert bench.closings == []
    assert {called.route for called in together} == {"a"}


async def test_refusals_of_several_records_in_a_row_close_the_route() -> None:
    bench = Bench(a=[DOUBTFUL] * 100)

    for record in range(4):
        assert (await bench.run(A, B, record=record)).route == "b"

    assert bench.closings == [("a", "http_403")]
    assert [route for route, _ in bench.models.calls].count("a") == 5


async def test_a_closed_route_is_closed_for_every_record_and_told_once() -> None:
    bench = Bench(latency_s=1.0, a=[KEY_REFUSED] * 100)

    together = await asyncio.gather(*(bench.run(A, B) for _ in range(20)))
    later = await bench.run(A, B)

    assert {called.route for called in (*together, later)} == {"b"}
    assert bench.closings == [("a", "invalid_api_key")]
    assert bench.closed.codes == {"a": "invalid_api_key"}
    assert [a.route for a in later.attempts] == ["b"]


async def test_a_route_that_closes_while_a_record_waits_for_it_is_not_called() -> None:
    one_place = msgspec.structs.replace(A, in_flight=1)
    bench = Bench(latency_s=1.0, a=[KEY_REFUSED] * 100)

    await asyncio.gather(*(bench.run(one_place, B) for _ in range(20)))

    assert [route for route, _ in bench.models.calls].count("a") == 1


async def test_a_route_that_closes_while_a_record_waits_to_retry_is_not_called() -> None:
    bench = Bench(a=[RetryLaterError("slow_down", status=429, retry_after_s=60.0), KEY_REFUSED])

    waiting = asyncio.create_task(bench.run(A, B))
    await asyncio.sleep(0)
    await bench.run(A, B)

    assert (await waiting).route == "b"
    assert [route for route, _ in bench.models.calls].count("a") == 2


async def test_routes_closed_before_are_never_called() -> None:
    bench = Bench()
    bench.closed = ClosedRoutes({"a": "insufficient_quota"})

    assert (await bench.run(A, B)).route == "b"
    assert [route for route, _ in bench.models.calls] == ["b"]


async def test_a_route_we_close_before_sending_made_no_attempt() -> None:
    bench = Bench(a=[RouteClosedError("secret_missing", "there is no secret x")])

    called = await bench.run(A, B)

    assert [a.route for a in called.attempts] == ["b"]
    assert bench.closings == [("a", "secret_missing")]


@pytest.mark.parametrize("refusal", [TOO_LONG, NO_SEED])
async def test_a_record_that_one_route_refuses_is_offered_to_the_next(refusal: PromptmillError) -> None:
    bench = Bench(a=[refusal])

    called = await bench.run(A, B)

    assert called.route == "b"
    assert bench.closings == []
    assert [a.code for a in called.attempts] == (["context_length_exceeded", "ok"] if refusal is TOO_LONG else ["ok"])


@pytest.mark.parametrize(
    ("of_a", "of_b", "kind", "code", "field"),
    [
        (TOO_LONG, TOO_LONG, "record", "context_length_exceeded", ""),
        (NO_SEED, TOO_LONG, "record", "context_length_exceeded", ""),
        (NO_SEED, NO_SEED, "record", "unsupported_field", "seed"),
        (KEY_REFUSED, NO_SEED, "record", "unsupported_field", "seed"),
        (TOO_LONG, KEY_REFUSED, "record", "context_length_exceeded", ""),
        (TOO_LONG, FAILED, "provider", "server_error", ""),
        (FAILED, KEY_REFUSED, "provider", "server_error", ""),
        (KEY_REFUSED, KEY_REFUSED, "stopped", "routes_closed", ""),
    ],
)
async def test_the_failure_says_what_matters_and_names_every_route(
    of_a: PromptmillError, of_b: PromptmillError, kind: str, code: str, field: str
) -> None:
    bench = Bench(a=[of_a] * 3, b=[of_b] * 3)

    called = await bench.run(A, B)

    assert called.completion is None
    assert called.failure is not None
    assert (called.failure.kind, called.failure.code, called.failure.field) == (kind, code, field)
    for route, error in (("a", of_a), ("b", of_b)):
        assert f"{route}: {getattr(error, 'code', '')}" in called.failure.message


async def test_no_routes_at_all() -> None:
    failure = (await Bench().run()).failure

    assert failure is not None
    assert (failure.kind, failure.code) == ("stopped", "routes_closed")


async def test_no_call_starts_at_the_end() -> None:
    bench = Bench(ends_at=100.0)
    bench.clock.advance(100)

    with pytest.raises(SendingEndedError) as ended:
        await bench.run(A, B)

    assert ended.value.why == "time"
    assert bench.models.calls == []


async def test_a_wait_beyond_the_end_leaves_the_record_to_the_next_worker() -> None:
    bench = Bench(ends_at=30.0, a=[RetryLaterError("slow_down", status=429, retry_after_s=60.0)])

    with pytest.raises(SendingEndedError):
        await bench.run(A, B)

    assert bench.waits == []
    assert [route for route, _ in bench.models.calls] == ["a"], "the next route is not asked in its place"


async def test_a_record_that_waited_for_a_place_too_long_is_not_sent() -> None:
    one_place = msgspec.structs.replace(A, in_flight=1)
    bench = Bench(latency_s=10.0, ends_at=25.0)

    calls = await asyncio.gather(*(bench.run(one_place) for _ in range(5)), return_exceptions=True)

    assert sum(isinstance(called, RouteOutcome) for called in calls) == 3
    assert [called.why for called in calls if isinstance(called, SendingEndedError)] == ["time", "time"]
    assert len(bench.models.calls) == 3


def attempt(route: Route, code: str = "timeout") -> Attempt:
    """Of a worker before us."""
    return Attempt("j.1.0.0.0", 7, route.id, "", 0, code, 0, Usage(source="none"), Price(None, "unknown"))


@pytest.mark.parametrize(("before", "left"), [(0, 3), (1, 2), (2, 1), (3, 1), (9, 1)])
async def test_tries_of_workers_before_us_are_used_up(before: int, left: int) -> None:
    bench = Bench(a=[FAILED] * 9)

    called = await bench.run(A, B, earlier=[attempt(A)] * before)

    assert [route for route, _ in bench.models.calls] == ["a"] * left + ["b"]
    assert len(called.attempts) == left + 1, "those before us are not told again"


async def test_a_call_that_was_lost_with_its_worker_is_no_try_of_the_record() -> None:
    bench = Bench(a=[FAILED] * 9)

    await bench.run(A, B, earlier=[attempt(A, LOST)] * 9)

    assert [route for route, _ in bench.models.calls] == ["a"] * 3 + ["b"]


async def test_a_refused_call_is_a_wait_and_no_try_of_the_record() -> None:
    bench = Bench(a=[REFUSED] * 12)

    called = await bench.run(A, B)

    assert [route for route, _ in bench.models.calls] == ["a"] * 13
    assert called.route == "a"


async def test_a_record_that_is_always_refused_goes_to_the_next_route_at_last() -> None:
    bench = Bench(a=[REFUSED] * 99)
    before = structs.replace(attempt(A), status=429)

    called = await bench.run(A, B, earlier=[before] * 20)

    assert [route for route, _ in bench.models.calls] == ["a"] * (MAX_REFUSALS - 20) + ["b"]
    assert called.route == "b"


async def test_tries_used_up_on_one_route_are_not_missed_on_another() -> None:
    bench = Bench(a=[FAILED] * 9, b=[FAILED] * 9)

    await bench.run(A, B, earlier=[attempt(A)] * 2)

    assert [route for route, _ in bench.models.calls] == ["a"] + ["b"] * 3


async def test_tries_are_free_while_a_route_is_braked_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(a=[FAILED] * 9)
    braked = iter([True] * 6)
    monkeypatch.setattr(bench.sending, "counts_failure", lambda _: not next(braked, False))

    called = await bench.run(A, B)

    assert [route for route, _ in bench.models.calls] == ["a"] * 9 + ["b"]
    assert called.route == "b"


async def test_a_route_that_is_down_for_all_is_left_to_the_next_one() -> None:
    bench = Bench()
    bench.sending.resting.add("a")

    called = await bench.run(A, B)

    assert (called.route, [route for route, _ in bench.models.calls]) == ("b", ["b"])
    assert bench.sending.unused == []


@pytest.mark.parametrize("other", ["down", "closed", "none"])
async def test_a_route_that_is_down_for_all_is_asked_where_no_other_may_answer(other: str) -> None:
    bench = Bench()
    bench.sending.resting |= {"a", "b"} if other == "down" else {"a"}
    bench.closed = ClosedRoutes({"b": "insufficient_quota"} if other == "closed" else {})

    called = await bench.run(*((A,) if other == "none" else (A, B)))

    assert called.route == "a"


@pytest.mark.parametrize("refusal", [NO_SEED, RouteClosedError("secret_missing", "there is no secret x")])
async def test_a_permit_that_was_not_used_is_told_apart(refusal: PromptmillError) -> None:
    bench = Bench(a=[refusal])

    await bench.run(A, B)

    assert bench.sending.unused == ["j.1.0.1.0"]


class NoPrices(FlatPrices):
    def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        del route, usage, model, at
        return Price(None, "unknown")


@pytest.mark.parametrize("budgeted", [True, False])
async def test_under_a_budget_a_call_without_a_price_is_not_made(budgeted: bool) -> None:
    bench = Bench()

    called = await bench.run(A, prices=NoPrices(), budgeted=budgeted)

    assert len(bench.models.calls) == (0 if budgeted else 1)
    assert (called.failure.code if called.failure else "ok") == ("no_bound" if budgeted else "ok")


async def test_under_a_budget_each_call_says_the_most_it_can_cost() -> None:
    bench = Bench()

    (attempt,) = (await bench.run(A, budgeted=True)).attempts

    (bound,) = bench.sending.bounds
    assert bound.high is not None
    assert attempt.price.nano_usd is not None
    assert bound.high >= attempt.price.nano_usd


@pytest.mark.parametrize(("total", "of_a", "most"), [(100, 7, 7), (5, 100, 5)])
async def test_calls_in_flight_are_bounded_for_the_route_and_for_the_worker(total: int, of_a: int, most: int) -> None:
    bench = Bench(latency_s=1.0, total=total)
    route = msgspec.structs.replace(A, in_flight=of_a)

    await asyncio.gather(*(bench.run(route) for _ in range(50)))

    assert bench.models.most_in_flight == {"a": most}
    assert bench.clock.monotonic() == pytest.approx(math.ceil(50 / most))


async def test_a_record_that_waits_to_retry_gives_its_place_to_others() -> None:
    bench = Bench(latency_s=1.0, total=1, a=[RetryLaterError("slow_down", status=429, retry_after_s=100.0)])

    waiting = asyncio.create_task(bench.run(A))
    others = await asyncio.gather(*(bench.run(A) for _ in range(10)))

    assert all(called.completion for called in others)
    assert bench.clock.monotonic() < 100
    assert (await waiting).completion == ANSWER


async def test_a_cancelled_record_leaves_its_place() -> None:
    bench = Bench(latency_s=50.0, total=1)
    running = asyncio.create_task(bench.run(A))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert (await bench.run(A)).completion == ANSWER


async def test_a_fault_of_ours_fails_the_record_and_its_call_stays_accounted_for() -> None:
    class Broken(FakeModels):
        async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
            await super().complete(route, request, call_id=call_id)
            raise ZeroDivisionError("the prompt")

    bench = Bench()
    bench.models = Broken()

    called = await bench.run(A)

    assert called.failure is not None
    assert (called.failure.kind, called.failure.code) == ("worker", "internal_error")
    assert "ZeroDivisionError" in called.failure.message
    assert "the prompt" not in called.failure.message
    assert [(a.call_id, a.code, a.price) for a in called.attempts] == [
        ("j.1.0.1.0", "internal_error", Price(None, "unknown"))
    ]


async def test_an_estimated_usage_is_priced_as_estimated() -> None:
    guessed = msgspec.structs.replace(ANSWER, usage=Usage(5, output_total=1, source="estimated"))
    bench = Bench(a=[guessed])

    (attempt,) = (await bench.run(A)).attempts

    assert attempt.price == Price(70, "estimated")


async def test_no_call_id_is_used_twice_whatever_happens() -> None:
    rng = random.Random(5)
    steps: list[Step] = [FAILED, KEY_REFUSED, TOO_LONG, NO_SEED, ANSWER, ANSWER]
    for _ in range(20):
        bench = Bench(latency_s=0.1, a=rng.choices(steps, k=40), b=rng.choices(steps, k=40))
        calls = await asyncio.gather(*(bench.run(A, B, record=n) for n in range(20)))

        made = [call_id for _, call_id in bench.models.calls]
        attempts = [attempt for called in calls for attempt in called.attempts]
        assert len(set(made)) == len(made)
        assert {a.call_id for a in attempts} <= set(made)
        assert len({a.call_id for a in attempts}) == len(attempts)
        assert all((called.completion is None) != (called.failure is None) for called in calls)
