"""One worker's membership in its limit groups: it joins, stays and leaves, and shares what it has measured."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from promptmill.domain.limit_group import MEMBER_EXPIRES_S, WAITING_EXPIRES_S, Circuit, GroupState, Member
from promptmill.pacing.back_off import FIRST_PROBE_S, probe_interval_s
from promptmill.pacing.paced_group import PacedGroup
from promptmill.ports.clock import Clock
from promptmill.ports.limit_groups import LimitGroups

REFRESH_S = 10.0
_EARLY_S = 0.5  # a caller that comes every second may be a little early; else it would write a whole second late


class Membership:
    """The membership of one worker in its limit groups. Each write is one update of a group's item."""

    def __init__(self, groups: LimitGroups, clock: Clock, *, worker: str, job: str) -> None:
        self._store, self._clock, self._worker, self._job = groups, clock, worker, job
        self._shown: dict[str, float] = {}
        self._looked: dict[str, float] = {}
        self._urgent: set[str] = set()

    def __contains__(self, paced: object) -> bool:
        return isinstance(paced, PacedGroup) and paced.group.name in self._shown

    def hasten(self, paced: PacedGroup) -> None:
        """Let the next refresh write, even if it is not due yet."""
        self._urgent.add(paced.group.name)

    def wall(self) -> float:
        """Return the time in seconds since 1970: the clock that workers have in common."""
        return self._clock.now().timestamp()

    def others(self, state: GroupState) -> GroupState:
        """Return the group's state without this worker."""
        return GroupState(
            {worker: member for worker, member in state.members.items() if worker != self._worker}, state.waiting
        )

    async def look(self, paced: PacedGroup) -> GroupState:
        """Read the group's state, without joining."""
        self._looked[paced.group.name] = self._clock.monotonic()
        self._see(paced, await self._store.read(paced.group.name))
        return paced.state

    async def show(self, paced: PacedGroup) -> None:
        """Join the group or stay in it, and take an equal share of its limits."""
        wall, measured = self.wall(), paced.measured
        member = Member(
            self._job,
            wall + MEMBER_EXPIRES_S,
            measured.latency_s,
            measured.tokens,
            measured.used_of_reserved,
            paced.braked,
            paced.used_of_share(self._clock.monotonic()),
            round(paced.busy, 4),
            measured.input_used,
            measured.output_used,
            measured.output,
        )
        self._urgent.discard(paced.group.name)
        found = paced.found_to_keep(wall, self._clock.monotonic())
        state = await self._store.show(
            paced.group.name, self._worker, member, forget=paced.state.gone(wall), found=found
        )
        self._shown[paced.group.name] = self._clock.monotonic()
        self._see(paced, state)
        paced.share(sum(1 for _ in state.live(wall)), self._clock.monotonic())
        await self._move_estimate(paced)

    async def leave(self, paced: PacedGroup) -> None:
        """Give the share back."""
        measured = paced.measured
        self._shown.pop(paced.group.name, None)
        paced.give_back(self._clock.monotonic())
        await self._store.leave(paced.group.name, self._worker, learnt=measured if measured.latency_s else None)

    async def wait(self, paced: PacedGroup) -> None:
        """Note that the job was refused."""
        wall = self.wall()
        stale = paced.state.stale(wall)
        await self._store.wait(paced.group.name, self._job, until=wall + WAITING_EXPIRES_S, forget=stale)

    async def refresh(self, paced: PacedGroup) -> None:
        """Write or read what is due."""
        name, now = paced.group.name, self._clock.monotonic()
        if name in self._shown:
            if (
                now - self._shown[name] >= REFRESH_S - _EARLY_S
                or name in self._urgent
                or paced.is_unsaved
                or paced.told.suspicious
                or self._must_move_estimate(paced)
            ):
                await self.show(paced)
        elif paced.state.circuit and now - self._looked.get(name, now) >= REFRESH_S:
            await self.look(paced)
        await self.move_circuit(paced)

    async def move_circuit(self, paced: PacedGroup) -> None:
        """Open, probe or close the group's circuit.

        It is opened when most members brake, probed by one worker at a time, and closed by whoever gets an answer.
        """
        wall, now, circuit = self.wall(), self._clock.monotonic(), paced.state.circuit
        if circuit is None:
            if paced.braked and paced in self and _most_brake(paced.state, wall):
                await self._set_circuit(paced, Circuit(wall, wall + FIRST_PROBE_S))
        elif paced.recovered_at > now - (wall - circuit.opened_at):  # a call sent after it was opened was answered
            await self._set_circuit(paced, None)
        else:
            paced.obey_circuit(now)
            if wall >= circuit.probe_at and paced in self:
                interval = probe_interval_s(circuit.probes + 1)
                # The write is conditional: of all workers that find the probe due, one gets it.
                if await self._set_circuit(paced, Circuit(circuit.opened_at, wall + interval, circuit.probes + 1)):
                    paced.brake.allow_probe(now)

    async def _set_circuit(self, paced: PacedGroup, to: Circuit | None) -> bool:
        seen = paced.state.circuit
        if await self._store.set_circuit(paced.group.name, seen=seen, to=to):
            self._see(paced, _with(paced.state, circuit=to))
            return True
        self.hasten(paced)
        return False

    def _must_move_estimate(self, paced: PacedGroup) -> bool:
        search = paced.search
        if search is None or paced.braked:
            return False
        search.grow(self._clock.monotonic())
        return search.unsaved

    async def _move_estimate(self, paced: PacedGroup) -> None:
        """Store what this worker found out, unless another one was faster: its estimate was seen by now."""
        search, seen = paced.search, paced.state.estimate
        if search is None or not search.unsaved or search.estimate is None:
            return
        if await self._store.set_estimate(paced.group.name, seen=seen, to=search.estimate):
            self._see(paced, _with(paced.state, estimate=search.estimate))
        else:
            self.hasten(paced)

    def _see(self, paced: PacedGroup, state: GroupState) -> None:
        paced.see(state, wall=self.wall(), now=self._clock.monotonic())


def _with(state: GroupState, **changes: Any) -> GroupState:
    changed: GroupState = structs.replace(state, **changes)
    return changed


def _most_brake(state: GroupState, wall: float) -> bool:
    live = [member.braked for _, member in state.live(wall)]
    return sum(live) * 2 > len(live)
