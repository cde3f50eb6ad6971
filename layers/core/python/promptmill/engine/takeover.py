"""Seal the journals of a unit's earlier epochs, read them, and fold what is known.

The order is the point: claim, seal, read. Once an epoch is sealed its journal is complete, and since its claim is gone
no intent of it can be written any more: what is read here stays true.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.charge import CostCorrection, model_of
from promptmill.domain.record import Attempt
from promptmill.domain.units import Claim, Intent, IntentGroup, call_id
from promptmill.engine import journal
from promptmill.engine.history import History, fold_history
from promptmill.engine.journal import SEAL, Page, Seal
from promptmill.engine.unit import Unit, UnitRuntime
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.units import UnitClaims, UnitIntents


async def recover_unit(unit: str, claim: Claim, *, journals: str, objects: ObjectStore, units: UnitIntents) -> History:
    """What earlier owners did. ``journals``: prefix of the unit's journal objects."""
    if claim.epoch == 1:
        return History()
    there = {info.key: info.size async for info in objects.under(journals)}
    earlier = range(1, claim.epoch)
    pages = await asyncio.gather(*(_sealed(journals, epoch, there, objects) for epoch in earlier))
    groups = await units.intents(unit)
    return fold_history(unit, groups, dict(zip(earlier, pages, strict=True)))


async def _sealed(journals: str, epoch: int, there: Mapping[str, int], objects: ObjectStore) -> list[Page]:
    """The epoch's pages. Where a late page takes the seal's place, it is read, and the next place is sealed."""
    pages: list[Page] = []
    while True:
        key = layout.journal_key(journals, epoch, len(pages))
        if there.get(key) == len(SEAL) or (key not in there and await objects.create(key, SEAL)):
            return pages  # no page is as short as a seal
        page = journal.decode(await objects.read(key))
        if isinstance(page, Seal):
            return pages
        pages.append(page)


async def correct_refused_costs(unit: Unit, claim: Claim, refused: Page, *, runtime: UnitRuntime) -> None:
    """Its journal was sealed before it could say so: of what stands in no page, the intents that are durable."""
    if refused == Page():
        return
    groups = await runtime.units.intents(unit.name)
    for narrowing in _narrowings(unit, refused, [group for group in groups if group.epoch == claim.epoch]):
        await runtime.ledger.narrow(narrowing)


def _narrowings(unit: Unit, refused: Page, groups: list[IntentGroup]) -> Iterator[CostCorrection]:
    attempts = {attempt.call_id: attempt for attempt in refused.attempts}
    for group in groups:
        for intent in group.intents:
            name = call_id(unit.name, group.epoch, intent.sequence)
            attempt = attempts.get(name)
            if intent.sequence in refused.voids:
                yield _narrowing(unit, group, intent, name, None)
            elif attempt is not None and attempt.price.nano_usd is not None:
                yield _narrowing(unit, group, intent, name, attempt)


def _narrowing(unit: Unit, group: IntentGroup, intent: Intent, name: str, attempt: Attempt | None) -> CostCorrection:
    return CostCorrection(
        call_id=name,
        unit=unit.name,
        route=intent.route,
        model=model_of(unit.recipe, intent.route),
        recipe=unit.recipe.name,
        job_id=unit.job_id,
        day=group.day,
        nano_usd=attempt.price.nano_usd or 0 if attempt else 0,
        high=intent.high,
        sent=attempt is not None,
        input_tokens=attempt.usage.input_total if attempt else 0,
        output_tokens=attempt.usage.output_total if attempt else 0,
    )


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
    look = inspect_claim(await units.read(unit), seen=seen, body_hash=body_hash)
    if isinstance(look, Claiming):
        return look
    return await take_unit(unit, look, owner=owner, units=units, rng=rng, body_hash=body_hash)


def inspect_claim(found: Claim | None, *, seen: tuple[int, int] | None, body_hash: str = "") -> Free | Claiming:
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
