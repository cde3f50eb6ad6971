"""A first route that is throttled, and a fine second one, which relieves it where the recipe says so."""

from __future__ import annotations

import random
from collections import Counter

from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.errors import RetryLaterError
from promptmill.domain.job import JobState
from promptmill.domain.limits import Limits
from promptmill.domain.recipe import Recipe, Route
from promptmill.pacing.pacing import JobPacing
from promptmill.pacing.shared_pacing import SharedPacing
from tests.fakes.limit_groups import FakeLimitGroups
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels

ROUTES = (Route("openai/first", "openai", "first"), Route("anthropic/second", "anthropic", "second"))
RECORDS, A_SECOND = 300, 2.0


class Throttling(FakeModels):
    """The first route lets two calls a second through, the second one all."""

    def __init__(self, mill: Mill) -> None:
        super().__init__()
        self._mill, self._bucket, self._at = mill, A_SECOND, 0.0
        self.broken = False

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        await super().complete(route, request, call_id=call_id)
        await self._mill.clock.sleep(0.2)
        now = self._mill.clock.monotonic()
        if route.id == ROUTES[0].id:
            self._bucket, self._at = min(A_SECOND, self._bucket + (now - self._at) * A_SECOND), now
            if self._bucket < 1:
                raise RetryLaterError("rate_limit_exceeded", status=429, retry_after_s=1.0)
            self._bucket -= 1
        elif self.broken:
            raise RetryLaterError("server_error", status=500)
        return Completion("Blue.", "stop", Usage(input_total=9, output_total=1), model=route.model)


class Paced(Mill):
    """A deployment with the real pacing, in virtual time."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.groups = FakeLimitGroups()

    def pace(self, owner: str) -> JobPacing:
        return SharedPacing(
            groups=self.groups,
            limits=Limits(),
            clock=self.clock,
            rng=random.Random(1),
            worker=f"{owner}-{self.clock.monotonic()}",
            job="job",
            in_flight=100,
        )


async def answered_by(*, overflow: bool, broken: bool = False) -> tuple[Counter[str], float]:
    """Return how many records each route answered, and how long the job took."""
    mill = Paced(Recipe("t", "v", routes=ROUTES, overflow=overflow))
    mill.models = models = Throttling(mill)
    models.broken = broken
    job = await mill.mill("inbox/t/a.jsonl", jsonl({"id": n, "prompt": f"Record {n}"} for n in range(RECORDS)))
    assert job.state is JobState.DONE
    routes = Counter(line["route"] for line in mill.lines(job, "results") if line["status"] == "answered")
    return routes, mill.clock.monotonic()


async def test_a_throttled_route_is_relieved() -> None:
    routes, seconds = await answered_by(overflow=True)

    assert routes.total() == RECORDS
    assert routes["anthropic/second"] > RECORDS / 2
    assert routes["openai/first"] > 0
    assert seconds < RECORDS / A_SECOND / 2


async def test_without_overflow_records_wait_for_their_route() -> None:
    routes, _ = await answered_by(overflow=False)

    assert routes == {"openai/first": RECORDS}


async def test_records_go_back_to_a_busy_route_if_the_other_one_fails() -> None:
    routes, _ = await answered_by(overflow=True, broken=True)

    assert routes == {"openai/first": RECORDS}
