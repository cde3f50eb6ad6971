"""``promptmill providers`` and ``promptmill models``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.cli.commands.models import AttemptLine, RouteFiguresBuilder, percentile
from promptmill.domain.provider_table import ABILITIES, PROVIDERS
from tests.contract.providers.scenes import SCENES
from tests.contract.providers.test_abilities import CHECKS
from tests.fakes.recipes import recipe
from tests.unit.cli.fake_target import FakeTarget, typed, typed_json


def test_every_cell_is_one_that_a_test_shows() -> None:
    document, code = typed_json(None, "providers")
    shown = {one["name"]: one["abilities"] for one in document["providers"]}
    assert code == 0
    assert shown.keys() == PROVIDERS.keys() == SCENES.keys()
    assert all(tuple(cells) == ABILITIES == tuple(CHECKS) for cells in shown.values())
    assert {cell for cells in shown.values() for cell in cells.values()} == {"yes", "not offered", "estimated"}
    for name, cells in shown.items():
        assert {ability for ability, cell in cells.items() if cell == "not offered"} == PROVIDERS[name].lacks
        assert (cells["usage"] == "estimated") == (PROVIDERS[name].usage == "estimated")


def test_people_get_a_table() -> None:
    lines = typed(None, "providers").stdout.splitlines()
    assert lines[0].split()[:2] == ["provider", "chat"]
    (gooseai,) = [line.split() for line in lines if line.startswith("gooseai ")]
    assert gooseai[1:5] == ["yes", "-", "yes", "yes"]
    assert "not offered" in lines[-1]


def attempt(**changes: Any) -> AttemptLine:
    line = AttemptLine("openai/m", "2026-11-22T12:00:00.000Z", 1_000, "ok", 90, 6_600, None)
    return msgspec.structs.replace(line, **changes)


def test_figures_of_a_route() -> None:
    route = RouteFiguresBuilder("openai/m")
    for latency in range(100, 2_001, 100):
        route.add(attempt(latency_ms=latency))
    route.add(attempt(code="timeout", latency_ms=60_000, nano_usd=0, output_tokens=0))
    found = route.figures()
    assert (found.attempts, found.answers, found.p50_ms, found.p95_ms) == (21, 20, 1_000, 1_900)
    assert found.error_rate == pytest.approx(1 / 21)
    assert found.nano_usd_per_1000 == 6_600_000
    assert found.first_token_p50_ms is None


def test_tokens_a_second_count_from_the_first_token_on() -> None:
    route = RouteFiguresBuilder("r")
    route.add(attempt(latency_ms=1_000, first_token_ms=400, output_tokens=90))
    found = route.figures()
    assert (found.tokens_per_s, found.first_token_p50_ms) == (150.0, 400)


def test_an_unknown_cost_leaves_the_price_of_answers_unknown() -> None:
    route = RouteFiguresBuilder("r")
    route.add(attempt())
    route.add(attempt(nano_usd=None, code="connection_lost"))
    found = route.figures()
    assert (found.nano_usd_per_1000, found.unpriced, found.nano_usd) == (None, 1, 6_600)


@given(st.lists(st.integers(0, 10_000), min_size=1), st.integers(1, 100))
def test_a_percentile_is_a_value_with_that_share_at_or_below_it(values: list[int], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)


def test_nothing_has_no_percentile() -> None:
    assert percentile([], 50) is None


def test_models_of_the_jobs_that_have_ended(tmp_path: Path) -> None:
    target = FakeTarget(recipe(prompt="{{ text }}"))
    file = tmp_path / "f.txt"
    file.write_text("a\nb\nc\n")
    job_id = typed_json(target, "submit", str(file), "--recipe", "r")[0]["job_id"]
    document, code = typed_json(target, "models")
    (row,) = document["models"]
    spent = sum(line["nano_usd"] for line in target.mill.lines(target.mill.job(job_id), "attempts"))
    assert (code, row["answers"], row["error_rate"], row["unpriced_attempts"]) == (0, 3, 0.0, 0)
    assert row["usd_per_1000_answers"] == f"0.{spent * 1000 // 3:09d}"
    assert (row["input_usd_per_mtok"], row["context_window"]) == ("0.01", 128_000)
    assert row["route"] in typed(target, "models", "--since", "24h").stdout


def test_what_is_older_does_not_count() -> None:
    target = FakeTarget(recipe())
    assert "made a call in the last 1h" in typed(target, "models", "--since", "1h").stdout
    assert typed(target, "models", "--since", "soon").exit_code == 2
