"""Take a unit over: claim it, seal the journals of its earlier epochs, read them, and fold what is known.

The order is the point: claim, seal, read. Once an epoch is sealed its journal is complete, and since its claim is gone
no intent of it can be written any more: what is read here stays true. ``correct_refused_costs`` is the other side: what
a worker does that was taken over, and knows more about its calls than its sealed journal says.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping

from msgspec import Struct, structs

from promptmill.domain import layout
from promptmill.domain.charge import CostCorrection, make_charges, model_of
from promptmill.domain.record import Attempt
from promptmill.domain.units import Claim, Intent, IntentGroup, call_id
from promptmill.engine import journal
from promptmill.engine.history import History, fold_history, sum_costs
from promptmill.engine.journal import SEAL, Page, Seal
from promptmill.engine.unit import ChargedUnit, UnitRuntime
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.submissions import Holder
from promptmill.ports.units import UnitClaims, UnitIntents


async def recover_unit(unit: str, claim: Claim, *, journals: str, objects: ObjectStore, units: UnitIntents) -> History:
    """Return what earlier owners did.

    Args:
        unit: its name.
        claim: ours; its epoch already fences off all earlier ones.
        journals: the prefix of the unit's journal objects.
        objects: the store that holds them.
        units: the store that holds the intents.
    """
    if claim.epoch == 1:  # nobody owned it before: saves a listing and a query for most units
        return History()
    there = {info.key: info.size async for info in objects.under(journals)}
    earlier = range(1, claim.epoch)
    pages = await asyncio.gather(*(_seal_and_read(journals, epoch, there, objects) for epoch in earlier))
    # Only now: an intent read before its epoch was fenced and sealed could be followed by others.
    groups = await units.intents(unit)
    return fold_history(unit, groups, dict(zip(earlier, pages, strict=True)))


async def _seal_and_read(journals: str, epoch: int, there: Mapping[str, int], objects: ObjectStore) -> list[Page]:
    """Return the epoch's pages, after its journal was ended by a seal."""
    pages: list[Page] = []
    while True:
        key = layout.journal_key(journals, epoch, len(pages))
        # No page is as short as a seal, so a listed size is enough to know one without reading it.
        if there.get(key) == len(SEAL) or (key not in there and await objects.create(key, SEAL)):
            return pages
        # A page is here, perhaps a late one that was faster than our seal: it counts, and the next place is sealed.
        page = journal.decode(await objects.read(key))
        if isinstance(page, Seal):
            return pages
        pages.append(page)


async def correct_refused_costs(unit: ChargedUnit, claim: Claim, refused: Page, *, runtime: UnitRuntime) -> None:
    """Write a cost correction for each call that the sealed journal could not take any more.

    Only calls whose intents are durable and that no page tells are corrected. A page whose answer was lost may be there all
    the same, or may still be on its way, so the journal is sealed and asked, and not the worker's memory: what no page
    tells by then is unknown in the charge for good. So that charge can be written now, and it is, before it is corrected.
    """
    if refused == Page():
        return
    pages = await _seal_and_read(unit.journals, claim.epoch, {}, runtime.objects)
    refused = _leave_out_told(refused, pages)
    groups = [group for group in await runtime.units.intents(unit.name) if group.epoch == claim.epoch]
    await record_charges(unit, fold_history(unit.name, groups, {claim.epoch: pages}), runtime=runtime)
    for correction in _find_corrections(unit, refused, groups):
        await runtime.ledger.narrow(correction)


async def record_charges(unit: ChargedUnit, history: History, *, runtime: UnitRuntime) -> None:
    """Write the charges of epochs that are sealed. Whoever writes them again writes the same."""
    costs, models = sum_costs(history), history.models()
    for charge in make_charges(costs, unit=unit.name, recipe=unit.recipe, job_id=unit.job_id, models=models):
        await runtime.ledger.record(charge)


def _leave_out_told(refused: Page, pages: list[Page]) -> Page:
    """Return the refused calls of which no page tells."""
    calls = {attempt.call_id for page in pages for attempt in page.attempts}
    voids = {sequence for page in pages for sequence in page.voids}
    attempts = tuple(attempt for attempt in refused.attempts if attempt.call_id not in calls)
    return Page(attempts, tuple(sequence for sequence in refused.voids if sequence not in voids))


def _find_corrections(unit: ChargedUnit, refused: Page, groups: list[IntentGroup]) -> Iterator[CostCorrection]:
    attempts = {attempt.call_id: attempt for attempt in refused.attempts}
    for group in groups:
        for intent in group.intents:
            name = call_id(unit.name, group.epoch, intent.sequence)
            attempt = attempts.get(name)
            if intent.sequence in refused.voids:
                yield _correct_cost(unit, group, intent, name, None)
            elif attempt is not None and attempt.price.nano_usd is not None:
                # A call whose cost is unknown to us as well narrows nothing.
                yield _correct_cost(unit, group, intent, name, attempt)


def _correct_cost(
    unit: ChargedUnit, group: IntentGroup, intent: Intent, name: str, attempt: Attempt | None
) -> CostCorrection:
    return CostCorrection(
        call_id=name,
        unit=unit.name,
        route=intent.route,
        model=group.models.get(intent.route) or model_of(unit.recipe, intent.route),
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
    """The result of trying to claim a unit.

    Attributes:
        mine: our claim, None where another owner may be alive.
        seen: the other owner's (epoch, beat): if they still stand after a lease, it counts as dead.
        body_hash: the hash of the request body that the unit was first claimed with.
    """

    mine: Claim | None
    seen: tuple[int, int] | None = None
    body_hash: str = ""


class Free(Struct, frozen=True):
    """A unit that may be claimed. ``found`` is its claim as it stands, None if nobody has claimed it yet."""

    found: Claim | None


def inspect_claim(found: Claim | None, *, seen: tuple[int, int] | None, body_hash: str = "") -> Free | Claiming:
    """Decide whether a unit may be claimed.

    An owner counts as dead if its (epoch, beat) stand where they stood when the message was sent again. Without that
    look a takeover would rob a live owner, and count as its crash. A unit that was first claimed with another
    ``body_hash`` is left alone.
    """
    if found is None or (found.body_hash == body_hash and _is_free(found, seen)):
        return Free(found)
    return _leave_to(found)


def must_run_alone(free: Free) -> bool:
    """Return True if whoever takes the unit now may be brought down by it, and every other unit of the process with it."""
    if free.found is None:
        return False
    crashes = free.found.crashes + (not free.found.released)
    return structs.replace(free.found, crashes=crashes).suspected


async def take_unit(
    unit: str,
    free: Free,
    *,
    owner: str,
    units: UnitClaims,
    rng: random.Random,
    body_hash: str = "",
    holder: Holder | None = None,
) -> Claiming:
    """Claim a free unit, unless somebody else was faster. ``holder``: see ``UnitClaims.claim``."""
    # The name is drawn anew for each claim: if the answer of the write is lost, the reread tells ours from another's.
    name = f"{owner}.{rng.getrandbits(64):016x}"
    try:
        mine = await units.claim(unit, seen=free.found, owner=name, body_hash=body_hash, holder=holder)
    except Exception:
        # Perhaps only the answer was lost: a claim that nobody knows to be his would count as a crash a lease later.
        mine = await units.read(unit)
        if mine is None or mine.owner != name:
            raise
    if mine is None:
        found = await units.read(unit)
        if found is None:
            return Claiming(None, body_hash=body_hash)
        if found.owner != name:
            return _leave_to(found)
        mine = found
    return Claiming(mine, body_hash=mine.body_hash)


def _leave_to(owner: Claim) -> Claiming:
    return Claiming(None, (owner.epoch, owner.beat), owner.body_hash)


def _is_free(found: Claim, seen: tuple[int, int] | None) -> bool:
    if found.held:  # a submission shows no life for hours, and lets its chunks go itself
        return False
    return found.released or seen == (found.epoch, found.beat)
