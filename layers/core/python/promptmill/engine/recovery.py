"""Seal the journals of a unit's earlier epochs, read them, and fold what is known.

The order is the point: claim, seal, read. Once an epoch is sealed its journal is complete, and since its claim is gone
no intent of it can be written any more: what is read here stays true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from promptmill.domain import journal, layout
from promptmill.domain.charge import CostCorrection, model_of
from promptmill.domain.journal import SEAL, Page, Seal
from promptmill.domain.record import Attempt
from promptmill.domain.units import Claim, Intent, IntentGroup, call_id
from promptmill.engine.history import History, history_of
from promptmill.engine.unit import Unit, UnitRuntime
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.units import UnitIntents


async def recover_unit(unit: str, claim: Claim, *, journals: str, objects: ObjectStore, units: UnitIntents) -> History:
    """What earlier owners did. ``journals``: prefix of the unit's journal objects."""
    if claim.epoch == 1:
        return History()
    there = {info.key: info.size async for info in objects.under(journals)}
    earlier = range(1, claim.epoch)
    pages = await asyncio.gather(*(_sealed(journals, epoch, there, objects) for epoch in earlier))
    groups = await units.intents(unit)
    return history_of(unit, groups, dict(zip(earlier, pages, strict=True)))


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


async def narrow_refused(unit: Unit, claim: Claim, refused: Page, *, runtime: UnitRuntime) -> None:
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
