"""A chunk's outcomes as they come in, in any order, and its result once all are there."""

from __future__ import annotations

from collections.abc import Awaitable

from msgspec import structs

from promptmill.domain import chunk_result
from promptmill.domain.chunk_result import ChunkHeader, ChunkResult
from promptmill.domain.dialects.registry import dialect_named
from promptmill.domain.job import Counts, Manifest
from promptmill.domain.record import Attempt, Outcome
from promptmill.domain.tally import Tally, route_costs, tally_of
from promptmill.workflows.calls.complete_record import fault_in


class ChunkSheet:
    """Outcomes are rendered when they come, so that answers are not held twice."""

    def __init__(self, manifest: Manifest, places: int) -> None:
        self._manifest, self._dialect = manifest, dialect_named(manifest.facts.dialect)
        self._lines: list[bytes] = [b""] * places
        self._errors: list[bytes] = [b""] * places
        self._attempts: list[tuple[Attempt, ...]] = [()] * places
        self._tally = Tally()

    @property
    def counts(self) -> Counts:
        """So far."""
        return self._tally.counts

    async def fill(self, place: int, outcome: Awaitable[Outcome]) -> None:
        self.put(place, await outcome)

    def put(self, place: int, outcome: Outcome) -> None:
        """An answer that cannot be written is a failure of its record, never of the chunk."""
        try:
            line = self._line(outcome)
        except Exception as error:  # noqa: BLE001  whatever it is, the neighbours' answers are paid for
            outcome = structs.replace(outcome, completion=None, failure=fault_in(outcome.record, error))
            line = self._line(outcome)
        self._lines[place] = line
        if outcome.failure is not None:
            self._errors[place] = self._dialect.render_error(outcome.record, self._manifest.facts)
        self._attempts[place] = outcome.attempts
        self._tally = self._tally.plus(tally_of(outcome))

    def _line(self, outcome: Outcome) -> bytes:
        manifest = self._manifest
        return self._dialect.render(outcome, manifest.facts, manifest.recipe, manifest.job_id)

    def result(self, *, chunk: int, epoch: int, day: str) -> ChunkResult:
        """Of all outcomes."""
        attempts = [attempt for of_record in self._attempts for attempt in of_record]
        results, errors = b"".join(self._lines), b"".join(self._errors)
        lines = chunk_result.attempt_lines(attempts)
        costs = tuple(route_costs(attempts))
        header = ChunkHeader(chunk, epoch, day, self._tally, costs, len(results), len(errors), len(lines))
        return ChunkResult(header, results, errors, lines)
