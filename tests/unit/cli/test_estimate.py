"""``promptmill estimate``: the real planner, redaction and adapters, and not a byte sent."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.charge import Charge
from promptmill.domain.limits import LimitRule, Limits
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Recipe, RedactionPolicy, Route
from promptmill.redaction.spans import ALL_TYPES
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, SPARE, recipe
from tests.unit.cli.fake_target import FakeTarget, typed, typed_json

ROOT = Path(__file__).parents[3]
RECIPE = ROOT / "recipes/reviews.yaml"
SAMPLE = ROOT / "samples/reviews.csv"


def estimated(file: Path, *words: str, target: FakeTarget | None = None) -> dict[str, Any]:
    document, code = typed_json(target or FakeTarget(), "estimate", str(file), *words)
    assert code == 0, document
    return document


def written(folder: Path, *lines: object, name: str = "f.jsonl") -> Path:
    file = folder / name
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


def test_a_document_alone_is_enough() -> None:
    document = estimated(SAMPLE, "--recipe", str(RECIPE))
    assert document["records"] == document["seen"] == document["will_run"]["expected"] == 24
    assert [route["route"] for route in document["routes"]] == [
        "anthropic/claude-haiku-5-5",
        "bedrock/eu.anthropic.claude-haiku-5-5",
    ]
    cost = {bound: float(usd) for bound, usd in document["cost_usd"].items()}
    assert 0 < cost["low"] < cost["expected"] < cost["high"]
    assert "No answer to this recipe is known" in " ".join(document["notes"])


def test_an_estimate_says_what_the_job_then_does(tmp_path: Path) -> None:
    models = FakeModels()
    asked = recipe(max_output_tokens=36, redact=RedactionPolicy(types=ALL_TYPES), model="line", models={"a": ROUTE.id})
    target = FakeTarget(mill=Mill(asked, models=models))
    lines = [
        {
            "custom_id": f"c{n}",
            "body": {"model": "a" if n % 5 else "b", "messages": [{"role": "user", "content": content}]},
        }
        for n, content in enumerate(["Write to ada@example.org"] * 20)
    ]
    file = written(tmp_path, *lines, {"custom_id": "last", "body": {"model": "a", "messages": 7}})
    document = estimated(file, "--recipe", "r", target=target)
    assert not models.calls
    result, code = typed_json(target, "submit", str(file), "--recipe", "r", "--wait")
    records = result["status"]["records"]
    assert code == 3
    assert document["will_run"]["expected"] == records["answered"] == 16
    assert {found["code"]: found["records"]["expected"] for found in document["refused"]} == {
        "model_not_allowed": 4,
        "invalid_field": 1,
    }
    assert document["masked"] == {"email": 16}
    assert document["output_tokens"]["expected"] == 16 * 9


def test_answers_of_the_last_days_say_how_long_the_next_are(tmp_path: Path) -> None:
    target = FakeTarget(recipe(prompt="{{ text }}", max_output_tokens=1_000))
    day = target.mill.clock.now().date().isoformat()
    charge = Charge(
        unit="j.1.0", epoch=1, route=ROUTE.id, model="openai/gpt-6-luna", recipe="r", job_id="j", day=day, nano_usd=5,
        attempts=12, failed_attempts=2, unpriced=0, input_tokens=100, cache_read_tokens=0, cache_write_tokens=0,
        output_tokens=420,
    )  # fmt: skip
    asyncio.run(target.mill.ledger.record(charge))
    file = tmp_path / "f.txt"
    file.write_text("What is blue?\n" * 10)
    document = estimated(file, "--recipe", "r", target=target)
    assert document["output_tokens"]["expected"] == 420
    assert document["output_tokens"]["low"] < 420 < document["output_tokens"]["high"] < 10_000
    assert document["notes"] == []


def test_a_sample_is_said_to_be_one_and_holds_the_whole(tmp_path: Path) -> None:
    file = tmp_path / "f.txt"
    file.write_text("".join(f"{'word ' * (1 + n % 40)}{n}\n" for n in range(3_000)))
    target = FakeTarget(recipe(prompt="{{ text }}", max_output_tokens=10))
    whole = estimated(file, "--recipe", "r", "--all", target=target)
    sample = estimated(file, "--recipe", "r", "--sample", "200", "--seed", "3", target=target)
    assert (whole["seen"], sample["seen"], sample["seed"]) == (3_000, 200, 3)
    assert sample == estimated(file, "--recipe", "r", "--sample", "200", "--seed", "3", target=target)
    exact = whole["input_tokens"]["expected"]
    assert abs(sample["input_tokens"]["expected"] - exact) < 0.05 * exact
    assert sample["input_tokens"]["low"] <= whole["input_tokens"]["low"] * 1.02
    assert sample["input_tokens"]["high"] >= whole["input_tokens"]["high"] * 0.98


def test_packed_files_are_unpacked_and_left_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv.gz"
    file.write_bytes(gzip.compress(SAMPLE.read_bytes()))
    assert estimated(file, "--recipe", str(RECIPE))["records"] == 24
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_no_job_would_run_is_refused_in_the_same_words(tmp_path: Path) -> None:
    file = tmp_path / "f.xlsx"
    file.write_bytes(b"PK\x03\x04 xl/workbook.xml")
    result = typed(FakeTarget(), "estimate", str(file), "--recipe", str(RECIPE))
    assert result.exit_code == 1
    assert "this workbook is damaged" in result.stderr
    assert "Remedy" in result.stderr


def test_a_line_that_the_first_api_cannot_carry_goes_to_the_next(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "logit_bias": {"50256": -100}, "max_tokens": 5}
    file = written(tmp_path, {"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": body})
    target = FakeTarget(recipe("both", routes=(SPARE, ROUTE)), recipe("one", routes=(SPARE,)))
    both = estimated(file, "--recipe", "both", target=target)
    assert [(route["route"], route["first"], route["carried"]) for route in both["routes"]] == [
        (SPARE.id, 0, 0),
        (ROUTE.id, 1, 1),
    ]
    alone = estimated(file, "--recipe", "one", target=target)
    assert [found["code"] for found in alone["refused"]] == ["unsupported_field"]
    assert "logit_bias" in alone["refused"][0]["message"]


@pytest.mark.parametrize("provider", sorted(set(PROVIDERS) - {"local"}))
def test_every_provider_writes_a_call_and_sends_none(provider: str, tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a call left the process")

    monkeypatch.setattr("aiohttp.ClientSession._request", refuse)
    route = Route(
        f"{provider}/m", provider, "gpu/m" if provider == "nlpcloud" else "m", key="promptmill/k", region="eu-central-1"
    )
    target = FakeTarget(recipe(routes=(route,), prompt="{{ text }}", max_output_tokens=5))
    file = tmp_path / "f.txt"
    file.write_text("What is blue?\n")
    assert estimated(file, "--recipe", "r", target=target)["will_run"]["expected"] == 1


def budgeted(per_job: int) -> Recipe:
    return recipe(prompt="{{ text }}", max_output_tokens=100, budget=BudgetPolicy(per_job=per_job))


@pytest.mark.parametrize(("nano", "word"), [(1, "will"), (1_000_000, "may"), (10**12, "")])
def test_a_budget_that_is_too_small_is_told_before(nano: int, word: str, tmp_path: Path) -> None:
    file = tmp_path / "f.txt"
    file.write_text("What is blue?\n" * 1_000)
    notes = " ".join(estimated(file, "--recipe", "r", target=FakeTarget(budgeted(nano)))["notes"])
    assert ("per_job_usd" in notes) == bool(word)
    assert f"{word} be spent" in notes or not word


def test_a_limit_says_how_long_it_takes_at_least(tmp_path: Path) -> None:
    target = FakeTarget(recipe(prompt="{{ text }}", max_output_tokens=100, give_up_after_h=1))
    target.mill.recipes.configured = Limits((LimitRule((ROUTE.id,), requests_per_minute=10),))
    file = tmp_path / "f.txt"
    file.write_text("What is blue?\n" * 1_000)
    document = estimated(file, "--recipe", "r", target=target)
    assert document["least_seconds"] == 6_000
    assert "gives up after 1 h" in " ".join(document["notes"])
    assert (
        "It takes at least 100.0 minutes under requests_per_minute"
        in typed(target, "estimate", str(file), "--recipe", "r").stdout
    )


def test_a_route_without_a_price_has_no_cost_and_says_so(tmp_path: Path) -> None:
    document = RECIPE.read_text().replace("anthropic/claude-haiku-5-5", "openai/nobody-knows-this", 1)
    unpriced = tmp_path / "unpriced.yaml"
    unpriced.write_text(document)
    found = estimated(SAMPLE, "--recipe", str(unpriced))
    assert found["cost_usd"] is None
    assert found["routes"][0]["cost_usd"] is None
    assert found["routes"][1]["cost_usd"] is not None
    assert "There is no price of openai/nobody-knows-this" in " ".join(found["notes"])
    assert "unknown" in typed(FakeTarget(), "estimate", str(SAMPLE), "--recipe", str(unpriced)).stdout


def test_wrong_usage_is_told(tmp_path: Path) -> None:
    assert typed(FakeTarget(), "estimate", str(SAMPLE), "--sample", "5", "--all").exit_code == 2
    missing, code = typed_json(FakeTarget(), "estimate", str(tmp_path / "none.csv"), "--recipe", str(RECIPE))
    assert (missing["error"]["code"], code) == ("not_a_file", 1)
    missing, code = typed_json(FakeTarget(), "estimate", str(SAMPLE), "--recipe", str(tmp_path / "none.yaml"))
    assert (missing["error"]["code"], code) == ("not_readable", 1)


def test_names_of_other_engines_are_said_not_to_count() -> None:
    policy = structs.replace(RedactionPolicy(types=ALL_TYPES), engines=("structured", "comprehend"))
    target = FakeTarget(recipe(prompt="{{ text }}", redact=policy))
    assert "comprehend" in " ".join(estimated(SAMPLE, "--recipe", "r", target=target)["notes"])
