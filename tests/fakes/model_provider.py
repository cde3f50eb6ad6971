"""Models in memory, scripted by route."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.errors import PromptmillError
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from tests.fakes.failing import FailsOnRequest

ANSWER = Completion("Blue.", "stop", Usage(input_total=21, output_total=9), raw_finish="stop", model="m-1")
Step = Completion | PromptmillError


class FakeModels(FailsOnRequest):
    """Both ports: gives itself for every route, and answers by the route's script, then with ``ANSWER``.

    Attributes:
        calls: (route id, call id) of every call, in order.
        most_in_flight: of each route, the most calls at once.
    """

    def __init__(
        self, scripts: Mapping[str, Iterable[Step]] | None = None, *, clock: Clock | None = None, latency_s: float = 0.0
    ) -> None:
        self.calls: list[tuple[str, str]] = []
        self.requests: list[CompletionRequest] = []
        self.most_in_flight: dict[str, int] = defaultdict(int)
        self._in_flight: dict[str, int] = defaultdict(int)
        self._scripts = {route: deque(steps) for route, steps in (scripts or {}).items()}
        self._clock, self._latency_s = clock, latency_s

    def provider_for(self, route: Route) -> FakeModels:
        del route
        return self

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        self.calls.append((route.id, call_id))
        self.requests.append(request)
        self._in_flight[route.id] += 1
        self.most_in_flight[route.id] = max(self.most_in_flight[route.id], self._in_flight[route.id])
        try:
            if self._clock is not None:
                await self._clock.sleep(self._latency_s)
        finally:
            self._in_flight[route.id] -= 1
        return self._next(route)

    def _next(self, route: Route) -> Completion:
        script = self._scripts.get(route.id)
        step = script.popleft() if script else ANSWER
        if isinstance(step, PromptmillError):
            raise step
        return step
