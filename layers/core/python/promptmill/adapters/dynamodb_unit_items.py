"""Claims, intents, gates and budgets as items of the jobs table.

| pk | sk | what |
|---|---|---|
| ``UNIT#<unit>`` | ``CLAIM`` | who works on it, and what it holds |
| ``UNIT#<unit>`` | ``INTENTS#<epoch>#<first sequence>`` | up to 50 intents, packed: they are most of what a job writes |
| ``BUDGET#<key>`` | ``STATE`` | granted, in nano-dollars, and its holders |
| ``JOB#<job>`` | ``RUN#0001#GATE#03`` | a gate that is shut; there is none while it is open |
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from promptmill.domain.units import Claim, Gate, Intent, IntentGroup, Verdict

KEPT_S = int(timedelta(days=400).total_seconds())
INTENTS = "INTENTS#"

_Packed = tuple[list[str], list[tuple[int, int, int, int | None]]]
_decoder = msgspec.msgpack.Decoder(_Packed)


def claim_key(unit: str) -> dict[str, str]:
    return {"pk": f"UNIT#{unit}", "sk": "CLAIM"}


def group_key(unit: str, group: IntentGroup) -> dict[str, str]:
    return {"pk": f"UNIT#{unit}", "sk": f"{INTENTS}{group.epoch:06d}#{group.first:08d}"}


def gate_key(gate: Gate) -> dict[str, str]:
    return {"pk": f"JOB#{gate.job_id}", "sk": f"RUN#{gate.run:04d}#GATE#{gate.number:02d}"}


def budget_key(key: str) -> dict[str, str]:
    return {"pk": f"BUDGET#{key}", "sk": "STATE"}


def claim_values(claim: Claim) -> dict[str, Any]:
    """The attributes of its item; a verdict that is not there yet is left out."""
    values = {name: getattr(claim, name) for name in claim.__struct_fields__}
    if claim.verdict is not None:
        return values | {"verdict": verdict_value(claim.verdict)}
    values.pop("verdict")
    return values


def verdict_value(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in verdict.__struct_fields__}


def claim_from(item: dict[str, Any]) -> Claim:
    fields = {name: item[name] for name in Claim.__struct_fields__ if name in item}
    if "verdict" in fields:
        fields["verdict"] = Verdict(**fields["verdict"])
    return Claim(**fields)


def group_values(group: IntentGroup) -> dict[str, Any]:
    """A route's name is written once; 50 intents take about a kilobyte."""
    routes = sorted({intent.route for intent in group.intents})
    places = {route: place for place, route in enumerate(routes)}
    packed: _Packed = (routes, [(i.sequence, i.record, places[i.route], i.high) for i in group.intents])
    return {"epoch": group.epoch, "day": group.day, "intents": msgspec.msgpack.encode(packed)}


def group_from(item: dict[str, Any]) -> IntentGroup:
    routes, packed = _decoder.decode(bytes(item["intents"]))
    intents = (Intent(sequence, record, routes[place], high) for sequence, record, place, high in packed)
    return IntentGroup(item["epoch"], item["day"], tuple(intents))
