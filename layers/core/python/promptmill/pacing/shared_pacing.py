"""The pacing of one invocation that shares its limits with all other workers.

``join``, ``refresh``, ``drained`` and ``close`` talk to the limit groups; all else only computes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from promptmill.domain.limit_group import GroupState
from promptmill.domain.limits import CallTokens, Limits
from promptmill.domain.recipe import Route
from promptmill.pacing import windows
from promptmill.pacing.membership import Membership
from promptmill.pacing.paced_group import PacedGroup
from promptmill.pacing.pacing import CallEnd, HandOver, Refused
from promptmill.ports.clock import Clock
from promptmill.ports.limit_groups import LimitGroups

STEP_S = 1.0
"""The seconds between two calls of ``refresh``, which writes only what is due."""

HAND_OVER_S = 20.0
"""The seconds of braking after which a worker ends, since one that waits costs as much as one that works."""

IDLE_S = 20.0
MAX_WAIT_S = 5.0


class SharedPacing:
    """The ``JobPacing`` of a worker that shares its limits with all others.

    Args:
        worker: names the invocation; drawn at random.
        job: what it works for; see ``Member.job``.
        in_flight: how many calls the worker makes at once.
        is_small: the job has few records, and the worker has it beside another one: see ``windows.admits``.
    """

    def __init__(
        self,
        *,
        groups: LimitGroups,
        limits: Limits,
        clock: Clock,
        rng: random.Random,
        worker: str,
        job: str,
        in_flight: int,
        is_small: bool = False,
    ) -> None:
        self._limits, self._clock, self._rng, self._job, self._in_flight = limits, clock, rng, job, in_flight
        self._is_small = is_small
        self._membership = Membership(groups, clock, worker=worker, job=job)
        self._paced: dict[str, PacedGroup] = {}
        self._by_route: dict[str, PacedGroup] = {}
        self._used: dict[str, PacedGroup] = {}
        self._primary: Route | None = None
        self._returned: set[str] = set()
        """Names of the groups whose share was given back: their retries go on with the rate that was last known."""
        self._lock = asyncio.Lock()  # a refresh that is under way must not join again what is being left

    # Asked by the loop of the invocation.

    async def join(self, routes: Sequence[Route], *, fresh: bool) -> Refused | None:
        """Take a share of the first route whose circuit is closed, or due for a probe. Return None if there was one.

        ``fresh``: no chunk of the job has ended yet.
        """
        async with self._lock:
            return await self._join_one_of(routes, fresh=fresh)

    async def _join_one_of(self, routes: Sequence[Route], *, fresh: bool) -> Refused | None:
        outage_s = 0.0
        for route in routes:
            paced = self._group_for(route)
            circuit, wall = (await self._membership.look(paced)).circuit, self._membership.wall()
            if circuit and wall < circuit.probe_at:
                outage_s = max(outage_s, wall - circuit.opened_at)
                continue
            return await self._join(route, paced, fresh=fresh)
        return Refused("outage", windows.outage_delay_s(outage_s, self._rng))

    async def refresh(self) -> None:
        """Stay a member, learn who else is one, note outages and move estimates; to be called every ``STEP_S``."""
        async with self._lock:
            await self._refresh()

    async def _refresh(self) -> None:
        now = self._clock.monotonic()
        for name, paced in list(self._used.items()):
            if self._is_idle(paced, now):
                del self._used[name]
                if paced in self._membership:
                    await self._membership.leave(paced)
            elif not self._may_send(paced):  # a fallback may be asked for the first time when all else is over
                await self._membership.show(paced)
        for paced in list(self._paced.values()):
            await self._membership.refresh(paced)

    async def give_share_back(self) -> None:
        """Give the share back, once every record was sent for the first time and only retries are left."""
        self._returned |= self._used.keys()
        await self.close()

    async def close(self) -> None:
        """Leave all limit groups, at the end of the invocation, whatever became of it."""
        async with self._lock:
            for paced in self._used.values():
                if paced in self._membership:
                    await self._membership.leave(paced)

    def room(self, *, sent: int, drained: int, chunks: int, carrying_on: bool = False) -> int:
        """Return how many more chunks may be sent now, or taken by carrying on; see ``windows.chunks_to_send``."""
        unbounded = self._is_unbounded()
        if carrying_on and unbounded:
            return int(sent < chunks)  # what others do is seen late, and nothing says that there are too many workers
        room = windows.chunks_to_send(
            sent=sent, drained=drained, chunks=chunks, window=self.window(carrying_on=carrying_on)
        )
        # One at a time where nobody knows the limit: a bucket that is still full refuses nothing, however many there are.
        return min(room, 1) if unbounded else room

    def window(self, *, carrying_on: bool = False) -> int:
        """Return how many chunks of the job may be sent and not yet drained."""
        if self._primary is None:
            return 1
        state, wall = self._group_for(self._primary).state, self._membership.wall()
        return windows.window(
            needed=self._needed(self._primary),
            active_jobs=len(state.jobs(wall) | {self._job}),
            others=sum(member.job != self._job for _, member in state.live(wall)),
            carrying_on=carrying_on,
        )

    @property
    def others_wait(self) -> bool:
        """True if other jobs wait for a share. Then chunks are sent with a delay, so that those jobs' chunks go first."""
        wall = self._membership.wall()
        return any(windows.others_wait(paced.state, self._job, wall) for paced in self._used.values())

    @property
    def yield_delay_s(self) -> int:
        """The delay of chunks that let those of other jobs go first."""
        wall = self._membership.wall()
        waiting = max((len(paced.state.waiting_jobs(wall)) for paced in self._paced.values()), default=0)
        return windows.refused_delay_s(waiting, self._rng)

    @property
    def braked(self) -> bool:
        """True if the worker brakes on every route that is used."""
        return bool(self._used) and all(paced.braked for paced in self._used.values())

    @property
    def open_circuits(self) -> int:
        """The limit groups that are known to be in an outage."""
        return sum(paced.state.circuit is not None for paced in self._paced.values())

    # Asked by the call gate: ``Pacing``.

    def take(self, route: Route, tokens: Sequence[CallTokens]) -> int:
        paced = self._note_use(route)
        return paced.take(tokens, self._clock.monotonic()) if self._may_send(paced) else 0

    def wait_s(self, route: Route) -> float:
        paced = self._note_use(route)
        return min(MAX_WAIT_S, paced.wait_s(self._clock.monotonic())) if self._may_send(paced) else STEP_S

    def linger_s(self, route: Route) -> float:
        return self._group_for(route).linger_s(self._slots(route))

    def ended(self, route: Route, end: CallEnd) -> None:
        paced = self._group_for(route)
        if paced.ended(end, self._clock.monotonic()):
            self._membership.hasten(paced)

    def unused(self, route: Route, *, reserved: CallTokens) -> None:
        self._group_for(route).unused(reserved=reserved, now=self._clock.monotonic())

    def counts_failure(self, route: Route) -> bool:
        return not self._group_for(route).brake.doubtful

    def circuit_is_open(self, route: Route) -> bool:
        paced = self._group_for(route)
        return paced.state.circuit is not None and not paced.brake.probe_due(self._clock.monotonic())

    def hand_over(self) -> HandOver | None:
        now = self._clock.monotonic()
        since = [paced.brake.since for paced in self._used.values()]
        if not since or any(braked is None or now - braked < HAND_OVER_S for braked in since):
            return None
        return HandOver("outage", windows.outage_delay_s(self._outage_s(), self._rng))

    def _group_for(self, route: Route) -> PacedGroup:
        found = self._by_route.get(route.id)
        if found is None:
            group = self._limits.group_of(route)
            if group.name not in self._paced:
                self._paced[group.name] = PacedGroup(group, self._clock.monotonic(), slots=self._slots(route))
            found = self._by_route[route.id] = self._paced[group.name]
        return found

    def _note_use(self, route: Route) -> PacedGroup:
        """Return the route's group, and note that it is in use. The next refresh joins it, if that is not done yet."""
        paced = self._group_for(route)
        paced.last_used = self._clock.monotonic()
        self._used.setdefault(paced.group.name, paced)
        return paced

    def _may_send(self, paced: PacedGroup) -> bool:
        return paced.group.name in self._returned or paced in self._membership

    def _is_idle(self, paced: PacedGroup, now: float) -> bool:
        """Return True if nobody has used the group for a while, since another route is called instead."""
        return now - paced.last_used > IDLE_S and any(
            now - other.last_used <= IDLE_S for other in self._used.values() if other is not paced
        )

    def _outage_s(self) -> float:
        opened = [paced.state.circuit.opened_at for paced in self._used.values() if paced.state.circuit]
        return self._membership.wall() - min(opened) if opened else 0.0

    def _is_unbounded(self) -> bool:
        """Return True if nobody knows a limit of the group, and nothing was refused yet."""
        if self._primary is None:
            return False
        paced = self._group_for(self._primary)
        known = windows.allowed_rate(paced.group, paced.state, self._membership.wall()) is not None
        return not known and paced.state.in_flight is None

    def _needed(self, route: Route) -> float:
        paced, wall = self._group_for(route), self._membership.wall()
        rate = windows.allowed_rate(paced.group, paced.state, wall)
        if rate is None and paced.state.in_flight is not None:
            return paced.state.in_flight.calls / self._slots(route)
        if rate is None:
            busy = sum(member.busy for _, member in self._membership.others(paced.state).live(wall)) + paced.busy
            return windows.GROWTH * busy
        return windows.workers_needed(
            rate=rate,
            latency_s=paced.state.mean(wall).latency_s,
            in_flight=self._slots(route),
        )

    def _slots(self, route: Route) -> int:
        return min(self._in_flight, route.in_flight)

    async def _join(self, route: Route, paced: PacedGroup, *, fresh: bool) -> Refused | None:
        if not self._admits(route, paced.state, fresh=fresh):
            return await self._refuse(paced)
        self._used = {paced.group.name: paced}
        self._primary, self._returned = route, set()
        await self._membership.show(paced)
        # The check and the write are two steps: others may have joined between them, and then the later one gives way.
        if not self._admits(route, self._membership.others(paced.state), fresh=fresh):
            await self._membership.leave(paced)
            return await self._refuse(paced)
        await self._membership.move_circuit(paced)
        return None

    async def _refuse(self, paced: PacedGroup) -> Refused:
        await self._membership.wait(paced)
        return Refused("full", self.yield_delay_s)

    def _admits(self, route: Route, state: GroupState, *, fresh: bool) -> bool:
        wall = self._membership.wall()
        return windows.admits(state, self._job, needed=self._needed(route), fresh=fresh, now=wall, small=self._is_small)
