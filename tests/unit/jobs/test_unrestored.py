"""What the summary counts of redaction: placeholders that models make up, and labels with nothing masked behind them."""

from __future__ import annotations

import msgspec
from msgspec import structs

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import RedactionPolicy, Route
from promptmill.redaction import ALL_TYPES
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import recipe

KEY = "inbox/r/prompts.jsonl"
PROMPTS = [
    {"id": "a", "prompt": "Write to a@b.example."},
    {"id": "b", "prompt": "Write to c@d.example."},
    {"id": "c", "prompt": "Go."},
]


class Inventive(FakeModels):
    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        answer = await super().complete(route, request, call_id=call_id)
        return structs.replace(answer, text="<EMAIL_1>, <EMAIL_2> and <PHONE_1>")


async def finished(policy: RedactionPolicy) -> tuple[list[str], dict[str, object]]:
    mill = Mill(recipe(redact=policy), models=Inventive())
    job = await mill.mill(KEY, jsonl(PROMPTS))
    audit = msgspec.json.decode(mill.file(job, "summary"))["redaction"]
    return [line["answer"] for line in mill.lines(job, "results")], audit


async def test_placeholders_without_a_value_stay_and_are_counted() -> None:
    answers, audit = await finished(RedactionPolicy(types=ALL_TYPES))
    assert answers[0] == "a@b.example, <EMAIL_2> and <PHONE_1>"
    assert answers[2] == "<EMAIL_1>, <EMAIL_2> and <PHONE_1>"
    assert audit["unrestored"] == {"email": 2, "phone": 2}


async def test_where_answers_are_not_restored_nothing_is_missing() -> None:
    answers, audit = await finished(RedactionPolicy(types=ALL_TYPES, restore=False))
    assert answers[0] == "<EMAIL_1>, <EMAIL_2> and <PHONE_1>"
    assert "unrestored" not in audit


async def test_labels_with_nothing_masked_behind_them_are_counted() -> None:
    mill = Mill(recipe(redact=RedactionPolicy(types=ALL_TYPES)))
    prompts = [
        {"id": "a", "prompt": "phone: 12345 and phone: 2125550147"},
        {"id": "b", "prompt": "iban: 123456, password: hunter2x"},
        {"id": "c", "prompt": "phone: later, passport: none"},
    ]
    job = await mill.mill(KEY, jsonl(prompts))
    audit = msgspec.json.decode(mill.file(job, "summary"))["redaction"]
    assert audit["labels_without_value"] == {"iban": 1, "phone": 1}


async def test_types_that_are_kept_have_no_labels_without_a_value() -> None:
    mill = Mill(recipe(redact=RedactionPolicy(types=("email",))))
    job = await mill.mill(KEY, jsonl([{"id": "a", "prompt": "phone: 12345"}]))
    assert "labels_without_value" not in msgspec.json.decode(mill.file(job, "summary"))["redaction"]
