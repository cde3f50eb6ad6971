"""The scenarios of the flow control, with the figures that they must reach.

``scale`` makes them smaller: targets that are times over the ideal hold for the whole size, where one job's last
answers weigh little.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from tests.bench import flow_units
from tests.bench.flow_provider import Outage, Provider, Server
from tests.bench.flow_world import ROUTE, START, Job, World

LIMIT = 10_000
RATE = LIMIT / 60


@dataclass(frozen=True)
class Figure:
    """``target``: the most that it may be, or with ``least`` the least."""

    name: str
    value: float
    target: float
    least: bool = False

    @property
    def good(self) -> bool:
        return self.value >= self.target if self.least else self.value <= self.target


Figures = Iterator[Figure]


def provider(rate: float = RATE, **options: Any) -> Callable[[random.Random], Provider]:
    return lambda rng: Provider(rng, rate=rate, **options)


def own_server(**options: Any) -> Callable[[random.Random], Provider]:
    return lambda rng: Server(rng, **options)


def ten_small(world: World, *, start: float, apart: float) -> list[Job]:
    jobs = [Job(f"small-{number}", 200, start + number * apart) for number in range(10)]
    for job in jobs:
        world.submit(job)
    return jobs


def one_big_job(world: World, records: int) -> tuple[Job, list[Job]]:
    big = Job("big", records, 0.0)
    world.submit(big)
    ideal = records / RATE
    return big, ten_small(world, start=0.3 * ideal, apart=0.04 * ideal)


def time_of(world: World, rate: float = RATE) -> float:
    """Over the ideal."""
    return max(job.ended_at for job in world.jobs) / (sum(job.records for job in world.jobs) / rate)


def throttled(world: World) -> float:
    providers = world.providers.values()
    return 100 * sum(one.throttled for one in providers) / sum(one.calls for one in providers)


def answered(world: World, start: float, end: float) -> float:
    """A second."""
    return sum(world.answered_at.get(second, 0) for second in range(int(start), int(end))) / (int(end) - int(start))


def one_job(seed: int, scale: float = 1.0) -> Figures:
    """1. A million records under 10,000 requests a minute."""
    records = int(1_000_000 * scale)
    world = World(seed, provider())
    one_big_job(world, records)
    world.run()
    millions = records / 1_000_000
    yield Figure("time over the ideal", time_of(world), 1.04 if scale == 1.0 else 1.2)
    yield Figure("throttled, %", throttled(world), 0.5)
    yield Figure("worker seconds per million", world.counts.worker_s / millions, 45_000)
    yield Figure("intent groups per million", world.counts.intents / millions, 150_000)
    yield Figure("flow-control writes per million", world.groups.writes / millions, 5_000)
    world = World(seed, provider(windows_s=(1.0,)))
    one_big_job(world, int(300_000 * max(scale, 0.3)))
    world.run()
    yield Figure("windows of 1 s: time over the ideal", time_of(world), 1.08 if scale == 1.0 else 1.25)
    yield Figure("windows of 1 s: throttled, %", throttled(world), 1.0 if scale == 1.0 else 2.0)


def small_jobs(seed: int, scale: float = 1.0) -> Figures:
    """2. Ten jobs of 200 in the middle of a large one; two equal jobs."""
    world = World(seed, provider())
    _, small = one_big_job(world, int(300_000 * scale))
    world.run()
    yield Figure("last first call of a small job, s", max(job.starts_in for job in small), 2.5)
    yield Figure("longest small job, s", max(job.ended_at - job.at for job in small), 110)
    world = World(seed, provider())
    for name in ("one", "other"):
        world.submit(Job(name, int(100_000 * scale), 0.0))
    world.run()
    ends = sorted(job.ended_at for job in world.jobs)
    yield Figure("two equal jobs: ends apart, %", 100 * (ends[1] / ends[0] - 1), 5 if scale == 1.0 else 10)


def thirty_jobs(seed: int, scale: float = 1.0) -> Figures:
    """3. Thirty jobs at once, under a large and under a small limit."""
    world = World(seed, provider())
    for number in range(30):
        world.submit(Job(f"job-{number}", int(10_000 * scale), 0.0))
    ideal = 300_000 * scale / RATE
    small = ten_small(world, start=0.3 * ideal, apart=0.05 * ideal)
    world.run()
    yield Figure("thirty jobs: time over the ideal", time_of(world), 1.06 if scale == 1.0 else 1.3)
    yield Figure("thirty jobs: throttled, %", throttled(world), 1.0 if scale == 1.0 else 2.0)
    yield Figure("thirty jobs: most workers", world.counts.most_workers, 40)
    yield Figure("thirty jobs: last first call of a small job, s", max(job.starts_in for job in small), 2.5)
    world = World(seed, provider(10.0), requests_per_minute=600)
    for number in range(30):
        world.submit(Job(f"job-{number}", int(1_000 * scale), 0.0))
    world.run()
    yield Figure("600 a minute: most workers", world.counts.most_workers, 15)
    yield Figure("600 a minute: time over the ideal", time_of(world, 10.0), 1.06 if scale == 1.0 else 1.3)


def twenty_records(seed: int, scale: float = 1.0) -> Figures:
    """4. A job of 20 on an idle deployment."""
    del scale
    world = World(seed, provider())
    cold, warm = Job("cold", 20, 0.0), Job("warm", 20, 120.0)
    world.submit(cold)
    world.submit(warm)
    world.run(until=119.0)
    yield Figure("flow-control writes", world.groups.writes, 2)
    world.run()
    yield Figure("first call, cold, s", cold.starts_in, 1.5)
    yield Figure("first call, warm, s", warm.starts_in, 0.4)
    world = World(seed, provider(), requests_per_minute=None)
    unknown = Job("unknown", 20, 0.0)
    world.submit(unknown)
    world.run()
    yield Figure("unknown limit: all sent, s", unknown.last_first_send_at - unknown.chunk_sent_at, 5)
    world = World(seed, provider(), requests_per_minute=None)
    one_big_job(world, 100_000)
    world.run()
    reached = next(second for second in range(0, 600, 5) if answered(world, second, second + 5) >= 0.9 * RATE)
    yield Figure("unknown limit: 90 % of it reached, s", reached, 120)
    yield Figure("unknown limit: throttled, %", throttled(world), 6)
    for limit in (LIMIT, None):
        world = World(seed, provider(refusing=0.05), requests_per_minute=limit)
        world.submit(Job("refused", 20_000, 0.0))
        world.run(until=3_600.0)
        known = "known" if limit else "unknown"
        yield Figure(f"5 % refused whatever the rate, {known} limit: time", time_of(world), 2.5)


def half_taken(seed: int, scale: float = 1.0) -> Figures:
    """5. Another application takes half of the limit for 15 minutes."""
    lasts = 900 * max(scale, 0.25)
    for name, options in (
        ("10 s", {"windows_s": (10.0,)}),
        ("1 and 10 s", {"windows_s": (1.0, 10.0)}),
        ("10 s, refused count", {"windows_s": (10.0,), "refused_count": True}),
    ):
        world = World(seed, provider(**options))
        world.submit(Job("big", 300_000, 0.0))
        start = 300.0 if scale == 1.0 else 60.0
        end = start + lasts
        world.run(until=start)
        _scale_buckets(world, 0.5)
        calls, refused = world.provider.calls, world.provider.throttled
        world.run(until=end)
        calls, refused = world.provider.calls - calls, world.provider.throttled - refused
        _scale_buckets(world, 2.0)
        world.run(until=end + 120)
        left = 100 * answered(world, start + 30, end) / (RATE / 2)
        yield Figure(f"{name}: used of what is left, %", left, 95, least=True)
        yield Figure(f"{name}: throttled, %", 100 * refused / calls, 4 if scale == 1.0 else 7)
        yield Figure(f"{name}: 90 % again after, s", _recovers(world, end), 60 if scale == 1.0 else 90)


def _scale_buckets(world: World, factor: float) -> None:
    for bucket in world.provider.buckets:
        bucket.scale(factor, world.now)


def _recovers(world: World, end: float) -> float:
    """Seconds until ten seconds in a row bring 90 % of the rate."""
    return next((s for s in range(600) if answered(world, end + s, end + s + 10) >= 0.9 * RATE), 600)


def outages(seed: int, scale: float = 1.0) -> Figures:
    """6. Ten minutes of each kind of outage, and six hours."""
    lasts = 600 * max(scale, 0.3)
    kinds: tuple[Outage, ...] = ("503", "429", "429-retry-after")
    for kind in kinds:
        world = World(seed, provider())
        world.submit(Job("big", int(300_000 * max(scale, 0.2)), 0.0))
        start = 200.0 if scale == 1.0 else 60.0
        end = start + lasts
        world.provider.outages.append((start, end, kind))
        world.run(until=end + 180)
        yield Figure(f"{kind}: 90 % again after, s", _recovers(world, end), 90)
        world.run()
        wasted = world.provider.failed + world.provider.throttled
        yield Figure(f"{kind}: wasted attempts, %", 100 * wasted / world.provider.calls, 2)
        yield Figure(f"{kind}: records ended by their attempts", world.counts.exhausted, 0)
    hours = 6 * 3600 * max(scale, 0.2)
    world = World(seed, provider())
    world.submit(Job("big", 200_000, 0.0))
    world.provider.outages.append((200.0, 200.0 + hours, "503"))
    world.run(until=200.0)
    before = _worker_s(world)
    world.run(until=200.0 + hours)
    down = (_worker_s(world) - before) / hours
    working = before / 200.0
    yield Figure("six hours: worker seconds, % of a working time", 100 * down / working, 25)
    yield Figure("six hours: calls made in vain", world.provider.failed, 1_500)


def _worker_s(world: World) -> float:
    live: float = sum(world.now - worker.started for worker in world.live)
    return world.counts.worker_s + live


def deaths(seed: int, scale: float = 1.0) -> Figures:
    """7. A worker dies every 1,000 worker seconds."""
    world = World(seed, provider())
    world.submit(Job("big", 20_000, 0.0))
    world.run(until=40.0)
    victim = next(worker for worker in world.live if not worker.drained)
    victim._die()
    group = next(iter(world.groups.states))
    died, expires = world.now, 0.0
    while not expires and world.now < died + 60:
        world.run(until=world.now + 0.5)
        wall = START.timestamp() + world.now
        alive = {worker for worker, _ in world.groups.states[group].live(wall)}
        expires = 0.0 if victim.name in alive else world.now - died
    yield Figure("a dead worker's share lives on, s", expires or 60, 25)
    world = World(seed, provider(), deaths_per_s=1 / 1000)
    world.submit(Job("big", int(300_000 * scale), 0.0))
    world.run()
    lost = sum(not chunk.done for job in world.jobs for chunk in job.chunks)
    yield Figure("deaths: time over the ideal", time_of(world), 1.12 if scale == 1.0 else 2.0)
    yield Figure("deaths: repeated calls, %", 100 * world.counts.repeated / world.counts.attempts, 1.5)
    yield Figure("deaths: chunks lost", lost, 0)
    yield Figure("deaths", world.counts.deaths, 1, least=True)


def shares(seed: int, scale: float = 1.0) -> Figures:
    """8. Who holds a share; three times the latency; tokens that are reserved in vain."""
    world = World(seed, provider())
    world.submit(Job("big", 60_000, 0.0))
    held = 0
    for second in range(60, 340, 5):
        world.run(until=second)
        group = next(iter(world.groups.states.values()))
        held += sum(worker.drained and worker.name in group.members for worker in world.live)
    yield Figure("drained workers seen with a share", held, 0)
    world = World(seed, provider())
    for number in range(30):
        world.submit(Job(f"job-{number}", 5_000, 0.0))
    world.run(until=60)
    world.submit(late := Job("late", 20_000, 60.0))
    world.run(until=300)
    yield Figure("a waiting job's tries for its first place", late.tries, 3)
    world = World(seed, provider())
    world.submit(Job("big", int(300_000 * max(scale, 0.3)), 0.0))
    world.run(until=200)
    world.provider.slower = 3.0
    world.run(until=400)
    yield Figure("latency x 3: rate after 60 s, %", 100 * answered(world, 260, 400) / RATE, 95, least=True)
    used = 600 * RATE
    world = World(
        seed,
        provider(10_000.0, tokens_per_s=used),
        requests_per_minute=None,
        tokens_per_minute=int(used * 60),
        tokens=(4_196, 600),
    )
    world.submit(Job("big", int(300_000 * scale), 0.0))
    world.run()
    yield Figure("max_tokens 4,096: time over the ideal", time_of(world), 1.15 if scale == 1.0 else 1.6)


def life_of_a_worker(seed: int, scale: float = 1.0) -> Figures:
    """9. Workers end in time; eight at most."""
    world = World(seed, provider(1.0), requests_per_minute=60)
    world.submit(Job("slow", 1_500, 0.0))
    world.run()
    yield Figure("longest worker, s", world.counts.longest_s, 885)
    yield Figure("calls cut off unrecorded", world.counts.cut, 0)
    world = World(seed, provider(), most_workers=8)
    _, small = one_big_job(world, int(300_000 * scale))
    world.run()
    yield Figure("eight at most: time over the ideal", time_of(world), 1.07 if scale == 1.0 else 1.4)
    yield Figure(
        "eight at most: last first call of a small job, s",
        max(job.starts_in for job in small),
        30 if scale == 1.0 else 45,
    )


def unknown_limits(seed: int, scale: float = 1.0) -> Figures:
    """10. Limits that nobody told: of each size, by seconds and in bursts, and one of which another application takes half."""
    for requests_per_minute in (60, 600, 6_000, 60_000):
        rate = requests_per_minute / 60
        for name, window_s in (("1 s", 1.0), ("10 s", 10.0), ("60 s", 60.0)):
            world = World(seed, provider(rate, windows_s=(window_s,), **QUICK), requests_per_minute=None)
            # The calls in flight at the start, and a bucket that is full, weigh little only where a job lasts.
            minutes = max(10.0, min(30.0, 600_000 / requests_per_minute)) * scale
            world.submit(Job("job", int(requests_per_minute * minutes), 0.0))
            world.run(until=50_000.0)
            allowed = 45.0 if scale < 1.0 else 5.5 if requests_per_minute <= FEW_A_MINUTE else 5.0
            yield Figure(
                f"{requests_per_minute:,} a minute, bucket of {name}: time",
                time_of(world, rate),
                1.25 if scale == 1.0 else 1.6,
            )
            yield Figure(f"{requests_per_minute:,} a minute, bucket of {name}: refused, %", throttled(world), allowed)
    world = World(seed, provider(100.0, **QUICK), requests_per_minute=None)
    world.submit(Job("job", 120_000, 0.0))
    world.run(until=300.0)
    _scale_buckets(world, 0.5)
    world.run(until=600.0)
    yield Figure("half taken: used of what is left, %", 100 * answered(world, 360, 600) / 50, 85, least=True)
    _scale_buckets(world, 2.0)
    world.run(until=780.0)
    yield Figure("half given back: used, %", 100 * answered(world, 720, 780) / 100, 85, least=True)
    yield Figure("half taken and given back: refused, %", throttled(world), 5.0)


def first_come(seed: int, scale: float = 1.0) -> Figures:
    """11. Chunks of one invocation: the older one's records go first, retries included."""
    chunks = max(3, int(10 * scale))
    for name, rate, requests_per_minute, in_flight, records in (
        ("60 a minute", 1.0, 60, 500, 100),
        ("600 a minute", 10.0, 600, 500, 300),
        ("10,000 a minute", RATE, LIMIT, 500, 500),
        ("unknown limit", 10.0, None, 500, 300),
        ("no limit, 50 in flight", 1e6, None, 50, 200),
        ("no limit, 500 in flight", 1e6, None, 500, 500),
    ):
        route = structs.replace(ROUTE, in_flight=in_flight)
        worker = flow_units.World(
            seed, provider(rate, refusing=0.05), requests_per_minute=requests_per_minute, route=route
        )
        found = flow_units.run(worker, chunks=chunks, records=records)
        yield Figure(f"{name}: longest wait behind newer chunks, s", found.longest_behind_newer, 2)
        yield Figure(f"{name}: chunks sent before an older one", found.overtakings, 0)


def told_limits(seed: int, scale: float = 1.0) -> Figures:
    """12. Limits that replies tell: of each size, by seconds and in bursts, of buckets and windows, and shared with others."""
    for requests_per_minute in (60, 600, 6_000, 60_000):
        rate = requests_per_minute / 60
        for name, options in (
            ("seconds", {"windows_s": (1.0,), "tells": "bucket"}),
            ("ten seconds", {"windows_s": (10.0,), "tells": "bucket"}),
            ("bursts", {"windows_s": (60.0,), "tells": "bucket"}),
            ("windows", {"windows_s": (), "tells": "window"}),
            ("half of it another's", {"windows_s": (60.0,), "tells": "bucket", "others_per_s": rate / 2}),
            ("half a window another's", {"windows_s": (), "tells": "window", "others_per_s": rate / 2}),
        ):
            world = World(seed, provider(rate, **QUICK, **options), requests_per_minute=None)
            ours = rate - world.provider.others_per_s
            minutes = max(10.0, min(30.0, 600_000 / requests_per_minute)) * scale
            world.submit(Job("job", int(ours * 60 * minutes), 0.0))
            world.run(until=50_000.0)
            where = f"{requests_per_minute:,} a minute, {name}"
            yield Figure(f"{where}: time", time_of(world, ours), 1.10 if scale == 1.0 else 2.0)
            yield Figure(f"{where}: refused, %", throttled(world), 2.0 if scale == 1.0 else 20.0)


def own_servers(seed: int, scale: float = 1.0) -> Figures:
    """13. A server of one's own, which refuses nothing and becomes slower: the number in flight that answers most."""
    del scale
    servers: tuple[tuple[str, dict[str, Any]], ...] = (
        ("64 at once", {"alone_s": 1.0, "half": 20.0, "batch": 64}),
        ("16 at once", {"alone_s": 0.5, "half": 8.0, "batch": 16}),
        ("256 at once", {"alone_s": 1.0, "half": 60.0, "batch": 256}),
        ("memory for all", {"alone_s": 1.0, "half": 30.0, "batch": 5_000}),
        ("one after the other", {"alone_s": 0.2, "half": 0.5, "batch": 8}),
    )
    for name, options in servers:
        world = World(seed, own_server(**options), requests_per_minute=None)
        best = Server(world.rng, **options).best_per_s
        world.submit(Job("job", int(best * 130), 0.0, route=OWN))
        world.run(until=30.0)
        world.run(until=90.0)
        used = 100 * answered(world, 30, 90) / best
        yield Figure(f"{name}: answers after 30 s, % of the most", used, 90, least=True)


OWN = structs.replace(ROUTE, id="compatible/qwen", provider="compatible", base_url="https://llm.example.com/v1")


def busy_workers(seed: int, scale: float = 1.0) -> Figures:
    """14. Twenty workers, forty large jobs of four limit groups, and small jobs that arrive meanwhile."""
    records = int(5_000 * scale)
    before, _ = _busy(seed, records, small=0, beside=False)
    world, small = _busy(seed, records, small=40, beside=True)
    starts = sorted(job.starts_in for job in small)
    yield Figure("small jobs start after, median, s", starts[len(starts) // 2], 2)
    yield Figure("small jobs start after, worst, s", starts[-1], 10)
    yield Figure("small jobs: longest, s", max(job.ended_at - job.at for job in small), 110)
    lost = 100 * (_last_large(world) / _last_large(before) - 1)
    yield Figure("large jobs lose by small ones, %", lost, 5)
    yield Figure("busy workers: throttled, %", throttled(world), 2)


def _busy(seed: int, records: int, *, small: int, beside: bool) -> tuple[World, list[Job]]:
    world = World(
        seed, provider(RATE / 4), requests_per_minute=LIMIT // 4, most_workers=20, limit_groups=4, beside=beside
    )
    for number in range(40):
        world.submit(Job(f"large-{number}", records, 0.0, world.routes[number % 4]))
    ideal = 40 * records / RATE
    jobs = [
        Job(f"small-{n}", (1, 100)[n % 2], ideal * world.rng.uniform(0.1, 0.8), world.routes[n % 4])
        for n in range(small)
    ]
    for job in jobs:
        world.submit(job)
    world.run()
    return world, jobs


def _last_large(world: World) -> float:
    return max(job.ended_at for job in world.jobs if job.name.startswith("large"))


QUICK = {"p50_s": 1.0, "p99_s": 6.0}
FEW_A_MINUTE = 60


SCENARIOS: tuple[Callable[[int, float], Figures], ...] = (
    one_job,
    small_jobs,
    thirty_jobs,
    twenty_records,
    half_taken,
    outages,
    deaths,
    shares,
    life_of_a_worker,
    unknown_limits,
    first_come,
    told_limits,
    own_servers,
    busy_workers,
)
