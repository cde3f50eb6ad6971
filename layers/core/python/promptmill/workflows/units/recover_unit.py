"""Seal the journals of a unit's earlier epochs, read them, and fold what is known.

The order is the point: claim, seal, read. Once an epoch is sealed its journal is complete, and since its claim is gone
no intent of it can be written any more: what is read here stays true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from promptmill.domain import journal, layout
from promptmill.domain.history import History, history_of
from promptmill.domain.journal import SEAL, Page, Seal
from promptmill.domain.units import Claim
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
