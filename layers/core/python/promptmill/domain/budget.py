"""Budgets: what may be spent by a job, by a recipe in a day, and by the whole deployment in a day (UTC)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct


class BudgetLine(Struct, frozen=True):
    """One limit on what is granted.

    Attributes:
        key: the budget's key: ``job#…``, ``recipe#…#2026-11-23``, ``day#2026-11-23``.
        limit: the most that may be granted, in nano-dollars.
        lasting: the budget does not begin anew with the next day.
    """

    key: str
    limit: int
    lasting: bool = False


BudgetLines = Sequence[BudgetLine]


class BudgetState(Struct, frozen=True):
    """The state of a budget: ``granted`` nano-dollars are spent or held; ``holders`` units hold some of it unspent."""

    granted: int = 0
    holders: int = 0


def keys_of(lines: Iterable[BudgetLine]) -> tuple[str, ...]:
    return tuple(line.key for line in lines)


class Grant(Struct, frozen=True):
    """The reply to a unit that asked for money. ``short`` is the key of the budget that had too little, "" if granted."""

    verdict: Literal["granted", "short", "superseded", "shut"]
    short: str = ""


class BudgetPolicy(Struct, frozen=True):
    """The budgets of a recipe, in nano-dollars; None for no limit."""

    per_job: int | None = None
    per_day: int | None = None
    when_day_spent: Literal["stop", "wait"] = "wait"


def job_line(job_id: str, limit: int) -> BudgetLine:
    return BudgetLine(f"job#{job_id}", limit, lasting=True)


def recipe_line(recipe: str, day: str, limit: int) -> BudgetLine:
    return BudgetLine(f"recipe#{recipe}#{day}", limit)


def day_line(day: str, limit: int) -> BudgetLine:
    return BudgetLine(f"day#{day}", limit)


def lines_for(
    policy: BudgetPolicy, *, job_id: str, recipe: str, day: str, day_cap: int | None
) -> tuple[BudgetLine, ...]:
    """Return the budgets that a unit's calls count against. ``job_id`` is "" for requests."""
    lines = []
    if job_id and policy.per_job is not None:
        lines.append(job_line(job_id, policy.per_job))
    if policy.per_day is not None:
        lines.append(recipe_line(recipe, day, policy.per_day))
    if day_cap is not None:
        lines.append(day_line(day, day_cap))
    return tuple(lines)
