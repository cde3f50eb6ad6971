"""Claim a unit, or leave it to whoever has it."""

from __future__ import annotations

import random

from msgspec import Struct

from promptmill.domain.units import Claim
from promptmill.ports.units import UnitClaims


class Claiming(Struct, frozen=True):
    """``mine`` is None where the owner may be alive; ``seen``: its (epoch, beat), to look at again after a lease."""

    mine: Claim | None
    seen: tuple[int, int] | None = None
    body_hash: str = ""


class Free(Struct, frozen=True):
    """``found``: the claim as it stands, which may be taken over; None if nobody has claimed the unit yet."""

    found: Claim | None


async def claim_unit(
    unit: str, *, seen: tuple[int, int] | None, owner: str, units: UnitClaims, rng: random.Random, body_hash: str = ""
) -> Claiming:
    """Look, and take what is free."""
    look = as_found(await units.read(unit), seen=seen, body_hash=body_hash)
    if isinstance(look, Claiming):
        return look
    return await take_unit(unit, look, owner=owner, units=units, rng=rng, body_hash=body_hash)


def as_found(found: Claim | None, *, seen: tuple[int, int] | None, body_hash: str = "") -> Free | Claiming:
    """An owner is taken for dead if its (epoch, beat) stand where they stood when the message was sent again.

    A unit that was first claimed with another ``body_hash`` is left alone.
    """
    if found is None or (found.body_hash == body_hash and _is_free(found, seen)):
        return Free(found)
    return _left_to(found)


async def take_unit(
    unit: str, free: Free, *, owner: str, units: UnitClaims, rng: random.Random, body_hash: str = ""
) -> Claiming:
    """Ours, unless somebody was faster."""
    name = f"{owner}.{rng.getrandbits(64):016x}"
    mine = await units.claim(unit, seen=free.found, owner=name, body_hash=body_hash)
    if mine is None:
        found = await units.read(unit)
        if found is None:
            return Claiming(None, body_hash=body_hash)
        if found.owner != name:
            return _left_to(found)
        mine = found
    return Claiming(mine, body_hash=mine.body_hash)


def _left_to(owner: Claim) -> Claiming:
    return Claiming(None, (owner.epoch, owner.beat), owner.body_hash)


def _is_free(found: Claim, seen: tuple[int, int] | None) -> bool:
    return found.released or seen == (found.epoch, found.beat)
