"""The header of a job's own file tells redaction what a cell is, even where the prompt names only the cell."""

from __future__ import annotations

import pytest

from promptmill.domain.completion import Completion, CompletionRequest, Text
from promptmill.domain.recipe import RedactionPolicy, Route
from promptmill.redaction import ALL_TYPES, collect_text, redact_request
from promptmill.redaction.policy import FoundBefore
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import recipe

POLICY = RedactionPolicy(types=ALL_TYPES)
CSV = b"name,PASSPORT_NO,pin,note\nBob,C01X00T47,4411,blue\n"


class Listening(FakeModels):
    heard: CompletionRequest

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        self.heard = request
        return await super().complete(route, request, call_id=call_id)


async def sent(key: str, data: bytes, prompt: str, policy: RedactionPolicy = POLICY) -> tuple[str, CompletionRequest]:
    models = Listening()
    await Mill(recipe(prompt=prompt, redact=policy), models=models).mill(key, data)
    (part,) = models.heard.messages[0].parts
    assert isinstance(part, Text)
    return part.text, models.heard


@pytest.mark.parametrize(
    ("key", "data"),
    [
        ("inbox/r/people.csv", CSV),
        ("inbox/r/people.tsv", CSV.replace(b",", b"\t")),
        ("inbox/r/people.jsonl", jsonl([{"name": "Bob", "PASSPORT_NO": "C01X00T47", "pin": 4411, "note": "blue"}])),
    ],
)
async def test_a_column_says_what_its_cell_is(key: str, data: bytes) -> None:
    text, request = await sent(key, data, "About {{ name }} ({{ passport_no }}, {{ pin }}): {{ note }}")
    assert text == "About Bob (<PASSPORT_1>, <PASSWORD_1>): blue"
    assert request.columns == {}


async def test_a_column_may_be_redacted_as_a_whole() -> None:
    text, _ = await sent(
        "inbox/r/people.csv", CSV, "{{ name }} likes {{ note }}", RedactionPolicy(types=("email",), whole=("note",))
    )
    assert text == "Bob likes <FIELD_1>"


async def test_columns_that_the_prompt_leaves_out_are_not_searched() -> None:
    text, _ = await sent("inbox/r/people.csv", CSV, "C01X00T47 is no value here, {{ name }}")
    assert text == "C01X00T47 is no value here, Bob"


def test_detectors_beside_the_patterns_see_what_is_searched() -> None:
    request = CompletionRequest(messages=(), system="C01X00T47", columns={"passport": "C01X00T47", "note": "blue"})
    policy = RedactionPolicy(types=ALL_TYPES, engines=("structured", "ner"))
    text = collect_text(request, policy)
    assert "blue" not in text
    assert redact_request(request, policy, FoundBefore({text: []})).request.system == "<PASSPORT_1>"
