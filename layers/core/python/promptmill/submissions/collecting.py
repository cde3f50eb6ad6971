"""Collect a batch that has ended: copy its results once, and make one page of each chunk from that copy.

Everything after the copy is a pure function of it, so that any number of steppers may collect at once.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from msgspec import Struct

from promptmill.calls.attempts import answered_attempt, failed_attempt
from promptmill.calls.call_routes import FAULT, RouteOutcome, note_translation
from promptmill.calls.complete_record import Searched, restore_outcome
from promptmill.domain import layout
from promptmill.domain.completion import Completion, Usage
from promptmill.domain.errors import MissingObjectError, ProviderError, SupersededError
from promptmill.domain.pricing import UNKNOWN, tells_extra
from promptmill.domain.record import Attempt, Price, RawRecord, RecordResult
from promptmill.domain.units import Claim, Verdict, call_id, chunk_unit
from promptmill.engine.history import History, fold_history
from promptmill.engine.journal import SEAL, Page
from promptmill.engine.run_unit import budget_of
from promptmill.jobs.chunk_unit import ChunkUnit
from promptmill.jobs.run_chunk import record_chunk_end
from promptmill.ports.submissions import BatchEnd, FrozenChunk, Mark, line_id
from promptmill.redaction import Redacted
from promptmill.submissions.context import Stepping, recover_before
from promptmill.submissions.letting_go import let_go, let_go_unsent, read_held, tell
from promptmill.submissions.staging import StagedChunk, StagedLine, read_map
from promptmill.wire.batches.lines import AnsweredLine, FailedLine, ResultLine
from promptmill.wire.line_fields import moved_by

MAX_BYTES = 64_000_000
"""Bytes of lines whose answers are in memory at once: what more there is takes another pass over the copy."""
_RETRY_S = 60.0

Answers = Mapping[str, Sequence[ResultLine]]


async def collect(stepping: Stepping) -> float | None:
    """Tell every line of a batch that has ended; return the seconds to wait, None if all is told."""
    if not await _copy_results(stepping):
        return _RETRY_S
    for group in _split(await _find_untold(stepping)):
        answers = await _read_answers(stepping, group)
        for chunk in group:
            if stepping.is_over_time:
                return 0.0
            await stepping.show_life()
            await _collect_chunk(stepping, chunk, answers)
    await let_go_unsent(stepping)
    return None


async def _copy_results(stepping: Stepping) -> bool:
    """Make the copy durable. Return False if the service says that there will be results later."""
    submission, objects, end = stepping.submission, stepping.context.runtime.objects, _end_of(stepping)
    key = layout.batch_answers_key(submission.id)
    if not end.has_results or await objects.head(key) is not None:
        return True
    status = await stepping.service.poll(submission.route, submission.batch)
    if status.state == "running":
        return False
    try:
        if status.state != "gone":
            await objects.create_from(key, stepping.service.results(submission.route, stepping.order(), status))
            return True
    except MissingObjectError:
        pass
    # The results were deleted before they were read: nobody will ever know what became of the lines.
    await objects.create(key, b"\n")
    return True


def _end_of(stepping: Stepping) -> BatchEnd:
    if stepping.submission.ended is None:
        raise ValueError(f"the batch of submission {stepping.submission.id} has not ended")
    return stepping.submission.ended


async def _find_untold(stepping: Stepping) -> list[FrozenChunk]:
    """Return the chunks that the submission still holds, and those whose page is not there."""
    submission, runtime = stepping.submission, stepping.context.runtime
    found = []
    for chunk in submission.frozen or ():
        journals = layout.chunk_journals(submission.job_id, submission.run, chunk.chunk)
        page = await runtime.objects.head(layout.journal_key(journals, chunk.epoch, 0))
        is_there = page is not None and page.size != len(SEAL)
        if not is_there or await read_held(stepping, chunk.chunk) is not None:
            found.append(chunk)
    return found


def _split(chunks: Sequence[FrozenChunk]) -> Iterator[list[FrozenChunk]]:
    """Yield neighbouring chunks whose lines fit into memory together."""
    group: list[FrozenChunk] = []
    for chunk in chunks:
        if group and sum(each.size for each in group) + chunk.size > MAX_BYTES:
            yield group
            group = []
        group.append(chunk)
    if group:
        yield group


async def split_lines(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a stream."""
    held = bytearray()
    async for block in blocks:
        held += block
        *lines, rest = bytes(held).split(b"\n")
        held = bytearray(rest)
        for line in lines:
            yield line
    if held:
        yield bytes(held)


async def _read_answers(stepping: Stepping, chunks: Sequence[FrozenChunk]) -> dict[str, list[ResultLine]]:
    """Return the results of some chunks, by the ids of their lines. Lines of other chunks are not even parsed."""
    submission, found = stepping.submission, dict[str, list[ResultLine]]()
    if not _end_of(stepping).has_results:
        return found
    wanted = re.compile(b"%s-(?:%s)-" % (submission.id.encode(), "|".join(str(c.chunk) for c in chunks).encode()))
    copy = stepping.context.runtime.objects.stream(layout.batch_answers_key(submission.id))
    async for line in split_lines(copy):
        told = stepping.service.read_line(line) if wanted.search(line) else None
        if told is not None:
            found.setdefault(told.id, []).append(told)
    return found


async def _collect_chunk(stepping: Stepping, chunk: FrozenChunk, answers: Answers) -> None:
    """Tell a chunk's lines, then close the chunk, or let it go with the records that are left."""
    runtime, submission = stepping.context.runtime, stepping.submission
    name = chunk_unit(submission.job_id, submission.run, chunk.chunk)
    held = await read_held(stepping, chunk.chunk)
    unit = await stepping.unit(chunk.chunk) if stepping.manifest is not None else None
    known = History() if unit is None or held is None else await recover_before(unit, held, runtime)
    staged = await read_map(stepping, chunk.chunk)
    page = await _Teller(stepping, chunk, answers, unit, known).page(staged)
    page = await tell(stepping, chunk.chunk, chunk.epoch, page)
    held = await read_held(stepping, chunk.chunk)
    if held is None:
        return
    groups = [group for group in await runtime.units.intents(name) if group.epoch == chunk.epoch]
    history = known.plus(fold_history(name, groups, {chunk.epoch: [page]}))
    if unit is None or not await _close(stepping, unit, held, history, chunk.chunk):
        await let_go(stepping, chunk.chunk, held)


async def _close(stepping: Stepping, unit: ChunkUnit, claim: Claim, history: History, chunk: int) -> bool:
    """Close a chunk whose records all have an outcome. Return False for another one.

    The verdict lets the chunk go as well, so that any worker can finish a close that is cut off.
    """
    runtime, job = stepping.context.runtime, stepping.job
    if job is None or stepping.manifest is None or claim.verdict is not None:
        return False
    if any(record.index not in history.results for record in await unit.records()):
        return False
    verdict = Verdict("completed")
    budget = budget_of(unit, claim, claim.day, history.used, runtime)
    with suppress(SupersededError):  # another stepper was faster
        await budget.decide(verdict)
        await unit.close(history, verdict)
        await record_chunk_end(stepping.manifest, chunk, stepping.context.jobs)
    return True


class _Teller(Struct, frozen=True):
    """Says what became of one chunk's lines.

    Attributes:
        unit: None where the run's files are gone: then answers are paid for, and told to nobody.
        known: what earlier owners of the chunk did.
    """

    stepping: Stepping
    chunk: FrozenChunk
    answers: Answers
    unit: ChunkUnit | None
    known: History

    async def page(self, staged: StagedChunk) -> Page:
        """Return the one page of the chunk's epoch: it holds answers only. What failed may still be answered live."""
        records = {record.index: record for record in await self.unit.records()} if self.unit else {}
        attempts, voids, results = list[Attempt](), list[int](), list[RecordResult]()
        for sequence, line in enumerate(staged.lines):
            told = self._tell(line, sequence)
            if told == "void":
                voids.append(sequence)
            elif isinstance(told, tuple):
                attempt, completion = told
                attempts.append(attempt)
                record = records.get(line.record)
                if completion is not None and self.unit is not None and record is not None:
                    results.append(self._result(self.unit, record, line, attempt, completion))
        return Page(tuple(attempts), tuple(voids), tuple(results))

    def _tell(self, line: StagedLine, sequence: int) -> tuple[Attempt, Completion | None] | str:
        """Return the line's attempt and answer, ``void`` if it never ran, or "" if nobody knows what became of it."""
        submission = self.stepping.submission
        found = self.answers.get(line_id(submission.id, self.chunk.chunk, line.record), ())
        call = call_id(chunk_unit(submission.job_id, submission.run, self.chunk.chunk), self.chunk.epoch, sequence)
        failed: tuple[Attempt, None] | None = None
        for answered in (each for each in found if isinstance(each, AnsweredLine)):
            told = self._read_answer(call, line, answered)
            if told[1] is not None:
                return told  # an answer wins over an error
            failed = failed or (told[0], None)
        for each in found:
            if isinstance(each, FailedLine) and each.fault != "not_run":
                error = ProviderError(each.code, each.detail, status=each.status, usage_unknown=each.may_cost)
                failed = failed or (self._failed(call, line, error), None)
        return failed or ("void" if found or self._never_ran else "")

    @property
    def _never_ran(self) -> bool:
        """Return True if a line without a result surely cost nothing: its batch has left none at all."""
        end = _end_of(self.stepping)
        return not end.has_results and end.state != "gone"

    def _read_answer(self, call: str, line: StagedLine, answered: AnsweredLine) -> tuple[Attempt, Completion | None]:
        route = self.stepping.submission.route
        try:
            completion = self.stepping.service.read_answer(route, line.request, answered)
            completion = note_translation(completion, line.request, route)
            price = self._price(line, completion.usage, completion.model)
        except ProviderError as error:
            return self._failed(call, line, error), None
        except Exception:  # noqa: BLE001  we cannot read what was paid for: its cost is unknown, and it is answered live
            return self._failed(call, line, ProviderError(FAULT, usage_unknown=True)), None
        at, latency_ms = self._times
        attempt = answered_attempt(call, line.record, route, completion, price=price, at=at, latency_ms=latency_ms)
        return attempt, completion

    def _failed(self, call: str, line: StagedLine, error: ProviderError) -> Attempt:
        at, latency_ms = self._times
        price = self._price(line, error.usage, error.model) if error.usage else None
        route = self.stepping.submission.route
        return failed_attempt(call, line.record, route, error, at=at, latency_ms=latency_ms, price=price)

    def _price(self, line: StagedLine, usage: Usage, model: str) -> Price:
        route, (at, _) = self.stepping.submission.route, self._times
        price = self.stepping.context.runtime.prices.price_in_batch(route, usage, model=model, at=at)
        told = all(tells_extra(name, route, usage) for name in moved_by(line.request))
        return price if told or price.basis == "provider-reported" else UNKNOWN

    def _result(
        self, unit: ChunkUnit, record: RawRecord, line: StagedLine, attempt: Attempt, completion: Completion
    ) -> RecordResult:
        searched = Searched(Redacted(line.request, line.values, line.redacted), line.searches)
        called = RouteOutcome(completion, None, attempt.route, (attempt,))
        earlier = self.known.attempts_of(line.record) if self.known.calls else ()
        return unit.result(restore_outcome(record, searched, called, unit.recipe, earlier))

    @property
    def _times(self) -> tuple[datetime, int]:
        """Return when the batch was sent, and the milliseconds until it was known to have ended."""
        sent = self.stepping.submission.sent or Mark("", self.stepping.submission.created_at)
        at = datetime.fromisoformat(sent.at)
        took = datetime.fromisoformat(_end_of(self.stepping).at) - at
        return at, round(took.total_seconds() * 1000)
