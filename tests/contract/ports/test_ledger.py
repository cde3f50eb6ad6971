from __future__ import annotations

from typing import Any

from msgspec import structs

from promptmill.domain.charge import Charge

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
)


async def total(ledger: Any, by: str, name: str, **days: str) -> int:
    return sum([spending.nano_usd async for spending in ledger.spending(by, name, **days)])


async def test_a_charge_is_written_once_and_counted_once(ledger: Any) -> None:
    assert await ledger.record(CHARGE)
    assert not await ledger.record(CHARGE)
    assert not await ledger.record(structs.replace(CHARGE, nano_usd=1)), "immutable"
    assert [charge async for charge in ledger.charges_of("job-1")] == [CHARGE]
    for by, name in (("day", "2026-11-22"), ("model", "openai/gpt-6-luna"), ("recipe", "reviews")):
        assert await total(ledger, by, name) == CHARGE.nano_usd


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
