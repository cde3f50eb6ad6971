from __future__ import annotations

from typing import Any

from msgspec import structs

from promptmill.domain.charge import Charge, CostCorrection, Spending

CHARGE = Charge(
    unit="job-1.1.0",
    epoch=1,
    route="openai/gpt-6-luna",
    model="openai/gpt-6-luna",
    recipe="reviews",
    job_id="job-1",
    day="2026-11-22",
    nano_usd=1_234_567_890_123_456_789,
    attempts=5,
    failed_attempts=1,
    unpriced=1,
    input_tokens=100,
    cache_read_tokens=10,
    cache_write_tokens=5,
    output_tokens=50,
    bases=("bundled", "not-charged"),
    high_nano_usd=1_234_567_890_123_461_789,
    unbounded=0,
)
NARROWING = CostCorrection(
    call_id="job-1.1.0.1.17",
    unit=CHARGE.unit,
    route=CHARGE.route,
    model=CHARGE.model,
    recipe="reviews",
    job_id="job-1",
    day="2026-11-22",
    nano_usd=1_200,
    high=5_000,
    input_tokens=40,
    output_tokens=6,
)
EVERYWHERE = (("day", "2026-11-22"), ("model", CHARGE.model), ("recipe", "reviews"))


async def total(ledger: Any, by: str, name: str, **days: str) -> int:
    return sum([spending.nano_usd async for spending in ledger.spending(by, name, **days)])


async def summed(ledger: Any, by: str, name: str) -> Spending:
    """Over all of what was found."""
    found = [spending async for spending in ledger.spending(by, name)]
    assert {(s.day, s.model, s.recipe, s.route) for s in found} == {
        (CHARGE.day, CHARGE.model, CHARGE.recipe, CHARGE.route)
    }
    numbers = [field for field in Spending.__struct_fields__ if isinstance(getattr(found[0], field), int)]
    return Spending(**{field: sum(getattr(spending, field) for spending in found) for field in numbers})


async def test_a_charge_is_written_once_and_counted_once(ledger: Any) -> None:
    assert await ledger.record(CHARGE)
    assert not await ledger.record(CHARGE)
    assert not await ledger.record(structs.replace(CHARGE, nano_usd=1)), "immutable"
    assert [charge async for charge in ledger.charges_of("job-1")] == [CHARGE]
    for by, name in EVERYWHERE:
        assert await summed(ledger, by, name) == Spending(
            nano_usd=CHARGE.nano_usd,
            high_nano_usd=CHARGE.high_nano_usd,
            attempts=5,
            failed_attempts=1,
            unpriced=1,
            unbounded=0,
            input_tokens=100,
            output_tokens=50,
        )


async def test_days_bound_a_question(ledger: Any) -> None:
    for day, nano in (("2026-11-20", 1), ("2026-11-21", 10), ("2026-11-22", 100)):
        await ledger.record(structs.replace(CHARGE, unit=f"job-1.1.{nano}", day=day, nano_usd=nano))
    assert await total(ledger, "model", CHARGE.model, since="2026-11-21") == 110
    assert await total(ledger, "recipe", "reviews", since="2026-11-20", until="2026-11-21") == 11
    assert await total(ledger, "day", "2026-11-21") == 10


async def test_requests_are_charged_by_recipe_and_day(ledger: Any) -> None:
    await ledger.record(structs.replace(CHARGE, unit="request.reviews.abcdef", job_id="", nano_usd=7))
    assert await total(ledger, "recipe", "reviews") == 7


async def test_charges_add_up(ledger: Any) -> None:
    charges = [structs.replace(CHARGE, unit=f"job-1.1.{n}", nano_usd=1_000_000_001 * n) for n in range(1, 21)]
    assert all([await ledger.record(charge) for charge in charges])
    assert await total(ledger, "day", "2026-11-22") == 1_000_000_001 * sum(range(1, 21))
    assert len([charge async for charge in ledger.charges_of("job-1")]) == 20


async def test_a_narrowing_is_written_once_and_counted_once(ledger: Any) -> None:
    await ledger.record(CHARGE)
    assert await ledger.narrow(NARROWING)
    assert not await ledger.narrow(NARROWING)
    assert not await ledger.narrow(structs.replace(NARROWING, nano_usd=0)), "what was said first stays"
    assert [narrowing async for narrowing in ledger.narrowings_of("job-1")] == [NARROWING]
    assert [charge async for charge in ledger.charges_of("job-1")] == [CHARGE], "charges are immutable"
    for by, name in EVERYWHERE:
        assert await summed(ledger, by, name) == Spending(
            nano_usd=CHARGE.nano_usd + 1_200,
            high_nano_usd=CHARGE.high_nano_usd + 1_200 - 5_000,
            attempts=5,
            failed_attempts=1,
            unpriced=0,
            unbounded=0,
            input_tokens=140,
            output_tokens=56,
        )


async def test_a_call_that_was_never_sent_is_no_attempt(ledger: Any) -> None:
    """Its charge took it for one that failed."""
    unsent = structs.replace(NARROWING, nano_usd=0, sent=False, input_tokens=0, output_tokens=0)
    await ledger.record(CHARGE)
    await ledger.narrow(unsent)
    assert [narrowing async for narrowing in ledger.narrowings_of("job-1")] == [unsent]
    found = await summed(ledger, "day", "2026-11-22")
    assert (found.attempts, found.failed_attempts, found.unpriced) == (4, 0, 0)
    assert (found.nano_usd, found.high_nano_usd) == (CHARGE.nano_usd, CHARGE.high_nano_usd - 5_000)


async def test_a_narrowing_of_what_had_no_price(ledger: Any) -> None:
    unpriced = structs.replace(NARROWING, high=None)
    await ledger.record(structs.replace(CHARGE, unbounded=1, high_nano_usd=CHARGE.nano_usd))
    await ledger.narrow(unpriced)
    assert [narrowing async for narrowing in ledger.narrowings_of("job-1")] == [unpriced]
    found = await summed(ledger, "day", "2026-11-22")
    assert found.unbounded == 0
    assert found.nano_usd == found.high_nano_usd == CHARGE.nano_usd + 1_200


async def test_a_narrowing_may_come_before_its_charge(ledger: Any) -> None:
    await ledger.narrow(NARROWING)
    assert [charge async for charge in ledger.charges_of("job-1")] == []
    await ledger.record(CHARGE)
    found = await summed(ledger, "recipe", "reviews")
    assert (found.nano_usd, found.unpriced, found.attempts) == (CHARGE.nano_usd + 1_200, 0, 5)


async def test_each_call_of_a_charge_is_narrowed(ledger: Any) -> None:
    await ledger.record(structs.replace(CHARGE, unpriced=3))
    for sequence in range(3):
        assert await ledger.narrow(structs.replace(NARROWING, call_id=f"job-1.1.0.1.{sequence}"))
    assert (await summed(ledger, "day", "2026-11-22")).unpriced == 0
    assert len([narrowing async for narrowing in ledger.narrowings_of("job-1")]) == 3
    assert [narrowing async for narrowing in ledger.narrowings_of("job-2")] == []


async def test_requests_are_narrowed(ledger: Any) -> None:
    unit = "request.reviews.abcdef"
    await ledger.record(structs.replace(CHARGE, unit=unit, job_id=""))
    narrowing = structs.replace(NARROWING, unit=unit, job_id="", call_id=f"{unit}.1.0")
    assert await ledger.narrow(narrowing)
    assert not await ledger.narrow(narrowing)
    assert (await summed(ledger, "day", "2026-11-22")).nano_usd == CHARGE.nano_usd + 1_200
