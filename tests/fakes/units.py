"""Units in memory: each method checks and writes at once, without an await between."""

from __future__ import annotations

from msgspec import structs

from promptmill.domain.budget import BudgetLines, BudgetState, Grant, keys_of
from promptmill.domain.units import Claim, Gate, IntentGroup, Verdict
from promptmill.ports.submissions import Holder
from promptmill.ports.units import Intended
from tests.fakes.failing import FailsOnRequest


class FakeUnits(FailsOnRequest):
    """The ``Units`` port. ``shut``: gates that are shut, shared with the fake that shuts them.

    ``filling``: submissions that take chunks; the fake that stores them says so.
    """

    def __init__(self, shut: set[Gate]) -> None:
        self.shut = shut
        self.claims: dict[str, Claim] = {}
        self.groups: dict[str, dict[tuple[int, int], IntentGroup]] = {}
        self.budgets: dict[str, BudgetState] = {}
        self.filling: set[Holder] = set()

    async def read(self, unit: str) -> Claim | None:
        return self.claims.get(unit)

    async def claim(
        self, unit: str, *, seen: Claim | None, owner: str, body_hash: str = "", holder: Holder | None = None
    ) -> Claim | None:
        found = self.claims.get(unit)
        if _place(found) != _place(seen):
            return None
        if not self._takes(holder):
            return None
        taken = _taken_over(found, owner) if found else Claim(1, 0, owner, body_hash=body_hash)
        self.claims[unit] = structs.replace(taken, held=holder.submission if holder else "")
        return self.claims[unit]

    def _takes(self, holder: Holder | None) -> bool:
        return holder is None or holder in self.filling

    async def beat(self, unit: str, claim: Claim) -> bool:
        if not self._owns(unit, claim):
            return False
        self._write(unit)
        return True

    async def mark(self, unit: str, claim: Claim, *, crashes: int, trying: int = -1, tries: int = 0) -> bool:
        if not self._may_go_on(unit, claim):
            return False
        self._write(unit, crashes=crashes, trying=trying, tries=tries)
        return True

    async def release(self, unit: str, claim: Claim, *, tried: tuple[int, int] | None = None) -> bool:
        if not self._owns(unit, claim):
            return False
        marks: dict[str, object] = {"held": ""} | ({} if tried is None else {"trying": tried[0], "tries": tried[1]})
        self._write(unit, released=True, **marks)
        return True

    async def intend(
        self, unit: str, claim: Claim, group: IntentGroup, *, gate: Gate | None, holder: Holder | None = None
    ) -> Intended:
        if not self._may_go_on(unit, claim):
            return "superseded"
        groups = self.groups.setdefault(unit, {})
        found = groups.get((group.epoch, group.first))
        if found is not None:
            _must_be_ours(found, group)
            return "done"
        if gate in self.shut:
            return "shut"
        if not self._takes(holder):
            return "shut"
        self._write(unit)
        groups[group.epoch, group.first] = group
        return "done"

    async def intents(self, unit: str) -> list[IntentGroup]:
        groups = self.groups.get(unit, {})
        return [groups[place] for place in sorted(groups)]

    async def grant(
        self, unit: str, claim: Claim, amount: int, *, unpaid: int = 0, day: str, lines: BudgetLines, gate: Gate | None
    ) -> Grant:
        _must_be_of_one_source(claim, day, keys_of(lines))
        granted = claim.granted + amount + unpaid
        found = self.claims.get(unit)
        if found is None or not self._may_go_on(unit, claim):
            return Grant("superseded")
        if not _as_known(found, claim):
            own = (found.granted, found.holds, found.day) == (granted, True, day)
            return Grant("granted" if own else "superseded")
        if gate in self.shut:
            return Grant("shut")
        for line in lines:
            if self._state(line.key).granted + amount > line.limit:
                return Grant("short", line.key)
        for line in lines:
            self._move(line.key, amount, holders=int(not claim.holds))
        self._write(unit, granted=granted, day=day, holds=True, lines=keys_of(lines))
        return Grant("granted")

    async def give_back(self, unit: str, claim: Claim, amount: int, *, lines: BudgetLines) -> bool:
        found = self.claims.get(unit)
        if found is None or not self._may_go_on(unit, claim):
            return False
        if not _as_known(found, claim):
            return (found.granted, found.holds, found.day) == (claim.granted - amount, False, "")
        self._put_back(claim, amount, lines)
        self._write(unit, granted=claim.granted - amount, day="", holds=False, lines=())
        return True

    async def decide(self, unit: str, claim: Claim, verdict: Verdict, *, used: int, lines: BudgetLines) -> bool:
        found = self.claims.get(unit)
        if found is None or found.epoch != claim.epoch:
            return False
        if found.verdict is not None:
            return (found.verdict, found.granted) == (verdict, used)
        if not _as_known(found, claim):
            return False
        self._put_back(claim, claim.granted - used, lines)
        let_go = {"held": "", "released": True} if found.held else {}
        self._write(unit, verdict=verdict, granted=used, day="", holds=False, lines=(), **let_go)
        return True

    async def budget(self, key: str) -> BudgetState:
        return self._state(key)

    def _owns(self, unit: str, claim: Claim) -> bool:
        found = self.claims.get(unit)
        return found is not None and found.epoch == claim.epoch

    def _may_go_on(self, unit: str, claim: Claim) -> bool:
        return self._owns(unit, claim) and self.claims[unit].verdict is None

    def _write(self, unit: str, **changes: object) -> None:
        found = self.claims[unit]
        self.claims[unit] = structs.replace(found, beat=found.beat + 1, **changes)

    def _state(self, key: str) -> BudgetState:
        found = self.budgets.get(key, BudgetState())
        return BudgetState(max(0, found.granted), max(0, found.holders))

    def _put_back(self, claim: Claim, amount: int, lines: BudgetLines) -> None:
        for key in claim.lines or keys_of(lines):
            self._move(key, -amount, holders=-int(claim.holds))

    def _move(self, key: str, amount: int, *, holders: int) -> None:
        state = self._state(key)
        self.budgets[key] = BudgetState(max(0, state.granted + amount), max(0, state.holders + holders))


def _place(claim: Claim | None) -> tuple[int, int] | None:
    return None if claim is None else (claim.epoch, claim.beat)


def _taken_over(found: Claim, owner: str) -> Claim:
    crashes = found.crashes + (not found.released)
    return structs.replace(found, epoch=found.epoch + 1, beat=0, owner=owner, released=False, crashes=crashes)


def _as_known(found: Claim, claim: Claim) -> bool:
    return (found.granted, found.holds) == (claim.granted, claim.holds)


def _must_be_ours(found: IntentGroup, group: IntentGroup) -> None:
    if found != group:
        raise ValueError(f"intents {group.epoch}.{group.first} are there already, and differ")


def _must_be_of_one_source(claim: Claim, day: str, keys: tuple[str, ...]) -> None:
    if claim.holds and (claim.day != day or claim.lines not in ((), keys)):
        raise ValueError(f"what is left of {claim.day} {claim.lines} is given back before {keys} grant more")
