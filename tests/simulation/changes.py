"""What befalls a deployment from outside: services that refuse or hang for minutes, throttled receives, pushed changes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Service = Literal["s3", "dynamodb", "sqs", "events", "provider"]

SERVICES: dict[str, Service] = {
    "objects": "s3",
    "recipes": "s3",
    "jobs": "dynamodb",
    "units": "dynamodb",
    "ledger": "dynamodb",
    "limit_groups": "dynamodb",
    "switches": "dynamodb",
    "queue": "sqs",
    "copies": "sqs",
    "replies": "sqs",
    "lease": "sqs",
    "events": "events",
    "models": "provider",
}
"""The service that is behind each port: its ports fail together."""

MAX_HANG_S = 360.0
"""The longest that one call hangs: botocore waits for a minute, six times over."""


class Outage(Struct, frozen=True):
    """A service is not itself for a while, for everybody. ``hangs``: its calls get no answer, and some are done."""

    service: Service
    at: float
    until: float
    hangs: bool = False

    def covers(self, step: str, now: float) -> bool:
        return self.at <= now < self.until and SERVICES[step.partition(".")[0]] == self.service


class Window(Struct, frozen=True):
    """A time in which no function is invoked: messages are received, and come back unseen."""

    at: float
    until: float


ChangeKind = Literal["cap", "budget", "model", "routes", "price", "delete", "restore", "manifest", "purge", "bodies"]


class Change(Struct, frozen=True):
    """Somebody changes the deployment while it works.

    Attributes:
        kind: ``cap``: the day cap of the deployment becomes ``amount``; ``budget``: the recipe's ``per_job`` and
            ``per_day`` become ``amount``, or none; ``model``: its first route calls another model; ``routes``: its routes
            are in another order, or fewer; ``price``: every token costs twice as much; ``delete``, ``restore``: the
            recipe; ``manifest``: of a job, deleted; ``purge``: of every message in the chunks queue; ``bodies``: of requests,
            deleted.
        of: the recipe, or the number of the drop.
    """

    at: float
    kind: ChangeKind
    of: str = ""
    amount: int | None = None


def draw_outages(rng: random.Random, ends_at: float) -> tuple[Outage, ...]:
    """Draw at most two outages, all of them over at ``ends_at``."""
    if rng.random() < 0.75:
        return ()
    outages = []
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.choice((rng.uniform(0, 30), rng.uniform(0, ends_at)))
        lasts = rng.choice((30.0, 150.0, 400.0, 1_200.0))
        service: Service = rng.choice(("s3", "dynamodb", "dynamodb", "sqs", "provider", "events"))
        outages.append(Outage(service, at, min(ends_at, at + lasts), hangs=rng.random() < 0.4))
    return tuple(outages)


def draw_throttles(rng: random.Random, ends_at: float) -> tuple[Window, ...]:
    """Draw the times in which the account has no invocations to spare."""
    if rng.random() < 0.9:
        return ()
    at = rng.uniform(0, 60)
    return (Window(at, min(ends_at, at + rng.choice((60.0, 1_200.0, 6_000.0)))),)


def draw_changes(rng: random.Random, recipes: Sequence[str], drops: int, ends_at: float) -> tuple[Change, ...]:
    """Draw what people push, deploy and delete."""
    if rng.random() < 0.5:
        return ()
    return tuple(_change(rng, recipes, drops, ends_at) for _ in range(rng.choice((1, 1, 2, 4))))


def _change(rng: random.Random, recipes: Sequence[str], drops: int, ends_at: float) -> Change:
    at = rng.choice((rng.uniform(0, 3), rng.uniform(0, 60), rng.uniform(0, ends_at)))
    kind: ChangeKind = rng.choice(
        (
            "cap",
            "cap",
            "budget",
            "budget",
            "model",
            "routes",
            "price",
            "delete",
            "restore",
            "manifest",
            "purge",
            "bodies",
        )
    )
    if kind == "manifest":
        return Change(at, kind, str(rng.randrange(max(1, drops))))
    return Change(at, kind, rng.choice(recipes), rng.choice((None, 9_000, 40_000, 200_000)))
