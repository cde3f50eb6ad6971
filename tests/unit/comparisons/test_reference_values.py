"""Every formula against scipy and statsmodels: 181 values that those made, beside this file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptmill.comparisons.distributions import t_quantile, t_two_sided_p
from promptmill.comparisons.means import clustered_mean, mean_of, percentile_interval
from promptmill.comparisons.rates import Interval, Pairs, mcnemar_exact, newcombe_paired, wilson
from promptmill.comparisons.sizes import holm, least_difference, records_for_difference, records_for_mean

VECTORS = [json.loads(line) for line in Path(__file__).with_name("vectors.jsonl").read_text().splitlines()]
_TOLERANCE = 1e-9
_Z_OF_POWER = {0.8: 0.8416212335729143}


def ends(interval: Interval | None) -> dict[str, Any]:
    return {"low": interval and interval.low, "high": interval and interval.high}


def paired_t(given: dict[str, Any]) -> dict[str, Any]:
    values = [a - b for a, b in zip(given["a"], given["b"], strict=True)]
    found = mean_of(values, confidence=given["confidence"])
    return {"mean": found.mean, "p": found.p, **ends(found.interval)}


def percentile(given: dict[str, Any]) -> dict[str, Any]:
    value, interval = percentile_interval(given["values"], given["q"], confidence=given["confidence"])
    return {"value": value, **ends(interval)}


CALLS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "wilson": lambda i: ends(wilson(i["x"], i["n"], confidence=i["confidence"])),
    "newcombe_paired": lambda i: ends(
        newcombe_paired(Pairs(i["both"], i["only_a"], i["only_b"], i["neither"]), confidence=i["confidence"])
    ),
    "mcnemar_exact": lambda i: {"p": mcnemar_exact(Pairs(0, i["only_a"], i["only_b"], 0))},
    "paired_t": paired_t,
    "t_quantile": lambda i: t_quantile(i["q"], i["df"]),
    "t_two_sided_p": lambda i: t_two_sided_p(i["t"], i["df"]),
    "clustered": lambda i: {"mean": clustered_mean(i["values"], i["groups"]).mean},
    "percentile_interval": percentile,
    "holm": lambda i: holm(i["p"]),
    "mdd_binary": lambda i: least_difference(i["n"], i["discordance"]),
}


def is_near(found: Any, expected: Any) -> bool:
    if isinstance(found, dict):
        return all(is_near(value, expected[name]) for name, value in found.items() if name in expected)
    if isinstance(found, list):
        return len(found) == len(expected) and all(map(is_near, found, expected))
    if found is None or expected is None:
        return found is expected
    return bool(abs(found - expected) <= _TOLERANCE * max(1.0, abs(expected)))


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["function"] in CALLS], ids=lambda v: str(v["function"]))
def test_a_value_is_that_of_scipy_or_statsmodels(vector: dict[str, Any]) -> None:
    found, expected = CALLS[vector["function"]](vector["input"]), vector["expected"]
    if vector["function"] == "percentile_interval" and None in (expected["low"], expected["high"]):
        expected = {**expected, "low": None, "high": None}  # an interval that is open at one end is not shown
    assert is_near(found, expected), (vector, found)


def test_the_file_holds_a_value_of_every_formula() -> None:
    assert {vector["function"] for vector in VECTORS} == {*CALLS, "n_for_discordance", "n_for_mean"}


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if v["function"] == "n_for_discordance" and v["input"]["power"] == 0.8], ids=str
)
def test_records_for_a_difference_are_those_of_statsmodels_and_what_the_exact_test_needs_more(
    vector: dict[str, Any],
) -> None:
    given = vector["input"]
    found = records_for_difference(given["discordance"], given["difference"])
    assert found == pytest.approx(vector["expected"] + 1 / given["difference"], abs=1)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["function"] == "n_for_mean"], ids=str)
def test_records_for_a_mean_are_within_two_of_statsmodels(vector: dict[str, Any]) -> None:
    given = vector["input"]
    if given["power"] in _Z_OF_POWER:
        found = records_for_mean(given["difference"], given["sd_of_differences"])
        assert found == pytest.approx(vector["expected"] + 1.92, abs=1)
