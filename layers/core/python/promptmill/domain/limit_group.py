"""The item in which the workers of a limit group learn of each other.

Times are seconds since 1970; they decide only how long to wait.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from promptmill.domain.limits import Told

MEMBER_EXPIRES_S = 25.0
WAITING_EXPIRES_S = 25.0


class Member(Struct, frozen=True, array_like=True):
    """A worker that has a share, as it last wrote itself.

    Attributes:
        job: what it works for: a run, or a recipe's requests.
        until: when it counts as dead.
        latency_s: the mean latency of its answered calls, 0 if there are none.
        tokens: the mean of the tokens that a call used, 0 if not known.
        used_of_reserved: the tokens used for each one reserved, 0 if not known.
        braked: it has stopped sending, since its calls fail.
        used_of_share: the part of its share that it uses; less than 1 where its calls are throttled below the share.
        busy: the part of the calls that it may have in flight which it has.
        input_used, output_used: as ``used_of_reserved``, of input and of output alone.
        output: the mean of the tokens that an answer had, 0 if not known.
    """

    job: str
    until: float
    latency_s: float = 0.0
    tokens: float = 0.0
    used_of_reserved: float = 0.0
    braked: bool = False
    used_of_share: float = 1.0
    busy: float = 0.0
    input_used: float = 0.0
    output_used: float = 0.0
    output: float = 0.0


class Learnt(Struct, frozen=True, array_like=True):
    """Means over a group's workers (see ``Member``), or what the last one to leave had measured, for those after it."""

    latency_s: float = 0.0
    tokens: float = 0.0
    used_of_reserved: float = 0.0
    used_of_share: float = 1.0
    input_used: float = 0.0
    output_used: float = 0.0
    output: float = 0.0


class Circuit(Struct, frozen=True, array_like=True):
    """An outage that the group has noticed.

    Attributes:
        probe_at: when the next worker may try one call.
        probes: how many were tried so far.
    """

    opened_at: float
    probe_at: float
    probes: int = 0


class Estimate(Struct, frozen=True, array_like=True):
    """The estimate of a limit that nobody configured, in requests a second.

    Attributes:
        moved_at: when it last changed. How it grows from then on is a function of the time.
        reached: a call was refused; earlier code stored estimates before one was.
        grown: how often it has grown since it was last cut.
    """

    rate: float
    moved_at: float
    reached: bool = False
    grown: int = 0


class InFlight(Struct, frozen=True, array_like=True):
    """How many calls in flight bring the most answers of a server of one's own, of all workers together."""

    at: float
    calls: int


class Found(Struct, frozen=True):
    """What a worker has found out about the limits of its group; None where that is nothing new."""

    told: Told | None = None
    in_flight: InFlight | None = None


NOTHING = Found()


class GroupState(Struct, frozen=True):
    """A limit group's item. ``waiting`` holds the jobs that were refused a share, and until when they count."""

    members: dict[str, Member] = {}
    waiting: dict[str, float] = {}
    learnt: Learnt = Learnt()
    circuit: Circuit | None = None
    estimate: Estimate | None = None
    told: Told | None = None
    in_flight: InFlight | None = None

    def live(self, now: float) -> Iterator[tuple[str, Member]]:
        return ((worker, member) for worker, member in self.members.items() if member.until > now)

    def gone(self, now: float) -> list[str]:
        """Return the workers that ended without leaving."""
        return [worker for worker, member in self.members.items() if member.until <= now]

    def stale(self, now: float) -> list[str]:
        """Return the jobs that wait no more."""
        return [job for job, until in self.waiting.items() if until <= now]

    def jobs(self, now: float) -> set[str]:
        """Return the jobs that work or wait."""
        return {member.job for _, member in self.live(now)} | self.waiting_jobs(now)

    def waiting_jobs(self, now: float) -> set[str]:
        return {job for job, until in self.waiting.items() if until > now}

    def mean(self, now: float) -> Learnt:
        """Return the means over the live members that have measured, else what was learnt before."""
        live = [member for _, member in self.live(now)]
        return Learnt(
            _mean([member.latency_s for member in live]) or self.learnt.latency_s,
            _mean([member.tokens for member in live]) or self.learnt.tokens,
            _mean([member.used_of_reserved for member in live]) or self.learnt.used_of_reserved,
            _mean([member.used_of_share for member in live]) or 1.0,
            _mean([member.input_used for member in live]) or self.learnt.input_used,
            _mean([member.output_used for member in live]) or self.learnt.output_used,
            _mean([member.output for member in live]) or self.learnt.output,
        )


def _mean(values: list[float]) -> float:
    known = [value for value in values if value > 0]
    return sum(known) / len(known) if known else 0.0
