"""Find the record that brings workers down: try one at a time, and write down which before it is touched."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.domain.errors import SupersededError
from promptmill.domain.record import RawRecord
from promptmill.domain.units import Claim
from promptmill.engine.history import History
from promptmill.engine.unit import Unit, UnitRuntime

MAX_TRIES = 3
"""Workers that may end while they try one record alone, before it is held at fault."""

_SUSPICIOUS_CRASHES = 2
_NOBODY = -1


class Isolation:
    """Of one unit in one epoch."""

    def __init__(self, unit: Unit, claim: Claim, known: History, runtime: UnitRuntime) -> None:
        self._unit, self._claim, self._runtime = unit, claim, runtime
        self._suspects = known.suspects()
        self._crashes = claim.crashes
        cleared = claim.trying in known.results  # its worker ended before it could say so
        self._tried = (_NOBODY, 0) if cleared else (claim.trying, claim.tries)
        self._trying, self._tries = self._tried

    @property
    def culprit(self) -> int:
        """The record that is at fault, -1 if none is known to be."""
        record, tries = self._tried
        return record if tries >= MAX_TRIES else _NOBODY

    @property
    def needed(self) -> bool:
        suspicious = self._crashes >= _SUSPICIOUS_CRASHES or self._tried[0] != _NOBODY
        return suspicious and self.culprit == _NOBODY

    def in_order(self, records: Sequence[RawRecord]) -> list[RawRecord]:
        """The one that was tried last, those whose calls are lost, the others."""

        def rank(record: RawRecord) -> int:
            if record.index == self._tried[0]:
                return 0
            return 1 if record.index in self._suspects else 2

        return sorted(records, key=rank)

    async def mark(self, record: int) -> None:
        """From now on, a worker that ends does so on account of this record. Raises SupersededError."""
        await self._write(record, self._tries_before(record) + 1)

    async def unmark(self, record: int) -> None:
        """It was not tried after all. Raises SupersededError."""
        tries = self._tries_before(record)
        await self._write(record if tries else _NOBODY, tries)

    async def acquit(self) -> None:
        """Nobody is suspected any more. Raises SupersededError."""
        self._crashes = 0
        await self._write(_NOBODY, 0)

    async def moved(self) -> None:
        """Something is journaled: what came before was no fault of the unit as a whole. Raises SupersededError."""
        if self._crashes:
            self._crashes = 0
            await self._write(self._trying, self._tries)

    def _tries_before(self, record: int) -> int:
        return self._tried[1] if record == self._tried[0] else 0

    async def _write(self, trying: int, tries: int) -> None:
        self._trying, self._tries = trying, tries
        marked = await self._runtime.units.mark(
            self._unit.name, self._claim, crashes=self._crashes, trying=trying, tries=tries
        )
        if not marked:
            raise SupersededError("another worker owns this unit")
