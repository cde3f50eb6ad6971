"""Find the record that brings workers down: try one at a time, and write down which before it is touched."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.domain.errors import SupersededError
from promptmill.domain.history import History
from promptmill.domain.record import RawRecord
from promptmill.domain.units import Claim
from promptmill.workflows.units.unit import Engine, Unit

MOST_TRIES = 3
"""Workers that may end while they try one record alone, before it is held at fault."""

_SUSPICIOUS_CRASHES = 2
_NOBODY = -1


class Isolation:
    """Of one unit in one epoch."""

    def __init__(self, unit: Unit, claim: Claim, known: History, engine: Engine) -> None:
        self._unit, self._claim, self._engine = unit, claim, engine
        self._suspects = known.suspects()
        self._crashes = claim.crashes
        self._trying, self._tries = claim.trying, claim.tries

    @property
    def culprit(self) -> int:
        """The record that is at fault, -1 if none is known to be."""
        return self._claim.trying if self._claim.tries >= MOST_TRIES else _NOBODY

    @property
    def needed(self) -> bool:
        tried = self._claim.trying != _NOBODY and self.culprit == _NOBODY
        return tried or (self._crashes >= _SUSPICIOUS_CRASHES and self.culprit == _NOBODY)

    def in_order(self, records: Sequence[RawRecord]) -> list[RawRecord]:
        """The one that was tried last, those whose calls are lost, the others."""

        def rank(record: RawRecord) -> int:
            if record.index == self._claim.trying:
                return 0
            return 1 if record.index in self._suspects else 2

        return sorted(records, key=rank)

    async def mark(self, record: int) -> None:
        """From now on, a worker that ends does so on account of this record. Raises SupersededError."""
        tries = self._claim.tries if record == self._claim.trying else 0
        await self._write(record, tries + 1)

    async def unmark(self, record: int) -> None:
        """It was not tried after all. Raises SupersededError."""
        tries = self._claim.tries if record == self._claim.trying else 0
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

    async def _write(self, trying: int, tries: int) -> None:
        self._trying, self._tries = trying, tries
        marked = await self._engine.units.mark(
            self._unit.name, self._claim, crashes=self._crashes, trying=trying, tries=tries
        )
        if not marked:
            raise SupersededError("another worker owns this unit")
