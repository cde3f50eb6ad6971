"""The cost of a unit's calls is a range by epoch and route, which only narrows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.charge import CostCorrection, make_charges, model_of, spending_of_charge, spending_of_correction
from promptmill.domain.record import LOST
from promptmill.domain.units import Intent, IntentGroup
from promptmill.engine.history import fold_history, sum_costs
from promptmill.engine.journal import Page
from tests.fakes.recipes import ROUTE, SPARE, recipe
from tests.unit.engine.parts import DAY, UNIT, attempt

HIGH = 1000


def test_each_epoch_and_route_has_its_own_range_on_the_day_of_its_claim() -> None:
    groups = [
        IntentGroup(2, "2026-11-23", (Intent(0, 0, ROUTE.id, HIGH),)),
        IntentGroup(1, DAY, (Intent(0, 0, ROUTE.id, HIGH), Intent(1, 1, SPARE.id, HIGH), Intent(2, 2, ROUTE.id, None))),
    ]
    pages = {1: [Page((attempt(0, nano=7),))], 2: [Page((attempt(0, epoch=2, nano=9),))]}
    costs = sum_costs(fold_history(UNIT, groups, pages))
    found = {
        (c.epoch, c.route): (c.day, c.nano_usd, c.high_nano_usd, c.attempts, c.unpriced, c.unbounded) for c in costs
    }
    assert found == {
        (1, SPARE.id): (DAY, 0, HIGH, 1, 1, 0),
        (1, ROUTE.id): (DAY, 7, 7, 2, 1, 1),
        (2, ROUTE.id): ("2026-11-23", 9, 9, 1, 0, 0),
    }
    assert [(c.epoch, c.route) for c in costs] == sorted(found)


def test_what_was_never_sent_is_on_no_bill() -> None:
    group = IntentGroup(1, DAY, (Intent(0, 0, ROUTE.id, HIGH), Intent(1, 1, ROUTE.id, HIGH)))
    assert sum_costs(fold_history(UNIT, [group], {1: [Page(voids=(0, 1))]})) == ()


FATES = st.lists(
    st.tuples(st.sampled_from(["ok", "unknown", "void", LOST]), st.integers(0, HIGH), st.booleans()), max_size=12
)


@given(fates=FATES)
def test_the_truth_lies_in_the_range_and_narrowings_close_it(fates: list[tuple[str, int, bool]]) -> None:
    """Each call: what came of it, what it really cost, and whether it was really sent if it is lost."""
    intents = tuple(Intent(n, n, ROUTE.id, HIGH) for n in range(len(fates)))
    groups = [IntentGroup(1, DAY, intents)] if intents else []
    attempts = [
        attempt(n, nano=actual if fate == "ok" else None)
        for n, (fate, actual, _) in enumerate(fates)
        if fate in ("ok", "unknown")
    ]
    page = Page(tuple(attempts), tuple(n for n, (fate, *_) in enumerate(fates) if fate == "void"))
    costs = sum_costs(fold_history(UNIT, groups, {1: [page]}))
    charges = list(make_charges(costs, unit=UNIT, recipe=recipe(), job_id="job"))
    truth = sum(actual for fate, actual, sent in fates if fate in ("ok", "unknown") or (fate == LOST and sent))
    assert sum(c.nano_usd for c in charges) <= truth <= sum(c.high_nano_usd for c in charges)

    narrowings = [
        CostCorrection(
            call_id=f"{UNIT}.1.{n}",
            unit=UNIT,
            route=ROUTE.id,
            model=model_of(recipe(), ROUTE.id),
            recipe="r",
            job_id="job",
            day=DAY,
            nano_usd=actual if sent or fate == "unknown" else 0,
            high=HIGH,
            sent=sent or fate == "unknown",
        )
        for n, (fate, actual, sent) in enumerate(fates)
        if fate in ("unknown", LOST)
    ]
    low = high = unpriced = calls = 0
    for entry in [*map(spending_of_charge, charges), *map(spending_of_correction, narrowings)]:
        low, high = low + entry.nano_usd, high + entry.high_nano_usd
        unpriced, calls = unpriced + entry.unpriced, calls + entry.attempts
    assert (low, high, unpriced) == (truth, truth, 0)
    assert calls == sum(fate in ("ok", "unknown") or (fate == LOST and sent) for fate, _, sent in fates)


def test_a_charge_names_the_model_that_was_called_whatever_the_recipe_says_by_now() -> None:
    """Another model under the same route, or no such route any more; a group of earlier code goes by the recipe."""
    groups = [
        IntentGroup(1, DAY, (Intent(0, 0, ROUTE.id, HIGH),), {ROUTE.id: "openai/model-before"}),
        IntentGroup(2, DAY, (Intent(0, 0, "azure/gone", HIGH),), {"azure/gone": "azure/model-gone"}),
        IntentGroup(3, DAY, (Intent(0, 0, ROUTE.id, HIGH),)),
    ]
    history = fold_history(UNIT, groups, {})
    charges = make_charges(sum_costs(history), unit=UNIT, recipe=recipe(), job_id="", models=history.models())
    named = f"{ROUTE.provider}/{ROUTE.model}"
    assert [charge.model for charge in charges] == ["openai/model-before", "azure/model-gone", named]
