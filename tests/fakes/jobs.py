"""The jobs table in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import structs

from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.domain.units import Gate, gates_of
from promptmill.ports.job_store import QueuedRun, RunWindow
from tests.fakes.failing import FailsOnRequest

_RANKS = {JobState.PLANNING: 0, JobState.DUPLICATE: 1, JobState.RUNNING: 2, JobState.JOINING: 3}
_TERMINAL = 4


class FakeJobs(FailsOnRequest):
    """The ``Jobs`` port. ``shut`` is what ``FakeUnits`` sees of the gates."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, int], JobRun] = {}
        self.ended: dict[tuple[str, int], dict[int, Counts]] = {}
        self.live: dict[tuple[str, int, int], Counts] = {}
        self.shut: set[Gate] = set()
        self.first_drops: dict[tuple[str, str], tuple[str, str]] = {}
        self.windows: dict[tuple[str, int], RunWindow] = {}
        self.takers: set[tuple[str, int, int, str]] = set()
        self.drained: set[tuple[str, int, int]] = set()
        self.planners: dict[tuple[str, int], tuple[str, str]] = {}
        self.planning: dict[tuple[str, int], set[str]] = {}
        self.queued: set[QueuedRun] = set()
        self._status_at: dict[tuple[str, int], str] = {}

    async def create(self, job: JobRun) -> bool:
        if (job.job_id, job.run) in self.runs:
            return False
        self.runs[job.job_id, job.run] = job
        return True

    async def read(self, job_id: str, run: int) -> JobRun | None:
        return self.runs.get((job_id, run))

    async def move(
        self,
        job_id: str,
        run: int,
        to: JobState,
        *,
        at: str,
        reason: str = "",
        remedy: str = "",
        records: int | None = None,
        chunks: int | None = None,
        recipe: str = "",
        kept: Counts | None = None,
        answers_kept: int | None = None,
        notes: tuple[str, ...] = (),
        counts: Counts | None = None,
        files: dict[str, str] | None = None,
    ) -> bool:
        job = self.runs.get((job_id, run))
        if job is None:
            return False
        below = _RANKS[JobState.RUNNING] if to is JobState.REJECTED else _RANKS.get(to, _TERMINAL)
        if _RANKS.get(job.state, _TERMINAL) >= below:
            return False
        given = {
            "reason": reason,
            "remedy": remedy,
            "kept": kept,
            "answers_kept": answers_kept,
            "notes": notes or None,
            "records": records,
            "chunks": chunks,
            "recipe": recipe or None,
            "counts": counts,
            "files": files,
            "started_at": at if to is JobState.RUNNING else None,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        self.runs[job_id, run] = structs.replace(job, state=to, last_progress=at, **changes)
        return True

    async def take_planner(self, recipe: str, owner: str, *, at: str, until: str, most: int) -> bool:
        for place in range(most):
            holder, held_until = self.planners.get((recipe, place), ("", ""))
            if held_until < at or holder == owner:
                self.planners[recipe, place] = (owner, until)
                return True
        return False

    async def free_planner(self, recipe: str, owner: str, *, most: int) -> None:
        for place in range(most):
            if self.planners.get((recipe, place), ("", ""))[0] == owner:
                self.planners[recipe, place] = (owner, "")

    async def open_runs(self) -> AsyncIterator[JobRun]:
        for job in list(self.runs.values()):
            if not job.state.resting:
                yield job

    async def recent(self, *, limit: int) -> AsyncIterator[JobRun]:
        for job in sorted(self.runs.values(), key=lambda job: job.job_id, reverse=True)[:limit]:
            yield job

    async def close_route(self, job_id: str, run: int, route: str, code: str) -> None:
        job = self.runs[job_id, run]
        self.runs[job_id, run] = structs.replace(
            job, closed_routes=dict(sorted((job.closed_routes | {route: code}).items()))
        )

    async def begin_planner(self, job_id: str, run: int, planner: str) -> None:
        self._count_planners(job_id, run, self.planning.setdefault((job_id, run), set()) | {planner})

    async def end_planner(self, job_id: str, run: int, planner: str) -> None:
        self._count_planners(job_id, run, self.planning.setdefault((job_id, run), set()) - {planner})

    def _count_planners(self, job_id: str, run: int, planning: set[str]) -> None:
        if job := self.runs.get((job_id, run)):
            self.planning[job_id, run] = planning
            self.runs[job_id, run] = structs.replace(job, planners=len(planning))

    async def note_waiting(self, job_id: str, run: int, *, waiting_for: str, until: str) -> None:
        self.runs[job_id, run] = structs.replace(self.runs[job_id, run], waiting_for=waiting_for, waiting_until=until)

    async def note_swept(self, job_id: str, run: int, *, at: str) -> None:
        self.runs[job_id, run] = structs.replace(self.runs[job_id, run], swept_at=at)

    async def take_status_turn(self, job_id: str, run: int, *, at: str, not_since: str) -> bool:
        place = (job_id, run)
        if place not in self.runs or self.runs[place].state.terminal or self._status_at.get(place, "") >= not_since:
            return False
        self._status_at[place] = at
        self.runs[place] = structs.replace(self.runs[place], last_progress=at)
        return True

    async def first_drop(
        self, recipe: str, digest: str, job_id: str, *, at: str, not_since: str, over: str = ""
    ) -> str:
        first, since = self.first_drops.get((recipe, digest), ("", ""))
        if first in ("", over, job_id) or since < not_since:
            self.first_drops[recipe, digest] = (job_id, at)
        return self.first_drops[recipe, digest][0]

    async def stop(self, job_id: str, run: int, *, code: str, at: str) -> bool:
        del at
        job = self.runs.get((job_id, run))
        if job is None or job.stop or _RANKS.get(job.state, _TERMINAL) >= _RANKS[JobState.JOINING]:
            return False
        self.runs[job_id, run] = structs.replace(job, stop=code)
        return True

    async def shut_gates(self, job_id: str, run: int) -> None:
        self.shut.update(gates_of(job_id, run))

    async def read_window(self, job_id: str, run: int) -> RunWindow:
        return self.windows.get((job_id, run), RunWindow())

    async def take(self, job_id: str, run: int, *, seen: int, to: int, taker: str) -> bool:
        window = self.windows.get((job_id, run), RunWindow())
        if window.sent != seen:
            return (job_id, run, to, taker) in self.takers
        self.takers.add((job_id, run, to, taker))
        self.windows[job_id, run] = structs.replace(window, sent=to)
        return True

    async def queue_run(self, run: QueuedRun) -> None:
        self.queued.add(run)

    async def queued_runs(self, *, limit: int) -> list[QueuedRun]:
        return sorted(self.queued, key=lambda run: (not run.is_small, run.since, run.job_id, run.run))[:limit]

    async def take_queued(self, run: QueuedRun) -> bool:
        found = run in self.queued
        self.queued.discard(run)
        return found

    async def note_drained(self, job_id: str, run: int, chunk: int) -> RunWindow:
        window = self.windows.get((job_id, run), RunWindow())
        if (job_id, run, chunk) not in self.drained:
            self.drained.add((job_id, run, chunk))
            self.windows[job_id, run] = window = structs.replace(window, drained=window.drained + 1)
        return window

    async def read_drained(self, job_id: str, run: int) -> frozenset[int]:
        return frozenset(chunk for (job, number, chunk) in self.drained if (job, number) == (job_id, run))

    async def note_progress(self, job_id: str, run: int, chunk: int, counts: Counts, *, at: str) -> None:
        del at
        self.live[job_id, run, chunk] = counts

    async def chunk_ended(self, job_id: str, run: int, chunk: int, counts: Counts, *, of: int, at: str) -> bool:
        del at
        self.live.pop((job_id, run, chunk), None)
        ended = self.ended.setdefault((job_id, run), {})
        ended.setdefault(chunk, counts)
        return len(ended) == of

    async def read_progress(self, job_id: str, run: int) -> Counts:
        ended = self.ended.get((job_id, run), {})
        live = [c for (j, r, n), c in self.live.items() if (j, r) == (job_id, run) and n not in ended]
        total = Counts()
        for counts in [*ended.values(), *live]:
            total = total.plus(counts)
        return total
