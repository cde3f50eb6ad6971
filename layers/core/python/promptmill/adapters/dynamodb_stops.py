"""How a run is ended early, in the jobs table: ``stop`` on the run's item, then its gates."""

from __future__ import annotations

import random
from asyncio import gather
from typing import TYPE_CHECKING

from promptmill.adapters.dynamodb_items import write_if
from promptmill.adapters.dynamodb_transactions import insist, update
from promptmill.adapters.dynamodb_unit_items import KEPT_S, gate_key
from promptmill.domain.units import Gate, gates_of
from promptmill.ports.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

OVER = 4
"""Rank of a run that is terminal."""


class DynamoDbStops:
    """The ``RunStops`` port."""

    _db: DynamoDBClient
    _table: str
    _rng: random.Random
    _clock: Clock

    async def stop(self, job_id: str, run: int, *, code: str, at: str) -> bool:
        return await write_if(
            self._db.update_item,
            **update(
                self._table,
                {"pk": f"JOB#{job_id}", "sk": f"RUN#{run:04d}"},
                sets={"stop": code, "stopped_at": at},
                condition="attribute_not_exists(#stop) AND #rank < :over",
                values={"over": OVER},
            ),
        )

    async def shut_gates(self, job_id: str, run: int) -> None:
        await gather(*(self._shut(gate) for gate in gates_of(job_id, run)))

    async def _shut(self, gate: Gate) -> None:
        """Intents that are being written conflict with it: it is tried until it is in."""
        kept = int(self._clock.now().timestamp()) + KEPT_S
        await insist(
            self._db.update_item, rng=self._rng, **update(self._table, gate_key(gate), sets={"shut": True, "ttl": kept})
        )
