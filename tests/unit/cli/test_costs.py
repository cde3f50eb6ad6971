"""``promptmill costs``: sums are exact, and say what they leave out."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from promptmill.cli.commands.costs import Row, costs_document, sum_rows
from promptmill.domain.charge import Charge, CostCorrection
from promptmill.domain.money import parse_usd
from tests.fakes.recipes import recipe
from tests.unit.cli.fake_target import FakeTarget, typed, typed_json

CHARGE = Charge(
    unit="j1.1.0",
    epoch=1,
    route="openai/m",
    model="openai/m",
    recipe="r",
    job_id="j1",
    day="2026-11-22",
    nano_usd=1_234_567_891,
    attempts=3,
    failed_attempts=1,
    unpriced=0,
    input_tokens=100,
    cache_read_tokens=0,
    cache_write_tokens=0,
    output_tokens=20,
)


def with_charges(*changes: dict[str, object]) -> FakeTarget:
    target = FakeTarget(recipe())
    for number, change in enumerate(changes):
        fields = {f: getattr(CHARGE, f) for f in CHARGE.__struct_fields__} | {"unit": f"j1.1.{number}"} | change
        fields |= {"high_nano_usd": change.get("high_nano_usd", fields["nano_usd"])}
        asyncio.run(target.mill.ledger.record(Charge(**fields)))
    return target


def test_a_job_by_route_to_the_nano_dollar() -> None:
    target = with_charges({}, {"nano_usd": 1}, {"route": "bedrock/x", "model": "bedrock/x", "nano_usd": 8})
    document, code = typed_json(target, "costs", "--job", "j1")
    assert code == 0
    assert document["nano_usd"] == 1_234_567_900
    assert document["cost_usd"] == "1.234567900"
    assert [(row["route"], row["nano_usd"]) for row in document["rows"]] == [
        ("openai/m", 1_234_567_892),
        ("bedrock/x", 8),
    ]


def test_the_ledger_says_what_the_attempts_file_says(tmp_path: Path) -> None:
    target = FakeTarget(recipe(prompt="{{ text }}"))
    file = tmp_path / "f.txt"
    file.write_text("a\nb\nc\n")
    job_id = typed_json(target, "submit", str(file), "--recipe", "r")[0]["job_id"]
    document, _ = typed_json(target, "costs", "--job", job_id)
    lines = target.mill.lines(target.mill.job(job_id), "attempts")
    assert document["nano_usd"] == sum(parse_usd(line["cost_usd"]) for line in lines) > 0
    assert document["attempts"] == len(lines)


def test_unknown_costs_are_said_aloud() -> None:
    result = typed(with_charges({"unpriced": 2, "unbounded": 2}), "costs", "--job", "j1")
    assert "job j1: $1.234567891\n" in result.stdout
    assert "The price of 2 attempts is unknown. They are not in the sum." in result.stdout


UNKNOWN: dict[str, object] = {"unpriced": 3, "unbounded": 1, "nano_usd": 1_000, "high_nano_usd": 7_000}
NARROWING = CostCorrection(
    call_id="j1.1.0.1.7",
    unit="j1.1.0",
    route="openai/m",
    model="openai/m",
    recipe="r",
    job_id="j1",
    day="2026-11-22",
    nano_usd=400,
    high=3_000,
    input_tokens=11,
    output_tokens=2,
)


def test_what_can_be_bounded_is_a_range() -> None:
    target = with_charges(UNKNOWN, {"nano_usd": 5, "route": "bedrock/x"})
    document, _ = typed_json(target, "costs", "--job", "j1")
    assert (document["cost_usd"], document["high_cost_usd"]) == ("0.000001005", "0.000007005")
    assert (document["nano_usd"], document["high_nano_usd"]) == (1_005, 7_005)
    assert (document["unpriced_attempts"], document["unbounded_attempts"]) == (3, 1)
    assert [row["high_cost_usd"] for row in document["rows"]] == ["0.000007000", "0.000000005"]
    shown = typed(target, "costs", "--job", "j1").stdout
    assert "job j1: $0.000001005 to $0.000007005" in shown
    assert "at most" in shown
    assert "The cost of 2 attempts is unknown. The higher amount counts the most that each can have cost." in shown
    assert "The price of 1 attempts is unknown. They are not in the sum." in shown


def test_what_is_known_is_no_range() -> None:
    shown = typed(with_charges({}), "costs", "--job", "j1").stdout
    assert " to $" not in shown
    assert "at most" not in shown
    assert "unknown cost" not in shown


def test_narrowings_narrow() -> None:
    target = with_charges(UNKNOWN)
    asyncio.run(target.mill.ledger.narrow(NARROWING))
    for question in (("--job", "j1"), ("--day", "2026-11-22")):
        document, _ = typed_json(target, "costs", *question)
        assert (document["nano_usd"], document["high_nano_usd"]) == (1_400, 4_400)
        assert (document["unpriced_attempts"], document["input_tokens"]) == (2, 111)


def test_a_narrowing_waits_for_its_charge() -> None:
    """A job's sums are never less than nothing."""
    target = with_charges({})
    for late in (structs.replace(NARROWING, call_id="j1.1.0.2.7"), structs.replace(NARROWING, unit="j1.1.9")):
        asyncio.run(target.mill.ledger.narrow(late))
    document, _ = typed_json(target, "costs", "--job", "j1")
    assert document["nano_usd"] == document["high_nano_usd"] == CHARGE.nano_usd


def test_a_job_that_never_was() -> None:
    document, code = typed_json(FakeTarget(recipe()), "costs", "--job", "nope")
    assert code == 1
    assert document["error"]["code"] == "unknown_job"


def test_a_day_by_model_and_a_model_by_day() -> None:
    target = with_charges({}, {"model": "bedrock/x", "route": "bedrock/x"}, {"day": "2026-11-23"})
    by_day, _ = typed_json(target, "costs", "--day", "2026-11-22")
    assert {row["model"] for row in by_day["rows"]} == {"openai/m", "bedrock/x"}
    by_model, _ = typed_json(target, "costs", "--model", "openai/m")
    assert [row["day"] for row in by_model["rows"]] == ["2026-11-22", "2026-11-23"]
    since, _ = typed_json(target, "costs", "--recipe", "r", "--since", "2026-11-23")
    assert [row["day"] for row in since["rows"]] == ["2026-11-23"]


def test_today_is_the_utc_day() -> None:
    assert typed_json(with_charges({}), "costs", "--day", "today")[0]["nano_usd"] == CHARGE.nano_usd
    assert typed_json(with_charges({}), "costs", "--day", "yesterday")[0]["nano_usd"] == 0


def test_a_wrong_question_is_wrong_usage() -> None:
    target = with_charges({})
    assert typed(target, "costs").exit_code == 2
    assert typed(target, "costs", "--job", "j1", "--day", "today").exit_code == 2
    assert typed(target, "costs", "--day", "22.11.2026").exit_code == 2
    assert typed(target, "costs", "--day", "today", "--since", "2026-11-01").exit_code == 2


rows = st.builds(
    Row,
    day=st.sampled_from(["2026-11-21", "2026-11-22"]),
    model=st.sampled_from(["a/m", "b/n"]),
    route=st.sampled_from(["a/m", "b/n"]),
    recipe=st.sampled_from(["r", "s"]),
    nano_usd=st.integers(0, 10**15),
    attempts=st.integers(0, 10**6),
)


@given(st.lists(rows))
def test_nothing_is_lost_or_counted_twice(found: list[Row]) -> None:
    by_model = sum_rows(found, ("model", "recipe", "route"))
    document = costs_document("day", "2026-11-22", by_model)
    assert document["nano_usd"] == sum(row.nano_usd for row in found)
    assert document["attempts"] == sum(row.attempts for row in found)
    assert sum(row["nano_usd"] for row in document["rows"]) == document["nano_usd"]
    assert parse_usd(document["cost_usd"]) == document["nano_usd"]
    assert len({(row.model, row.recipe, row.route) for row in by_model}) == len(by_model)
