"""What becomes of the lines of a batch, in no service's own words."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

Fate = Literal["answer", "refuse", "overload", "no_money", "zero", "missing", "double", "foreign", "not_run"]
"""``zero`` is OpenAI's line with a status of 0; elsewhere it is an overload. ``foreign`` comes under an id of nobody."""

FateOf = Callable[[int], Fate]


class Told(Struct, frozen=True):
    """One line of the results. ``about`` is the place of the line whose answer this is."""

    id: str
    about: int
    fate: Fate


def all_answered(_place: int) -> Fate:
    return "answer"


def some(*, errors: int = 0, missing: int = 0, doubled: int = 0, not_run_from: int = 10**9) -> FateOf:
    """So many lines of each hundred go wrong in each way; from one place on none ran."""

    def fate_of(place: int) -> Fate:
        if place >= not_run_from:
            return "not_run"
        rest = place % 100
        for fate, number in (("refuse", errors), ("missing", missing), ("double", doubled)):
            if rest < number:
                return fate  # type: ignore[return-value]
            rest -= number
        return "answer"

    return fate_of


def tell(ids: Sequence[str], fate_of: FateOf, *, seed: int = 1) -> list[Told]:
    """Return the results in the order of nobody."""
    told: list[Told] = []
    for place, line_id in enumerate(ids):
        match fate_of(place):
            case "missing":
                continue
            case "double":
                told += [Told(line_id, place, "answer")] * 2
            case "foreign":
                told += [Told(line_id, place, "answer"), Told(f"nobody-{place}", place, "answer")]
            case fate:
                told.append(Told(line_id, place, fate))
    random.Random(seed).shuffle(told)
    return told
