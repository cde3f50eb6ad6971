"""Units whose intents lie on disk once they are decided: in AWS they lie in DynamoDB, not in the worker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from promptmill.domain.budget import BudgetLine
from promptmill.domain.units import Claim, Gate, IntentGroup, Verdict
from tests.fakes.units import FakeUnits

_decoder = msgspec.msgpack.Decoder(list[IntentGroup])


class DiskUnits(FakeUnits):
    def __init__(self, shut: set[Gate], folder: Path) -> None:
        super().__init__(shut)
        self._folder = folder

    async def decide(
        self, unit: str, claim: Claim, verdict: Verdict, *, used: int, lines: Sequence[BudgetLine]
    ) -> bool:
        decided = await super().decide(unit, claim, verdict, used=used, lines=lines)
        if decided and unit in self.groups:
            self._file(unit).write_bytes(msgspec.msgpack.encode(await super().intents(unit)))
            del self.groups[unit]
        return decided

    async def intents(self, unit: str) -> list[IntentGroup]:
        file = self._file(unit)
        return _decoder.decode(file.read_bytes()) if file.exists() else await super().intents(unit)

    def _file(self, unit: str) -> Path:
        return self._folder / unit.replace("/", "_")
