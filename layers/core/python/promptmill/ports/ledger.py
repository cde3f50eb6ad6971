"""The charges table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, Protocol

from msgspec import Struct

Grouping = Literal["job", "day", "model", "recipe"]


class Charge(Struct, frozen=True):
    """What the attempts of one chunk (or request) on one route in one epoch cost; immutable.

    Attributes:
        unit: ``job.run.chunk``, or ``request.<recipe>.<digest>``.
        day: UTC, ``2026-11-22``: frozen at the epoch's claim.
        nano_usd: sum over the priced attempts; ``unpriced`` counts the others.
        requested_models: what the lines asked for, where they named a model.
    """

    unit: str
    epoch: int
    route: str
    model: str
    recipe: str
    job_id: str
    day: str
    nano_usd: int
    attempts: int
    failed_attempts: int
    unpriced: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    bases: tuple[str, ...] = ()


class Spending(Struct, frozen=True):
    """A sum of charges. ``day``, ``model``, ``recipe`` and ``route`` are "" where they were summed over."""

    nano_usd: int
    attempts: int
    failed_attempts: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    day: str = ""
    model: str = ""
    recipe: str = ""
    route: str = ""


class Ledger(Protocol):
    async def record(self, charge: Charge) -> bool:
        """If absent, with the day's totals moved in the same transaction. False if it was there."""
        ...


class SpendingReader(Protocol):
    def charges_of(self, job_id: str) -> AsyncIterator[Charge]: ...

    def spending(
        self, by: Literal["day", "model", "recipe"], name: str, *, since: str = "", until: str = ""
    ) -> AsyncIterator[Spending]:
        """One query. ``name``: the day, the model or the recipe; days [since, until] for the last two."""
        ...
