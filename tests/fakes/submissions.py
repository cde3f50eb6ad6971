"""Submissions in memory: each method checks and writes at once, without an await between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from msgspec import structs

from promptmill.ports.submissions import BatchEnd, FrozenChunk, Holder, Mark, Submission
from tests.fakes.failing import FailsOnRequest
from tests.fakes.jobs import FakeJobs
from tests.fakes.units import FakeUnits


class FakeSubmissions(FailsOnRequest):
    """The ``Submissions`` port. ``units`` learn which of them take chunks; ``jobs`` say which runs go on."""

    def __init__(self, jobs: FakeJobs, units: FakeUnits) -> None:
        self.stored: dict[Holder, Submission] = {}
        self._jobs, self._units = jobs, units

    async def create(self, submission: Submission) -> bool:
        if submission.holder in self.stored:
            return self.stored[submission.holder] == submission
        self.stored[submission.holder] = submission
        self._units.filling.add(submission.holder)
        return True

    async def read(self, holder: Holder) -> Submission | None:
        return self.stored.get(holder)

    async def schedule(self, holder: Holder, *, next_at: str) -> None:
        found = self.stored.get(holder)
        if found is not None and not found.settled_at:
            self._write(holder, next_at=next_at)

    async def freeze(self, holder: Holder, chunks: Sequence[FrozenChunk]) -> bool:
        found = self.stored[holder]
        if found.frozen is None and not found.void:
            self._write(holder, frozen=tuple(chunks))
            self._units.filling.discard(holder)
            return True
        return found.frozen == tuple(chunks)

    async def note_upload(self, holder: Holder, upload: str) -> bool:
        return self._once(holder, "upload", None, upload)

    async def mark_sent(self, holder: Holder, mark: Mark) -> bool:
        found, job = self.stored[holder], self._jobs.runs.get((holder.job_id, holder.run))
        goes_on = job is not None and not job.stop and not job.state.terminal
        if found.sent is None and found.frozen is not None and not found.void and goes_on:
            self._write(holder, sent=mark)
        return self.stored[holder].sent == mark

    async def note_batch(self, holder: Holder, batch: str, *, proven: bool) -> bool:
        found = self.stored[holder]
        is_open = not found.batch or (proven and not found.proven)
        if is_open and found.sent and found.ended is None and batch not in (*found.rejected, *found.doubted):
            self._write(holder, batch=batch, proven=proven)
        found = self.stored[holder]
        return (found.batch, found.proven) == (batch, proven)

    async def reject_batch(self, holder: Holder, batch: str, *, certain: bool) -> bool:
        found, name = self.stored[holder], "rejected" if certain else "doubted"
        if found.batch == batch and not found.proven:
            self._write(holder, **{"batch": "", name: tuple(sorted({*getattr(found, name), batch}))})
        return batch in getattr(self.stored[holder], name)

    async def void(self, holder: Holder, reason: str, *, stepper: str = "") -> bool:
        found = self.stored[holder]
        may = found.sent.stepper == stepper if stepper and found.sent else found.sent is None and not stepper
        if may and not found.void and not found.batch and found.ended is None:
            self._write(holder, void=reason)
            self._units.filling.discard(holder)
        return self.stored[holder].void == reason

    async def note_asked(self, holder: Holder, at: str) -> bool:
        return self._once(holder, "asked_at", "", at)

    async def note_end(self, holder: Holder, batch: str, end: BatchEnd) -> bool:
        found = self.stored[holder]
        ours = found.batch == batch and (found.proven or not batch)
        if ours and found.ended is None and not found.void:
            self._write(holder, ended=end)
        return self.stored[holder].ended == end

    async def give(self, holder: Holder, at: str) -> bool:
        return self._once(holder, "given_at", "", at)

    async def note_told(self, holder: Holder, at: str) -> bool:
        return self._once(holder, "told_at", "", at)

    async def settle(self, holder: Holder, at: str) -> bool:
        return bool(self.stored[holder].told_at) and self._once(holder, "settled_at", "", at)

    async def due(self, at: str) -> AsyncIterator[Submission]:
        for found in sorted(self.stored.values(), key=lambda each: each.next_at):
            if not found.settled_at and found.next_at <= at:
                yield found

    async def of_run(self, job_id: str, run: int) -> AsyncIterator[Submission]:
        for found in sorted(self.stored.values(), key=lambda each: each.id):
            if (found.job_id, found.run) == (job_id, run):
                yield found

    def _once(self, holder: Holder, name: str, nothing: object, value: object) -> bool:
        if getattr(self.stored[holder], name) == nothing:
            self._write(holder, **{name: value})
        return bool(getattr(self.stored[holder], name) == value)

    def _write(self, holder: Holder, **changes: Any) -> None:
        self.stored[holder] = structs.replace(self.stored[holder], **changes)
