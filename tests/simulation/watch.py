"""Judge things at the very moment they become durable, since later they could not be seen any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptmill.domain import layout
from promptmill.domain.budget import BudgetLine, BudgetState
from promptmill.domain.units import Gate, IntentGroup
from promptmill.engine import journal
from promptmill.engine.journal import Page
from promptmill.jobs import chunk_result
from promptmill.jobs.chunk_result import split_results
from tests.simulation.process import Process

if TYPE_CHECKING:
    from tests.simulation.world import World


class Watch:
    """Attributes: what the judges need at the end.

    broken: what went against an invariant, in words.
    held: nano-dollars that a unit took of a budget and has not given back, by unit and budget.
    paid_by: the budgets whose money a call was made for, by unit, epoch and sequence.
    """

    def __init__(self, world: World) -> None:
        self.broken: list[str] = []
        self._world = world
        self._shut: set[tuple[str, int]] = set()
        self._calls: Counter[str] = Counter()
        self.held: dict[tuple[str, str], int] = {}
        self.paid_by: dict[tuple[str, int, int], tuple[str, ...]] = {}
        self._funds: dict[str, tuple[str, ...]] = {}
        world.units.on_intent = self._intended
        world.units.on_money = self._moved
        world.units.on_grant = self._granted
        world.provider.on_arrival = self._arrived
        world.jobs.on_stop = self._stopped
        world.jobs.on_wrong = world.ledger.on_wrong = self.say
        world.jobs.on_shut = lambda job_id, run: self._shut.add((job_id, run))

    def say(self, what: str) -> None:
        self.broken.append(what)

    def _arrived(self, call_id: str, process: Process) -> None:
        """No byte without a durable intent, and no call id twice."""
        del process
        self._calls[call_id] += 1
        if self._calls[call_id] > 1:
            self.say(f"call id {call_id} was used twice")
        unit, epoch, sequence = call_id.rsplit(".", 2)
        groups = self._world.units.groups.get(unit, {}).values()
        known = any(g.epoch == int(epoch) and i.sequence == int(sequence) for g in groups for i in g.intents)
        if not known:
            self.say(f"call {call_id} was made without an intent")

    def _intended(self, unit: str, group: IntentGroup, gate: Gate | None) -> None:
        """No new intent after the last gate is shut, after the verdict, or for a record whose outcome is journaled."""
        if gate is not None and (gate.job_id, gate.run) in self._shut:
            self.say(f"intent {unit}.{group.epoch}.{group.first} after its run's gates were shut")
        claim = self._world.units.claims[unit]
        # Who has given all back spends no budget's money, even if nobody granted anything since.
        funds = self._funds.get(unit, ()) if claim.holds else ()
        for intent in group.intents:
            self.paid_by[unit, group.epoch, intent.sequence] = funds
        if claim.epoch != group.epoch:
            self.say(f"intent {unit}.{group.epoch}.{group.first} after epoch {claim.epoch} was claimed")
        if claim.verdict is not None:
            self.say(f"intent {unit}.{group.epoch}.{group.first} after the verdict")
        settled = self._settled(unit)
        for intent in group.intents:
            if intent.record in settled:
                self.say(f"record {intent.record} of {unit} is asked again by epoch {group.epoch}, and was journaled")

    def _granted(self, unit: str, lines: Sequence[BudgetLine]) -> None:
        """No grant above a limit, and under no limit that nobody ever set."""
        self._funds[unit] = tuple(line.key for line in lines)
        for line in lines:
            granted = self._world.units.budgets[line.key].granted
            if granted > line.limit:
                self.say(f"{line.key}: {granted} granted of {line.limit}")
            if line.limit not in self._world.limits_of(line.key):
                self.say(f"{line.key}: granted under a limit of {line.limit}, which nobody ever set")

    def _moved(self, unit: str, key: str, amount: int, after: BudgetState) -> None:
        """Nothing goes back to a budget that it did not come from."""
        self.held[unit, key] = self.held.get((unit, key), 0) + amount
        if self.held[unit, key] < 0:
            self.say(f"{unit} gives {-amount} back to {key}, and had taken {self.held[unit, key] + amount}")
        if after.granted < 0 or after.holders < 0:
            self.say(f"{key} has {after.granted} granted and {after.holders} holders")

    def _stopped(self, job_id: str, code: str) -> None:
        """A run ends for want of money only once nobody holds any."""
        key = f"job#{job_id}"
        state = self._world.units.budgets.get(key)
        if code == "budget_spent" and state is not None and state.holders:
            self.say(f"{key}: stopped while {state.holders} units held money")

    def _settled(self, unit: str) -> set[int]:
        objects = self._world.objects
        found: set[int] = set()
        for key in objects.keys(self.journals_of(unit)):
            page = journal.decode(objects.body(key))
            if isinstance(page, Page):
                found.update(result.record for result in page.results)
        return found | self._answered_before(unit)

    def _answered_before(self, unit: str) -> set[int]:
        """Return what an earlier run of the same chunk has answered."""
        if unit.startswith("request."):
            return set()
        job_id, run, chunk = unit.rsplit(".", 2)
        found: set[int] = set()
        for earlier in range(1, int(run)):
            key = layout.chunk_result_key(job_id, earlier, int(chunk))
            if self._world.objects.keys(key):
                results = split_results(chunk_result.decode(self._world.objects.body(key)))
                found.update(result.record for result in results if result.answered)
        return found

    def journals_of(self, unit: str) -> str:
        """Prefix of a unit's journals."""
        if unit.startswith("request."):
            recipe, digest = unit.removeprefix("request.").rsplit(".", 1)
            return f"{layout.WORK}requests/{recipe}/{digest[:2]}/{digest}/"
        job_id, run, chunk = unit.rsplit(".", 2)
        return layout.chunk_journals(job_id, int(run), int(chunk))
