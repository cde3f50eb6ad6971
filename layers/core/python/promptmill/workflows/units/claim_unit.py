"""Claim a unit, or leave it to whoever has it."""

from __future__ import annotations

import random

from msgspec import Struct

from promptmill.domain.units import Claim
from promptmill.ports.units import UnitClaims


class Claiming(Struct, frozen=True):
    """``mine`` is None where the owner may be alive; ``seen``: its (epoch, beat), to look at again after a lease.

    ``left_over``: another message of the unit is on its way, and this one is not needed.
    """

    mine: Claim | None
    seen: tuple[int, int] | None = None
    body_hash: str = ""
    left_over: bool = False


async def claim_unit(
    unit: str,
    *,
    seen: tuple[int, int] | None,
    owner: str,
    units: UnitClaims,
    rng: random.Random,
    body_hash: str = "",
    after: int | None = None,
) -> Claiming:
    """An owner is taken for dead if its (epoch, beat) stand where they stood when the message was sent again.

    A unit that was first claimed with another ``body_hash`` is left alone. ``after``: see ``ChunkMessage``.
    """
    found = await units.read(unit)
    if found is not None and found.released and after is not None and after < found.epoch and not found.verdict:
        return Claiming(None, left_over=True)
    if found is None or (found.body_hash == body_hash and _is_free(found, seen)):
        name = f"{owner}.{rng.getrandbits(64):016x}"
        mine = await units.claim(unit, seen=found, owner=name, body_hash=body_hash)
        if mine is not None:
            return Claiming(mine, body_hash=mine.body_hash)
        found = await units.read(unit)
        if found is not None and found.owner == name:
            return Claiming(found, body_hash=found.body_hash)
    if found is None:
        return Claiming(None, body_hash=body_hash)
    return Claiming(None, (found.epoch, found.beat), found.body_hash)


def _is_free(found: Claim, seen: tuple[int, int] | None) -> bool:
    return found.released or seen == (found.epoch, found.beat)
