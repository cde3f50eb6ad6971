"""Units: claims, intents and what they hold of the budgets."""

from __future__ import annotations

from typing import Literal, Protocol

from promptmill.domain.budget import BudgetLines, BudgetState, Grant
from promptmill.domain.units import Claim, Gate, IntentGroup, Verdict
from promptmill.ports.submissions import Holder

Intended = Literal["done", "superseded", "shut"]


class UnitClaims(Protocol):
    """Claims of units.

    Every write but ``claim`` holds only for the epoch of the claim that it is given; it returns False (or None) if
    another worker owns the unit.

    Each moves the beat: an owner that writes is alive, and nobody takes over from what was read before.
    """

    async def read(self, unit: str) -> Claim | None:
        """Return what is there now (strongly consistent)."""
        ...

    async def claim(
        self, unit: str, *, seen: Claim | None, owner: str, body_hash: str = "", holder: Holder | None = None
    ) -> Claim | None:
        """Raise the epoch if (epoch, beat) are still as seen, or if nobody has claimed the unit yet.

        Over an owner that did not release it, ``crashes`` rises by one. All that the unit holds is inherited.
        ``holder``: the submission that holds the unit from then on, on condition that it still takes chunks.
        None: somebody was faster, or it was ourselves and the answer was lost: read it, and compare ``owner``.
        """
        ...

    async def beat(self, unit: str, claim: Claim) -> bool:
        """Show that the owner is alive."""
        ...

    async def mark(self, unit: str, claim: Claim, *, crashes: int, trying: int = -1, tries: int = 0) -> bool:
        """Say which record is tried alone, or that the unit moves again. Not after the verdict."""
        ...

    async def release(self, unit: str, claim: Claim, *, tried: tuple[int, int] | None = None) -> bool:
        """Give the unit back, with what it holds. The next claim counts no crash, and no submission holds it any more.

        ``tried``: the record that is tried alone and its tries, where those have to change as well.
        """
        ...


class UnitIntents(Protocol):
    async def intend(
        self, unit: str, claim: Claim, group: IntentGroup, *, gate: Gate | None, holder: Holder | None = None
    ) -> Intended:
        """Write a group of intents in one transaction: if the epoch is ours, there is no verdict and the gate is open.

        A group that is there already is our own, whose answer was lost: ``done``. ``holder``: the submission that sends
        the calls, on condition that it still takes chunks: else ``shut``.
        """
        ...

    async def intents(self, unit: str) -> list[IntentGroup]:
        """Return all intents of every epoch (strongly consistent)."""
        ...


class UnitBudgets(Protocol):
    """The money of budgets that units hold.

    ``claim.granted`` and ``claim.holds`` are as last known: what differs is somebody else's, or our own success.

    A claim notes the budgets that granted what it holds. What it gives back goes to those, so a configuration that
    changed meanwhile moves no other budget. ``lines`` say where it goes if the claim notes none. What is left of one
    day, or of other budgets, is given back before these grant more.

    No budget ever gets below 0. One that already is counts as empty, and is set to 0 by the next grant.
    """

    async def grant(
        self, unit: str, claim: Claim, amount: int, *, unpaid: int = 0, day: str, lines: BudgetLines, gate: Gate | None
    ) -> Grant:
        """Add the amount to ``granted`` on the claim and on the budgets, in one transaction.

        None of the budgets may get above its limit. The claim notes the day and the budgets, and that it holds money.
        ``unpaid``: what the unit's calls used while no budget was in force: it is added on the claim alone.
        """
        ...

    async def give_back(self, unit: str, claim: Claim, amount: int, *, lines: BudgetLines) -> bool:
        """Take the amount off ``granted`` on the claim and the budgets, in one transaction. The unit holds nothing any more.

        An amount below 0 was spent above what was granted, and is added. Not after the verdict.
        """
        ...

    async def decide(self, unit: str, claim: Claim, verdict: Verdict, *, used: int, lines: BudgetLines) -> bool:
        """Write the verdict if there is none, in one transaction.

        ``granted`` becomes what was used, and the budgets get the rest back. A unit that a submission held is released.
        """
        ...

    async def budget(self, key: str) -> BudgetState:
        """Return what is there now (strongly consistent)."""
        ...


class Units(UnitClaims, UnitIntents, UnitBudgets, Protocol):
    """Everything about units."""
