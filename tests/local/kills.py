"""Workers killed at random times within one job: ``python -m tests.local.kills 50``, or ``make kills KILLS=50``."""

from __future__ import annotations

import bisect
import random
import sys
import threading
import time

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.units import chunk_unit
from promptmill.engine import journal
from promptmill.engine.journal import Page
from tests.local.deployment import Deployment, unique
from tests.local.reconciled import Books, drop_job, recipe, reconciled, table
from tests.local.stack import deployed_stack
from tests.local.unruly_provider import Seen, Temper, UnrulyProvider
from tests.local.worker_processes import at_work, kill

TEMPER = Temper(latency_s=(0.5, 1.5))
IN_FLIGHT = 10
RECORDS_A_KILL = 90
"""So many that the job lasts as long as the killing."""

EVERY_S = (1.0, 6.0)
PATIENCE_S = 3_600.0


class Killed(Struct, frozen=True):
    """What a job went through.

    Attributes:
        lost: for each kill, the calls that came before it and stand in no journal: those in flight, and those whose
            page was not written yet.
        repeated: for each kill, the calls that were made again on account of it.
        epochs: owners of the chunks, all told.
    """

    books: Books
    lost: list[int]
    repeated: list[int]
    epochs: int
    seconds: float


class Killer(threading.Thread):
    """Ends one worker at a time, at random, until it has ended so many or is told to stop.

    Attributes:
        at: ``time.monotonic()`` of each.
    """

    def __init__(self, deployment: Deployment, *, kills: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.at: list[float] = []
        self._deployment, self._kills, self._rng = deployment, kills, random.Random(seed)
        self._stopped = threading.Event()

    def run(self) -> None:
        while len(self.at) < self._kills and not self._stopped.wait(self._rng.uniform(*EVERY_S)):
            if kill_one(self._deployment, self._rng):
                self.at.append(time.monotonic())

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def kill_one(deployment: Deployment, rng: random.Random) -> bool:
    """Kill one of the workers that are at work. Return whether there was one."""
    alive = at_work(deployment.settings.bucket, int(deployment.s3.meta.endpoint_url.rpartition(":")[2]))
    return bool(alive) and kill(rng.choice(alive))


def survive(deployment: Deployment, *, kills: int, seed: int) -> Killed:
    """Raises AssertionError where a kill cost more than the calls that it may cost."""
    records = kills * RECORDS_A_KILL
    killer = Killer(deployment, kills=kills, seed=seed)
    with UnrulyProvider(TEMPER, seed=seed) as provider:
        started = time.monotonic()
        document = recipe(provider.url, in_flight=IN_FLIGHT, timeout_s=30)
        job_id = drop_job(deployment, unique("kills"), document, records)
        killer.start()
        try:
            job = deployment.wait(job_id, patience_s=PATIENCE_S)
        finally:
            killer.stop()
        seconds = time.monotonic() - started
        assert len(killer.at) == kills, f"the job was over after {len(killer.at)} kills"
        books = reconciled(deployment, job, provider, records)
        lost, repeated = _costs(provider.seen, _journaled(deployment, job_id), killer.at)
        epochs = sum(_epochs(deployment, job_id, chunk) for chunk in range(job.chunks))
        return Killed(books, lost, repeated, epochs, seconds)


def _costs(seen: list[Seen], journaled: set[str], kills: list[float]) -> tuple[list[int], list[int]]:
    """By kill: calls that it may have lost, and calls that were repeated. None is repeated that was journaled."""
    lost, repeated = [0] * len(kills), [0] * len(kills)
    lost_by: dict[int, int] = {}
    answered = set[int]()
    for request in seen:  # in order of arrival
        assert request.record not in answered, f"record {request.record} was asked again after it was journaled"
        if request.record in lost_by:
            repeated[lost_by[request.record]] += 1
        if request.request_id in journaled:
            answered.add(request.record)
        else:
            killed = lost_by[request.record] = bisect.bisect_left(kills, request.came_at)
            assert killed < len(kills), f"a call of record {request.record} was lost without a kill"
            lost[killed] += 1
    assert all(calls <= most for calls, most in zip(repeated, lost, strict=True))
    return lost, repeated


def _journaled(deployment: Deployment, job_id: str) -> set[str]:
    """The provider's ids of the requests that journals tell of, as the workers wrote them."""
    return deployment.services.run(_read_journals(deployment, f"{layout.run_prefix(job_id, 1)}journals/"))


async def _read_journals(deployment: Deployment, prefix: str) -> set[str]:
    objects, found = deployment.services.objects, set[str]()
    async for info in objects.under(prefix):
        page = journal.decode(await objects.read(info.key))
        if isinstance(page, Page):
            found |= {attempt.request_id for attempt in page.attempts if attempt.request_id}
    return found


def _epochs(deployment: Deployment, job_id: str, chunk: int) -> int:
    claim = deployment.services.run(deployment.services.units.read(chunk_unit(job_id, 1, chunk)))
    return claim.epoch if claim else 0


def main(kills: int, seed: int) -> None:
    with deployed_stack() as deployment:
        killed = survive(deployment, kills=kills, seed=seed)
    books = killed.books
    rows = [
        ("outcomes, in order", books.records),
        ("requests at provider", sum(books.requests.values())),
        ("calls in the ledger", books.calls),
        ("of which never came", books.never_came),
        ("bill", f"{books.bill:,} nano-dollars, within {books.low:,} to {books.high:,}"),
        ("owners of chunks", killed.epochs),
        ("lost by each kill", killed.lost),
        ("repeated", f"{killed.repeated}: {sum(killed.repeated)} in all, {max(killed.repeated)} at most"),
        ("seconds", round(killed.seconds, 1)),
    ]
    sys.stdout.write(f"{kills} kills, seed {seed}\n{table(rows)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
