"""A route that is down for good: the job ends on the next one, and the dead one is left alone."""

from __future__ import annotations

from collections import Counter

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import RetryLaterError
from promptmill.domain.job import JobState
from promptmill.domain.limits import Limits
from promptmill.domain.recipe import Recipe, Route
from promptmill.pacing.back_off import ROW
from promptmill.pacing.pacing import JobPacing
from promptmill.pacing.shared_pacing import SharedPacing
from tests.fakes.limit_groups import FakeLimitGroups
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, SPARE, recipe

RECORDS = 1000
HANDFUL = 10


class OneIsDown(FakeModels):
    """``late``: calls to the dead route that began while its circuit was open."""

    late = 0
    groups: FakeLimitGroups

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        self.late += route.id == ROUTE.id and any(state.circuit for state in self.groups.states.values())
        completion = await super().complete(route, request, call_id=call_id)
        if route.id == ROUTE.id:
            raise RetryLaterError("overloaded", status=503)
        return completion


class Shared(Mill):
    """Workers that share limits."""

    def __init__(self, *recipes: Recipe) -> None:
        super().__init__(*recipes)
        self.groups = FakeLimitGroups()

    def pace(self, owner: str) -> JobPacing:
        return SharedPacing(
            groups=self.groups,
            limits=Limits(),
            clock=self.clock,
            rng=self.rng,
            worker=f"{owner}-{self.rng.random()}",
            job="job",
            in_flight=100,
        )


async def test_a_job_of_1000_records_ends_on_the_next_route() -> None:
    mill = Shared(recipe(routes=(ROUTE, SPARE)))
    models = mill.models = OneIsDown(clock=mill.clock, latency_s=1.0)
    models.groups = mill.groups
    job = await mill.mill("inbox/r/p.jsonl", jsonl({"id": n, "prompt": f"p{n}"} for n in range(RECORDS)))
    assert (job.state, job.counts.answered) == (JobState.DONE, RECORDS)
    calls = Counter(route for route, _ in models.calls)
    assert calls[SPARE.id] == RECORDS
    by_route = Counter[str]()
    for charge in mill.ledger.charges.values():
        by_route[charge.route] += charge.attempts
    assert by_route == calls, "the ledger shows both"
    assert 0 < calls[ROUTE.id] <= ROUTE.in_flight + 3 * ROW, "those in flight before the first failed, and a row"
    assert models.late <= HANDFUL, "of probes"
