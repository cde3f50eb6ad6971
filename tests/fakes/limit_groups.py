"""Limit groups in memory."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from promptmill.domain.limit_group import NOTHING, Circuit, Estimate, Found, GroupState, Learnt, Member
from tests.fakes.failing import FailsOnRequest


class FakeLimitGroups(FailsOnRequest):
    """The ``LimitGroups`` port. ``writes`` and ``reads`` count."""

    def __init__(self) -> None:
        self.states: dict[str, GroupState] = {}
        self.writes = self.reads = 0

    async def read(self, group: str) -> GroupState:
        self.reads += 1
        return self._of(group)

    async def show(
        self, group: str, worker: str, member: Member, *, forget: Sequence[str] = (), found: Found = NOTHING
    ) -> GroupState:
        state = self._of(group)
        members = {w: m for w, m in state.members.items() if w == worker or w not in forget} | {worker: member}
        waiting = {job: until for job, until in state.waiting.items() if job != member.job}
        return self._write(
            group,
            structs.replace(
                state,
                members=members,
                waiting=waiting,
                told=found.told or state.told,
                in_flight=found.in_flight or state.in_flight,
            ),
        )

    async def leave(self, group: str, worker: str, *, learnt: Learnt | None = None) -> None:
        state = self._of(group)
        members = {w: m for w, m in state.members.items() if w != worker}
        self._write(group, structs.replace(state, members=members, learnt=learnt or state.learnt))

    async def wait(self, group: str, job: str, *, until: float, forget: Sequence[str] = ()) -> None:
        state = self._of(group)
        waiting = {j: u for j, u in state.waiting.items() if j not in forget} | {job: until}
        self._write(group, structs.replace(state, waiting=waiting))

    async def set_circuit(self, group: str, *, seen: Circuit | None, to: Circuit | None) -> bool:
        state = self._of(group)
        self._write(group, structs.replace(state, circuit=to) if state.circuit == seen else state)
        return state.circuit == seen

    async def set_estimate(self, group: str, *, seen: Estimate | None, to: Estimate) -> bool:
        state = self._of(group)
        self._write(group, structs.replace(state, estimate=to) if state.estimate == seen else state)
        return state.estimate == seen

    def _of(self, group: str) -> GroupState:
        return self.states.get(group, GroupState())

    def _write(self, group: str, state: GroupState) -> GroupState:
        self.writes += 1
        self.states[group] = state
        return state
