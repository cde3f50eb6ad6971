"""What a million records cost in infrastructure, by service: ``python -m tests.bench.infrastructure [RECORDS]``.

The real workflows run a job on fakes, under a limit of 10,000 requests a minute and answers of 5 s, on virtual time;
every call of a port is counted, and priced as what its adapter sends to AWS. Prices: list prices of us-east-1 (DynamoDB
on demand, S3 Standard, SQS standard, Lambda arm64), to be checked against today's. No tokens, no logs, no transfer.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec import structs

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.limits import LimitRule, Limits
from promptmill.domain.messages import Message
from promptmill.workflows.flow.shared_pacing import SharedPacing
from promptmill.workflows.units.places import Places
from promptmill.workflows.units.unit import Engine
from tests.fakes.limit_groups import FakeLimitGroups
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe

LATENCY_S = 5.0
MEMORY_GB = 0.5
SPREAD_S = 29_246
"""Worker seconds a million where answers take a median of 5 s and 30 s at worst: scenario 1 of tests.bench.flow."""
USD = {
    "write unit": 0.625e-6,
    "read unit": 0.125e-6,
    "S3 write": 5e-6,  # PUT, LIST
    "S3 read": 0.4e-6,
    "SQS request": 0.4e-6,
    "GB-second": 0.0000133334,
    "invocation": 0.2e-6,
}
FAST = structs.replace(ROUTE, in_flight=500)

# Of a transaction each item costs two units; a total of the ledger lies in two indexes, a run in two as well.
WRITES = {
    "units.claim": 1,
    "units.beat": 1,
    "units.mark": 1,
    "units.release": 1,
    "units.intend": 6,
    "units.grant": 6,
    "units.give_back": 4,
    "units.decide": 4,
    "ledger.record": 8,
    "jobs.create": 3,
    "jobs.move": 3,
    "jobs.take_status_turn": 3,
    "jobs.note_progress": 1,
    "jobs.chunk_ended": 5,
    "jobs.take": 1,
    "jobs.note_drained": 1,
    "jobs.first_drop": 1,
    "groups.show": 1,
    "groups.leave": 1,
    "groups.wait": 1,
}
READS = {
    "units.read": 1,
    "units.intents": 1,
    "units.budget": 1,
    "jobs.read": 1,
    "jobs.read_window": 1,
    "jobs.read_progress": 2,
    "switches.paused": 1,
    "switches.pause_on": 1,
    "groups.read": 1,
}
PUTS = ("objects.create", "objects.replace", "objects.create_from", "objects.under")
GETS = ("objects.read", "objects.head", "objects.stream")


class Counted:
    """A port that counts its calls."""

    def __init__(self, port: Any, name: str, counts: Counter[str]) -> None:
        self._port, self._name, self._counts = port, name, counts

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not (inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found)):
            return found

        def counted(*args: Any, **more: Any) -> Any:
            self._counts[f"{self._name}.{name}"] += 1
            return found(*args, **more)

        return counted


class Metered(Mill):
    """``seconds``: of all invocations."""

    def __init__(self) -> None:
        super().__init__(recipe(routes=(FAST,), budget=BudgetPolicy(per_job=10**15)))
        self.models = FakeModels(clock=self.clock, latency_s=LATENCY_S)
        self.counts, self.seconds = Counter[str](), 0.0
        self.groups: Any = Counted(FakeLimitGroups(), "groups", self.counts)
        self.limits = Limits((LimitRule((FAST.id,), requests_per_minute=10_000),))
        self.day_cap = 10**15
        for name in ("objects", "jobs", "units", "ledger", "switches"):
            setattr(self, name, Counted(getattr(self, name), name, self.counts))

    def engine(self, owner: str = "worker") -> Engine:
        pacing = SharedPacing(
            groups=self.groups,
            limits=self.limits,
            clock=self.clock,
            rng=self.rng,
            worker=f"{owner}{self.rng.random()}",
            job="job",
            in_flight=500,
        )
        return structs.replace(super().engine(owner), pacing=pacing, places=Places(500))

    async def deliver(self, message: Message) -> object:
        started = self.clock.monotonic()
        try:
            return await super().deliver(message)
        finally:
            self.seconds += self.clock.monotonic() - started + 0.3
            self.counts["invocations"] += 1


def dollars(mill: Metered) -> dict[str, float]:
    """By service."""
    counts = mill.counts
    messages = sum(1 for _ in mill.queue.sent)
    unknown = {
        name
        for name in counts
        if name.split(".")[0] in ("units", "ledger", "groups", "switches") and name not in WRITES | READS
    }
    if unknown:
        raise ValueError(f"not priced: {unknown}")
    writes = sum(counts[name] * units for name, units in WRITES.items())
    reads = sum(counts[name] * units for name, units in READS.items())
    return {
        "DynamoDB writes": writes * USD["write unit"],
        "DynamoDB reads": reads * USD["read unit"],
        "S3 writes": sum(counts[name] for name in PUTS) * USD["S3 write"],
        "S3 reads": sum(counts[name] for name in GETS) * USD["S3 read"],
        "SQS": (messages * 3 + len(mill.lease.renewals)) * USD["SQS request"],
        "Lambda": mill.seconds * MEMORY_GB * USD["GB-second"] + counts["invocations"] * USD["invocation"],
    }


async def measure(records: int) -> Metered:
    mill = Metered()
    await mill.mill("inbox/r/p.jsonl", jsonl({"id": n, "prompt": f"prompt {n}"} for n in range(records)))
    return mill


def main(words: Sequence[str]) -> None:
    records = int(words[0]) if words else 100_000
    mill = asyncio.run(measure(records))
    by_service = {name: usd / records * 1_000_000 for name, usd in dollars(mill).items()}
    for name, usd in by_service.items():
        print(f"{name:18} ${usd:.3f}")
    print(f"{'a million records':18} ${sum(by_service.values()):.2f}")
    groups, pages = mill.counts["units.intend"], mill.counts["objects.create"]
    spread = by_service["Lambda"] * (SPREAD_S / (mill.seconds / records * 1_000_000) - 1)
    print(f"{'… spread answers':18} ${sum(by_service.values()) + spread:.2f}")
    print(f"{mill.seconds / records * 1e6:,.0f} worker seconds, {groups / records * 1e6:,.0f} intent groups, ", end="")
    print(
        f"{pages / records * 1e6:,.0f} objects written, {mill.counts['units.grant'] / records * 1e6:,.0f} grants a million"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
