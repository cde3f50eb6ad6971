"""Virtual time, a queue with delays, jobs and their chunks: what surrounds the real flow control."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from msgspec import structs

from promptmill.domain.limits import LimitRule, Limits
from promptmill.domain.recipe import Route
from tests.bench.flow_provider import Provider
from tests.fakes.limit_groups import FakeLimitGroups

T = TypeVar("T")

START = datetime(2026, 11, 23, tzinfo=UTC)
CHUNK = 500
IN_FLIGHT = 500
INTENT_S = 0.01
COLD_S, WARM_S, DELIVERY_S = 1.0, 0.05, 0.05
ROUTE = Route("openai/gpt-6-luna", "openai", "gpt-6-luna", key="promptmill/openai", in_flight=IN_FLIGHT)


def done(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that never waits."""
    try:
        work.send(None)
    except StopIteration as stopped:
        value: T = stopped.value
        return value
    raise AssertionError("it waits")


@dataclass
class Chunk:
    """``unsent``: records that still have to be sent first, or again after a crash."""

    job: Job
    number: int
    records: int
    unsent: int
    outstanding: int = 0
    drained: bool = False
    done: bool = False
    owner: Any = None

    @property
    def over(self) -> bool:
        return not self.unsent and not self.outstanding


@dataclass
class Job:
    name: str
    records: int
    at: float
    route: Route = ROUTE
    sent: int = 0
    drained: int = 0
    ended: int = 0
    tries: int = 0
    chunk_sent_at: float = 0.0
    first_call_at: float | None = None
    last_first_send_at: float = 0.0
    ended_at: float = 0.0
    chunks: list[Chunk] = field(default_factory=list)

    def __post_init__(self) -> None:
        sizes = [min(CHUNK, self.records - start) for start in range(0, self.records, CHUNK)]
        self.chunks = [Chunk(self, number, size, size) for number, size in enumerate(sizes)]

    @property
    def starts_in(self) -> float:
        """Seconds from its first chunk message to its first call."""
        assert self.first_call_at is not None
        return self.first_call_at - self.chunk_sent_at


def _make_route(number: int) -> Route:
    return structs.replace(ROUTE, id=f"{ROUTE.id}-{number}", model=f"{ROUTE.model}-{number}")


class Clock:
    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        return START + timedelta(seconds=self._world.now)

    def monotonic(self) -> float:
        return self._world.now

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing sleeps here, for {seconds} s")


@dataclass
class Counts:
    intents: int = 0
    attempts: int = 0
    messages: int = 0
    journals: int = 0
    repeated: int = 0
    exhausted: int = 0
    cut: int = 0
    deaths: int = 0
    worker_s: float = 0.0
    longest_s: float = 0.0
    most_workers: int = 0


class World:
    """Args: ``configured``: whether the limit is known; ``deaths_per_s``: of a worker; ``most_workers``: MaximumConcurrency.

    ``limit_groups``: how many routes there are, each with a limit of its own; ``beside``: busy workers begin jobs that wait.
    """

    def __init__(
        self,
        seed: int,
        provider: Callable[[random.Random], Provider],
        *,
        requests_per_minute: int | None = 10_000,
        tokens_per_minute: int | None = None,
        tokens: tuple[int, int] = (200, 200),
        deaths_per_s: float = 0.0,
        most_workers: int = 10**9,
        limit_groups: int = 1,
        beside: bool = True,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.routes = [ROUTE, *(_make_route(number) for number in range(1, limit_groups))]
        self.providers = {route.id: provider(self.rng) for route in self.routes}
        self.provider = self.providers[ROUTE.id]
        self.groups = FakeLimitGroups()
        rules = tuple(LimitRule((route.id,), requests_per_minute, tokens_per_minute) for route in self.routes)
        self.limits = Limits(rules) if requests_per_minute or tokens_per_minute else Limits()
        self.clock = Clock(self)
        self.tokens = tokens
        self.deaths_per_s, self.concurrency = deaths_per_s, most_workers
        self.counts = Counts()
        self.jobs: list[Job] = []
        self.live: dict[Any, None] = {}
        self.answered_at: dict[int, int] = {}
        self.beside = beside
        self.queued: dict[str, Job] = {}
        self._warm = 0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._waiting: deque[Chunk] = deque()

    def provider_of(self, route: Route) -> Provider:
        return self.providers.get(route.id, self.provider)

    def after(self, seconds: float, do: Callable[..., None], *args: Any) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (self.now + seconds, self._sequence, do, args))

    def at(self, moment: float, do: Callable[..., None], *args: Any) -> None:
        self.after(moment - self.now, do, *args)

    def run(self, *, until: float = 10**9) -> None:
        """Until all jobs have ended, or that moment."""
        while self._events and self._events[0][0] <= until:
            self.now, _, do, args = heapq.heappop(self._events)
            do(*args)
            if self.live or not self.jobs or any(not job.ended_at for job in self.jobs):
                continue
            return
        self.now = max(self.now, until if until < 10**9 else self.now)

    def submit(self, job: Job) -> None:
        """Now or later. Its plan sends one chunk; the first worker sends as many more as its window allows."""
        self.jobs.append(job)
        self.at(job.at, self._plan, job)

    def send(self, chunk: Chunk, delay_s: float = 0.0) -> None:
        self.counts.messages += 1
        self.after(delay_s + DELIVERY_S, self._receive, chunk)

    def more(self, job: Job, allowed: int, delay_s: float = 0.0) -> None:
        """Send the next chunks of a job, as many as its window allows."""
        for _ in range(allowed):
            chunk = job.chunks[job.sent]
            job.sent += 1
            self.send(chunk, delay_s)

    def chunk_ended(self, chunk: Chunk) -> None:
        chunk.done, chunk.owner = True, None
        chunk.job.ended += 1
        if chunk.job.ended == len(chunk.job.chunks):
            chunk.job.ended_at = self.now

    def worker_ended(self, worker: Any, lived_s: float, *, dead: bool = False) -> None:
        self.live.pop(worker, None)
        self.counts.worker_s += lived_s
        self.counts.longest_s = max(self.counts.longest_s, lived_s)
        self._warm += not dead
        if self._waiting and len(self.live) < self.concurrency:
            self._start(self._waiting.popleft())

    def _plan(self, job: Job) -> None:
        job.chunk_sent_at = self.now
        self.queued[job.name] = job
        self.more(job, 1)

    def _receive(self, chunk: Chunk) -> None:
        if len(self.live) >= self.concurrency:
            self._waiting.append(chunk)
        else:
            self._start(chunk)

    def _start(self, chunk: Chunk) -> None:
        from tests.bench.flow_worker import Worker

        start_s = WARM_S if self._warm else COLD_S
        self._warm = max(0, self._warm - 1)
        worker = Worker(self, chunk)
        self.live[worker] = None
        self.after(start_s, worker.begin)
