"""Fields that cost extra are priced, and a budget stops before them: a provider that bills all that it may never passes it.

The bills are written from the vendors' price lists, and not from our table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import Struct, structs

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.recipe import Route, UserPrice
from promptmill.prices.genai import GenaiPriceBook
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import recipe

CLAUDE = Route(id="anthropic/claude-haiku-4-5", provider="anthropic", model="claude-haiku-4-5")
MINI = Route(id="openai/gpt-5.4-mini", provider="openai", model="gpt-5.4-mini")
AUDIO = Route(id="openai/gpt-audio", provider="openai", model="gpt-audio")
MOST_WRITTEN = 100
CLAUDE_WINDOW, MINI_WINDOW = 200_000, 400_000


class Case(Struct, frozen=True):
    """A line with a field that costs extra, the usage of the dearest call that it allows, and the bill for that.

    Attributes:
        bill: dollars, by the vendor's price list.
        told: False where no answer tells what the field has cost.
    """

    route: Route
    allow: str
    line: dict[str, Any]
    usage: Usage
    bill: float
    told: bool = True


def chat(**fields: Any) -> dict[str, Any]:
    body = {"model": "x", "messages": [{"role": "user", "content": "hi"}], "max_tokens": MOST_WRITTEN, **fields}
    return {"method": "POST", "url": "/v1/chat/completions", "body": body}


def responses(**fields: Any) -> dict[str, Any]:
    body = {"model": "x", "input": "hi", "max_output_tokens": MOST_WRITTEN, **fields}
    return {"method": "POST", "url": "/v1/responses", "body": body}


def message(**fields: Any) -> dict[str, Any]:
    words = [{"role": "user", "content": "hi"}]
    return {"params": {"model": "x", "max_tokens": MOST_WRITTEN, "messages": words, **fields}}


def search(**fields: Any) -> list[dict[str, Any]]:
    return [{"type": "web_search_20250305", "name": "web_search", **fields}]


CASES: Mapping[str, Case] = {
    "searches of Claude": Case(
        CLAUDE,
        "tools.web_search",
        message(tools=search(max_uses=2)),
        Usage(input_total=3 * CLAUDE_WINDOW, output_total=MOST_WRITTEN, hosted={"web_search": 2}),
        3 * 0.2 * 1 + MOST_WRITTEN * 5e-6 + 2 * 0.01,
    ),
    "searches of a response": Case(
        structs.replace(MINI, endpoint="responses"),
        "tools.web_search",
        responses(tools=[{"type": "web_search"}], max_tool_calls=1),
        Usage(input_total=2 * MINI_WINDOW // 2, output_total=MOST_WRITTEN, hosted={"web_search": 1}),
        0.4 * 0.75 + MOST_WRITTEN * 4.5e-6 + 0.01,
    ),
    "several answers": Case(
        MINI,
        "n",
        chat(n=50),
        Usage(input_total=10, output_total=50 * MOST_WRITTEN),
        10 * 0.75e-6 + 50 * MOST_WRITTEN * 4.5e-6,
    ),
    "priority": Case(
        MINI,
        "service_tier",
        chat(service_tier="priority"),
        Usage(input_total=300, output_total=MOST_WRITTEN, service_tier="priority"),
        300 * 1.5e-6 + MOST_WRITTEN * 9e-6,
    ),
    "flex that was served as usual": Case(
        MINI,
        "service_tier",
        chat(service_tier="flex"),
        Usage(input_total=300, output_total=MOST_WRITTEN, service_tier="default"),
        300 * 0.75e-6 + MOST_WRITTEN * 4.5e-6,
    ),
    "in the US only": Case(
        CLAUDE,
        "inference_geo",
        message(inference_geo="us"),
        Usage(input_total=300, output_total=MOST_WRITTEN, place="us"),
        1.1 * (300 * 1e-6 + MOST_WRITTEN * 5e-6),
    ),
    "a prediction": Case(
        MINI,
        "prediction",
        chat(prediction={"type": "content", "content": "word " * 200}),
        Usage(input_total=300, output_total=MOST_WRITTEN + 300),
        300 * 0.75e-6 + (MOST_WRITTEN + 300) * 4.5e-6,
    ),
    "sound": Case(
        AUDIO,
        "modalities",
        chat(modalities=["text", "audio"]),
        Usage(input_total=10, output_total=MOST_WRITTEN, output_audio=MOST_WRITTEN),
        10 * 2.5e-6 + MOST_WRITTEN * 64e-6,
    ),
}


class Meter(FakeModels):
    """Answers every call with the usage of the case, and adds up the bills."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self._case, self.billed_nano = case, 0

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        self.billed_nano += round(self._case.bill * 1e9)
        answer = await super().complete(route, request, call_id=call_id)
        return structs.replace(answer, usage=self._case.usage)


async def run(case: Case, *, per_job: int | None, records: int = 20, **changes: Any) -> tuple[Mill, Meter, Any]:
    route, meter = structs.replace(case.route, allow=(case.allow,), **changes), Meter(case)
    mill = Mill(recipe(routes=(route,), budget=BudgetPolicy(per_job=per_job)), models=meter)
    mill.prices = GenaiPriceBook()
    lines = jsonl({"custom_id": f"r{place}", **case.line} for place in range(records))
    return mill, meter, await mill.mill("inbox/r/a.jsonl", lines)


@pytest.mark.parametrize("name", CASES)
async def test_each_answer_costs_what_the_vendor_bills(name: str) -> None:
    case = CASES[name]
    mill, meter, job = await run(case, per_job=None, records=2)
    assert job.counts.answered == len(meter.calls) == 2
    assert sum(charge.nano_usd for charge in mill.ledger.charges.values()) == meter.billed_nano


@pytest.mark.parametrize("name", CASES)
async def test_no_bill_passes_the_budget(name: str) -> None:
    case = CASES[name]
    budget = round(case.bill * 1e9 * 7.5)
    mill, meter, job = await run(case, per_job=budget)
    assert meter.billed_nano <= budget
    assert job.counts.stopped, "the budget stopped the job, and no line failed"
    assert job.counts.failed == 0
    # Hosted tools may fill the context window at each call: what they are held to is far above most bills.
    assert job.counts.answered >= 1
    assert sum(charge.nano_usd for charge in mill.ledger.charges.values()) == meter.billed_nano


UNLIMITED: Mapping[str, tuple[Route, str, dict[str, Any], str]] = {
    "searches": (CLAUDE, "tools.web_search", message(tools=search()), "max_uses"),
    "searches of a response": (
        structs.replace(MINI, endpoint="responses"),
        "tools.web_search",
        responses(tools=[{"type": "web_search"}]),
        "max_tool_calls",
    ),
    "code": (
        CLAUDE,
        "tools.code_execution",
        message(tools=[{"type": "code_execution_20250825", "name": "code_execution"}]),
        "leave the tool out",
    ),
    "search in chat": (MINI, "web_search_options", chat(web_search_options={}), "leave the field out"),
    "a container": (CLAUDE, "container", message(container="c"), "leave the field out"),
}


@pytest.mark.parametrize("name", UNLIMITED)
async def test_what_nothing_limits_is_not_sent_under_a_budget_and_the_remedy_is_told(name: str) -> None:
    route, allow, line, remedy = UNLIMITED[name]
    mill, meter, job = await run(Case(route, allow, line, Usage(), 0.0), per_job=10**12, records=1)
    told = json.dumps(mill.lines(job, "results"))
    assert meter.calls == []
    assert "no_bound" in told
    assert remedy in told


async def test_an_operators_own_price_says_nothing_of_searches_and_tiers() -> None:
    price = UserPrice("1", "5")
    for name in ("searches of Claude", "priority"):
        case = CASES[name]
        mill, _, _ = await run(case, per_job=None, records=1, price=price)
        assert [charge.nano_usd for charge in mill.ledger.charges.values()] == [0], "unknown"
        _, meter, job = await run(case, per_job=10**12, records=1, price=price)
        assert (meter.calls, job.counts.failed) == ([], 1)


GEMINI = Route(id="vertex/gemini-2.5-flash", provider="vertex", model="gemini-2.5-flash")
SEVERAL: Mapping[str, tuple[Route, dict[str, Any]]] = {
    "n": (MINI, chat(n=2)),
    "best_of": (
        structs.replace(MINI, endpoint="completions"),
        {"method": "POST", "url": "/v1/completions", "body": {"model": "x", "prompt": "hi", "best_of": 2}},
    ),
    "generationConfig.candidateCount": (
        GEMINI,
        {"request": {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"candidateCount": 2}}},
    ),
}


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("allowed", [True, False])
async def test_several_answers_are_asked_for_where_the_route_allows_it(name: str, allowed: bool) -> None:
    route, line = SEVERAL[name]
    case = Case(route, name if allowed else "user", line, Usage(input_total=1, output_total=2), 0.0)
    mill, meter, job = await run(case, per_job=None, records=1)
    assert (len(meter.calls), job.counts.answered) == ((1, 1) if allowed else (0, 0))
    assert allowed or f"allow: [{name}]" in json.dumps(mill.lines(job, "results"))
