"""Tell the ledger what a superseded worker's calls really cost."""

from __future__ import annotations

from collections.abc import Iterator

from promptmill.domain.charge import Narrowing, model_of
from promptmill.domain.journal import Page
from promptmill.domain.record import Attempt
from promptmill.domain.units import Claim, Intent, IntentGroup, call_id
from promptmill.workflows.units.unit import Engine, Unit


async def narrow_refused(unit: Unit, claim: Claim, refused: Page, *, engine: Engine) -> None:
    """Its journal was sealed before it could say so: of what stands in no page, the intents that are durable."""
    if refused == Page():
        return
    groups = await engine.units.intents(unit.name)
    for narrowing in _narrowings(unit, refused, [group for group in groups if group.epoch == claim.epoch]):
        await engine.ledger.narrow(narrowing)


def _narrowings(unit: Unit, refused: Page, groups: list[IntentGroup]) -> Iterator[Narrowing]:
    attempts = {attempt.call_id: attempt for attempt in refused.attempts}
    for group in groups:
        for intent in group.intents:
            name = call_id(unit.name, group.epoch, intent.sequence)
            attempt = attempts.get(name)
            if intent.sequence in refused.voids:
                yield _narrowing(unit, group, intent, name, None)
            elif attempt is not None and attempt.price.nano_usd is not None:
                yield _narrowing(unit, group, intent, name, attempt)


def _narrowing(unit: Unit, group: IntentGroup, intent: Intent, name: str, attempt: Attempt | None) -> Narrowing:
    return Narrowing(
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
