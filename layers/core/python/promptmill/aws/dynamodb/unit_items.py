"""Claims and intents as they are written to items of the jobs table, and read back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from promptmill.domain.layout import VERSION_FIELD, check_version
from promptmill.domain.units import Claim, Gate, Intent, IntentGroup, Verdict
from promptmill.ports.submissions import Holder

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


def submission_key(holder: Holder) -> dict[str, str]:
    return {"pk": f"JOB#{holder.job_id}", "sk": f"RUN#{holder.run:04d}#SUBMISSION#{holder.submission}"}


def claim_values(claim: Claim) -> dict[str, Any]:
    """Return the attributes of a claim's item, without the verdict while there is none."""
    values = {name: getattr(claim, name) for name in claim.__struct_fields__}
    if claim.verdict is not None:
        return values | {"verdict": verdict_value(claim.verdict)}
    values.pop("verdict")
    return values


def verdict_value(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in verdict.__struct_fields__}


def claim_from(item: dict[str, Any]) -> Claim:
    check_version(item.get(VERSION_FIELD, 1), "a claim")
    fields = {name: item[name] for name in Claim.__struct_fields__ if name in item}
    if "verdict" in fields:
        fields["verdict"] = Verdict(**fields["verdict"])
    return Claim(**fields | {"lines": tuple(item.get("lines", ()))})


def group_values(group: IntentGroup) -> dict[str, Any]:
    """Pack a group of intents. A route's name is written once, so that 50 intents take about a kilobyte.

    ``models`` are in the order of the packed routes.
    """
    routes = sorted({intent.route for intent in group.intents})
    places = {route: place for place, route in enumerate(routes)}
    packed: _Packed = (routes, [(i.sequence, i.record, places[i.route], i.high) for i in group.intents])
    values = {"epoch": group.epoch, "day": group.day, "intents": msgspec.msgpack.encode(packed)}
    return values | {"models": [group.models.get(route, "") for route in routes]}


def group_from(item: dict[str, Any]) -> IntentGroup:
    routes, packed = _decoder.decode(bytes(item["intents"]))
    intents = (Intent(sequence, record, routes[place], high) for sequence, record, place, high in packed)
    models = {route: model for route, model in zip(routes, item.get("models", ()), strict=False) if model}
    return IntentGroup(item["epoch"], item["day"], tuple(intents), models)
