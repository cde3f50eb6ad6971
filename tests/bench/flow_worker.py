"""One invocation, modelled at the level of calls around the real ``SharedPacing``.

It is also how the loop of an invocation is meant to ask it.
"""

from __future__ import annotations

import heapq
import random
from itertools import count

from promptmill.domain.limits import CallTokens
from promptmill.domain.units import MAX_IN_GROUP
from promptmill.jobs.run_chunks import SMALL_SLOTS
from promptmill.jobs.runs_beside import (
    GIVES_WAY,
    HEAD_START,
    MAX_LARGE,
    MAX_SMALL,
    MAX_SMALL_CHUNKS,
    MAX_SMALL_RECORDS,
    SMALL_UNTIL_S,
)
from promptmill.pacing import windows
from promptmill.pacing.pacing import CallEnd, Refused
from promptmill.pacing.shared_pacing import STEP_S, SharedPacing
from tests.bench.flow_provider import Reply
from tests.bench.flow_world import IN_FLIGHT, INTENT_S, Chunk, Job, World, done

CLAIM_S, RESULT_S, JOURNAL_S = 0.1, 0.2, 1.0
MAX_TRIES = 6
MAX_BACKOFF_S = 30.0
LIFE_S, TIMEOUT_S = 900.0, 120.0
LEASE_S, DEFER_S = 60.0, 30.0
_ids = count()


def is_small(job: Job) -> bool:
    return job.records <= MAX_SMALL_RECORDS and len(job.chunks) <= MAX_SMALL_CHUNKS


class Worker:
    """One job of an invocation. ``host``: that of its message, where this one is run beside it."""

    def __init__(self, world: World, chunk: Chunk, host: Worker | None = None) -> None:
        self.world, self.job, self.first, self.host = world, chunk.job, chunk, host
        self.is_small = host is not None and is_small(chunk.job)
        self.sides: list[Worker] = []
        self.leaves_some = False
        self.chunks: list[Chunk] = []
        self.in_flight = 0
        self.retries: list[tuple[float, int, Chunk, int]] = []
        self.began = world.now
        self.started: float = world.now if host is None else host.started
        self.over = self.dead = self.stopping = self.drained = False
        self.blocked_until = self.wake = 0.0
        self.linger_until: float | None = None
        self.resend_s: int | None = None
        self.unjournaled = 0
        self.name = f"{next(_ids):x}"
        self.rng = random.Random(world.rng.random())
        self.pacing = SharedPacing(
            groups=world.groups,
            limits=world.limits,
            clock=world.clock,
            rng=self.rng,
            worker=self.name,
            job=self.job.name,
            in_flight=IN_FLIGHT,
            is_small=self.is_small,
        )

    def begin(self) -> None:
        chunk, world = self.first, self.world
        if chunk.done or (chunk.owner is not None and self.host is not None):
            self._end()
        elif chunk.owner is not None:
            world.send(chunk, DEFER_S if chunk.owner.dead else windows.WAKE_DELAY_S)
            chunk.owner = None if chunk.owner.dead else chunk.owner
            self._end()
        elif refused := done(self.pacing.join((self.job.route,), fresh=not self.job.ended)):
            self._refused(refused)
        else:
            self.job.tries += self.job.first_call_at is None
            self._own(chunk)
            if self.host is None:
                self._top_up()
            working = sum(1 for worker in world.live if worker.chunks)
            world.counts.most_workers = max(world.counts.most_workers, working)
            if world.deaths_per_s and self.host is None:
                world.after(self.rng.expovariate(world.deaths_per_s), self._die)
            world.after(CLAIM_S, self.pump)
            world.after(STEP_S, self._step)
            world.after(self.started + LIFE_S - 15 - world.now, self._cut)

    def pump(self) -> None:
        """Send what may be sent."""
        if self.over or self.dead or self.stopping:
            return
        while (ready := self._ready()) and not self._waits(ready):
            offered = min(MAX_IN_GROUP, self._free_slots, ready)
            given = self.pacing.take(self.job.route, [CallTokens(self.world.tokens[0])] * offered)
            if given:
                self._send(given)
            if given < offered:
                self.blocked_until = self.world.now + max(0.001, self.pacing.wait_s(self.job.route))
                self._wake_at(self.blocked_until)
                break
        if self.retries and self.retries[0][0] > self.world.now:
            self._wake_at(self.retries[0][0])
        if not any(chunk.unsent for chunk in self.chunks):
            self._all_sent()

    @property
    def _free_slots(self) -> int:
        sides = self.sides if self.host is None else self.host.sides
        if self.is_small:
            return SMALL_SLOTS - sum(side.in_flight for side in sides if side.is_small)
        own = self if self.host is None else self.host
        return IN_FLIGHT - own.in_flight - sum(side.in_flight for side in sides if not side.is_small)

    def _ready(self) -> int:
        due = sum(1 for retry in self.retries if retry[0] <= self.world.now) if self.retries else 0
        return due + sum(chunk.unsent for chunk in self.chunks)

    def _waits(self, ready: int) -> bool:
        """For the limit, for a place, or for more places, so that an intent group is worth its write."""
        now, free = self.world.now, self._free_slots
        if not free or now < self.blocked_until:
            return True
        if free >= min(MAX_IN_GROUP, ready):
            self.linger_until = None
            return False
        if self.linger_until is None:
            self.linger_until = now + self.pacing.linger_s(self.job.route)
        if now < self.linger_until - 1e-9:
            self._wake_at(self.linger_until)
            return True
        self.linger_until = None
        return False

    def _send(self, calls: int) -> None:
        self.world.counts.intents += 1
        self.in_flight += calls
        sent = [self._next() for _ in range(calls)]
        self.world.after(INTENT_S, self._call, sent)

    def _next(self) -> tuple[Chunk, int]:
        """A retry that is due, or else the next record."""
        if self.retries and self.retries[0][0] <= self.world.now:
            _, _, chunk, tries = heapq.heappop(self.retries)
            return chunk, tries
        chunk = next(chunk for chunk in self.chunks if chunk.unsent)
        chunk.unsent -= 1
        chunk.outstanding += 1
        return chunk, 0

    def _call(self, sent: list[tuple[Chunk, int]]) -> None:
        world = self.world
        world.counts.attempts += len(sent)
        if self.job.first_call_at is None:
            self.job.first_call_at = world.now
        self.job.last_first_send_at = world.now
        for chunk, tries in sent:
            provider = world.provider_of(self.job.route)
            reply = provider.call(world.now, reserved=world.tokens[0])
            provider.serve(world, reply, self._answered, chunk, tries, reply, world.now)

    def _answered(self, chunk: Chunk, tries: int, reply: Reply, sent_at: float) -> None:
        reserved, used = self.world.tokens
        ok = reply.how == "ok"
        if ok:
            self.world.provider_of(self.job.route).used(self.world.now, reserved=reserved, tokens=used)
        if self.dead or self.over:
            return
        self.in_flight -= 1
        counts = self.pacing.counts_failure(self.job.route)
        told = (lambda: reply.told) if reply.told else None
        used_now = CallTokens(used if ok else 0)
        end = CallEnd(reply.how, self.world.now - sent_at, CallTokens(reserved), used_now, told)
        self.pacing.ended(self.job.route, end)
        if ok:
            second = int(self.world.now)
            self.world.answered_at[second] = self.world.answered_at.get(second, 0) + 1
            self.unjournaled += 1
            self._record_over(chunk)
        else:
            self._again(chunk, tries + 1 if counts and reply.how == "failed" else tries, reply)
        if self.stopping:
            self._stopped()
        else:
            self.pump()

    def _again(self, chunk: Chunk, tries: int, reply: Reply) -> None:
        if tries >= MAX_TRIES:
            self.world.counts.exhausted += 1
            self._record_over(chunk)
            return
        wait = self.rng.uniform(
            0, min(MAX_BACKOFF_S, 2.0 ** max(1, tries))
        )  # a refused call is no try, and waits shortly
        if reply.retry_after_s:
            wait = reply.retry_after_s * self.rng.uniform(1.0, 1.5)
        heapq.heappush(self.retries, (self.world.now + wait, next(_ids), chunk, tries))
        self._wake_at(self.world.now + wait)

    def _record_over(self, chunk: Chunk) -> None:
        chunk.outstanding -= 1
        if chunk.over:
            self.world.after(RESULT_S, self._chunk_over, chunk)

    def _chunk_over(self, chunk: Chunk) -> None:
        if self.dead or self.over or chunk.done:
            return
        self.world.chunk_ended(chunk)
        self.chunks.remove(chunk)
        if not self.chunks and (self.drained or self.stopping):
            self._end()

    def _all_sent(self) -> None:
        """The last record has first been sent: carry on, or give the share back."""
        if self.drained:
            return
        for chunk in self.chunks:
            if not chunk.drained:
                chunk.drained = True
                self.job.drained += 1
        if self._carries_on():
            chunk = self.job.chunks[self.job.sent]
            self.job.sent += 1
            self.world.send(chunk, windows.WAKE_DELAY_S)
            self._own(chunk)
            self.world.after(CLAIM_S, self.pump)
            return
        self.drained = True
        others_wait = self.pacing.others_wait or self._gives_way
        self._top_up(self.pacing.yield_delay_s if others_wait else 0)
        done(self.pacing.give_share_back())

    def _carries_on(self) -> bool:
        carries_on = windows.may_carry_on(
            started=self.began if self.is_small else self.started,
            now=self.world.now,
            others_wait=not self.is_small and (self.pacing.others_wait or self._gives_way),
            braked=self.pacing.braked,
        )
        return carries_on and self._room(carrying_on=True) > 0

    def _room(self, *, carrying_on: bool = False) -> int:
        job = self.job
        return self.pacing.room(sent=job.sent, drained=job.drained, chunks=len(job.chunks), carrying_on=carrying_on)

    def _top_up(self, delay_s: int = 0) -> None:
        if not self.pacing.braked and not self.dead:
            self.world.more(self.job, self._room(), delay_s)

    def _step(self) -> None:
        if self.dead or self.over:
            return
        done(self.pacing.refresh())
        self.world.counts.journals += self.unjournaled > 0
        self.unjournaled = 0
        if not self.drained and not self.stopping and not self.pacing.others_wait and self.host is None:
            self._top_up()
        if self.host is None and self.world.beside:
            self._look()
        if not self.stopping and (hand_over := self.pacing.hand_over()):
            self._stop(hand_over.delay_s)
        elif not self.stopping and self.world.now > windows.last_send_at(
            ends_at=self.started + LIFE_S, call_timeout_s=TIMEOUT_S
        ):
            self._stop(0)
        self.pump()
        self.world.after(STEP_S, self._step)

    def _stop(self, delay_s: int) -> None:
        """Send nothing more, let calls in flight end, and send the messages again."""
        self.stopping, self.resend_s = True, delay_s
        done(self.pacing.close())
        for _, _, chunk, _ in self.retries:
            chunk.outstanding -= 1
            chunk.unsent += 1
        self.retries = []
        self._stopped()

    def _stopped(self) -> None:
        for _, _, chunk, _ in self.retries:
            chunk.outstanding -= 1
            chunk.unsent += 1
        self.retries = []
        if self.in_flight or self.over:
            return
        for chunk in [chunk for chunk in self.chunks if not chunk.over]:
            chunk.owner = None
            self.world.send(chunk, self.resend_s or 0)
            self.chunks.remove(chunk)
        if not self.chunks:
            self._end()

    @property
    def _gives_way(self) -> bool:
        return (self.host or self).leaves_some

    def _is_too_late(self, job: Job) -> bool:
        return self.world.now - self.started > (SMALL_UNTIL_S if is_small(job) else windows.CARRY_ON_S)

    def _look(self) -> None:
        """Begin jobs that wait for a worker beside the own one."""
        if self.stopping or not self.chunks:
            return
        self.leaves_some = False
        for job in sorted(self.world.queued.values(), key=lambda job: not is_small(job)):
            age = self.world.now - job.chunk_sent_at
            alike = sum(is_small(side.job) == is_small(job) for side in self.sides)
            if age < HEAD_START.total_seconds() or self._is_too_late(job):
                continue
            if alike < (MAX_SMALL if is_small(job) else MAX_LARGE):
                del self.world.queued[job.name]
                side = Worker(self.world, job.chunks[0], self)
                self.sides.append(side)
                self.world.after(CLAIM_S, side.begin)
            else:
                self.leaves_some |= age >= GIVES_WAY.total_seconds()

    def _refused(self, refused: Refused) -> None:
        if self.host is not None:
            if self.host.over or self.host.dead or self._is_too_late(self.job):
                self._end()
            else:
                self.world.after(refused.delay_s, self.begin)
            return
        self.job.tries += self.job.first_call_at is None
        self.world.send(self.first, refused.delay_s)
        self._end()

    def _own(self, chunk: Chunk) -> None:
        chunk.owner = self
        self.world.queued.pop(self.job.name, None)
        self.chunks.append(chunk)
        if chunk.over:
            self.world.after(RESULT_S, self._chunk_over, chunk)

    def _wake_at(self, moment: float) -> None:
        if self.wake <= self.world.now or moment < self.wake - 1e-9:
            self.wake = max(moment, self.world.now + 1e-6)
            self.world.at(self.wake, self.pump)

    def _cut(self) -> None:
        """At 885 s whatever is in flight is recorded as unknown, and the message is sent again."""
        if self.dead or self.over:
            return
        self.world.counts.cut += self.in_flight
        self.in_flight = 0
        for chunk in self.chunks:
            chunk.unsent += chunk.outstanding
            chunk.outstanding = 0
        self.stopping, self.retries = True, []
        self._stopped()

    def _die(self) -> None:
        """What is not journaled is lost, and its calls are made again by the next owner."""
        if self.over or self.dead:
            return
        self.dead = True
        for side in self.sides:
            side._die()
        self.world.counts.deaths += self.host is None
        self.world.counts.repeated += self.in_flight + self.unjournaled
        for chunk in self.chunks:
            chunk.unsent += chunk.outstanding
            chunk.outstanding = 0
            if chunk is self.first and self.host is None:
                self.world.send(chunk, self.rng.uniform(LEASE_S * 5 / 6, LEASE_S))
        if self.chunks:
            lost = min(self.unjournaled, self.chunks[0].records - self.chunks[0].unsent)
            self.chunks[0].unsent += lost
        if self.host is None:
            self.world.worker_ended(self, self.world.now - self.started, dead=True)

    def _end(self) -> None:
        self.over = True
        done(self.pacing.close())
        if self.host is not None:
            self.host.sides.remove(self)
        host = self.host or self
        if host.over and not host.sides:
            self.world.worker_ended(host, self.world.now - self.started)
