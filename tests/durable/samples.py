"""The samples hold what earlier code has stored: one file for each kind, divided by the situations that wrote it.

They are written once and then stay as they are, because a job that is under way may hold such a thing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.durable.kinds import CHARGES_ITEMS, JOBS_ITEMS, MESSAGES, OBJECTS, unit_of
from tests.durable.spellings import spellings_of
from tests.durable.state import State, Thing, place_of

CARRIED_ON = "{}, carried on"
_FOLDER = Path(__file__).parent / "samples"
_LINE = 118
_ENDS = ("chunk_result", "answer")
_READ_BY_PEOPLE = {"status", "summary", "report", "attempts", "errors", "results"}
_READ_BY_WORKERS = {*JOBS_ITEMS, *CHARGES_ITEMS, *OBJECTS} - _READ_BY_PEOPLE


def all_samples() -> dict[str, State]:
    """Return the samples by situation."""
    found: dict[str, State] = {}
    for path in sorted(_FOLDER.glob("*.json")):
        for situation, things in json.loads(path.read_text()).items():
            found.setdefault(situation, {})[path.stem] = things
    return found


def add_samples(situation: str, begun: State, ended: State) -> None:
    """Keep what workers go on from, what was charged in the end, and whatever else is spelt as nothing before it."""
    carried_on = CARRIED_ON.format(situation)
    _add(situation, _only(begun, _needed_from(begun)))
    _add(carried_on, _only(ended, lambda kind, thing: kind in CHARGES_ITEMS and thing not in begun.get(kind, [])))
    _add(situation, begun, only_new=True)
    _add(carried_on, ended, only_new=True)


def _only(state: State, is_kept: Callable[[str, Thing], bool]) -> State:
    return {kind: [thing for thing in things if is_kept(kind, thing)] for kind, things in state.items()}


def _needed_from(state: State) -> Callable[[str, Thing], bool]:
    """Return what tells messages that wait, and things that workers read. Nobody reads journals behind a result."""
    over = {unit_of(kind, place_of(thing)) for kind in _ENDS for thing in state.get(kind, [])} - {""}

    def is_needed(kind: str, thing: Thing) -> bool:
        if kind in MESSAGES:
            return bool(thing.get("waits"))
        return kind in _READ_BY_WORKERS and (kind in _ENDS or unit_of(kind, place_of(thing)) not in over)

    return is_needed


def _add(situation: str, state: State, *, only_new: bool = False) -> None:
    seen = spellings_of(*all_samples().values())
    for kind, things in state.items():
        path = _FOLDER / f"{kind}.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        for thing in things:
            if not only_new or not seen.hold(spellings_of({kind: [thing]})):
                found.setdefault(situation, []).append(thing)
                seen.add(spellings_of({kind: [thing]}))
        if found:
            path.write_text(_pretty(found, "") + "\n")


def _pretty(value: Any, indent: str) -> str:
    """Return JSON with each value on one line where it fits."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent) + len(flat) <= _LINE:
        return flat
    more = indent + " "
    if isinstance(value, dict):
        inner = [f"{more}{json.dumps(k, ensure_ascii=False)}: {_pretty(v, more)}" for k, v in value.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    return "[\n" + ",\n".join(more + _pretty(each, more) for each in value) + f"\n{indent}]"
