"""Every call of a world, put together from intents, journals and the provider's bill: the judges' own account.

Nothing here rests on ``engine/history.py``: it is what that is judged by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from promptmill.domain.record import Attempt
from promptmill.domain.units import Intent
from tests.simulation.provider import Billed

if TYPE_CHECKING:
    from tests.simulation.world import World


class Made(Struct, frozen=True):
    """One intent and all that is known of it.

    Attributes:
        attempt: as journaled; None where no journal tells.
        unsent: the journal says that it was never sent.
        billed: what arrived at the provider; None if nothing did.
    """

    call_id: str
    unit: str
    epoch: int
    day: str
    intent: Intent
    attempt: Attempt | None
    unsent: bool
    billed: Billed | None

    @property
    def known(self) -> int | None:
        """Return what the journal says that it cost; None if it does not say."""
        if self.unsent:
            return 0
        return None if self.attempt is None else self.attempt.price.nano_usd

    @property
    def used(self) -> int:
        """Return what it counts for against a budget: its most, until a journal says otherwise."""
        return (self.intent.high or 0) if self.known is None else self.known


def calls_of(world: World) -> Iterator[Made]:
    """Yield every call that had an intent."""
    billed = {call.call_id: call for call in world.provider.bill}
    for unit, groups in world.units.groups.items():
        pages = [page for found in world.objects.pages(world.watch.journals_of(unit)).values() for page in found]
        attempts = {attempt.call_id: attempt for page in pages for attempt in page.attempts}
        unsent = {
            (epoch, sequence)
            for epoch, found in world.objects.pages(world.watch.journals_of(unit)).items()
            for page in found
            for sequence in page.voids
        }
        for group in groups.values():
            for intent in group.intents:
                name = f"{unit}.{group.epoch}.{intent.sequence}"
                is_unsent = (group.epoch, intent.sequence) in unsent
                found = attempts.get(name)
                yield Made(name, unit, group.epoch, group.day, intent, found, is_unsent, billed.get(name))


def run_of(unit: str) -> tuple[str, int, int]:
    """Return the job, the run and the chunk of a unit that is no request."""
    job_id, run, chunk = unit.rsplit(".", 2)
    return job_id, int(run), int(chunk)
