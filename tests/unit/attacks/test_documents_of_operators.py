"""Recipes and limits documents that are bombs: whoever uses the recipe is told so in words, and other recipes go on."""

from __future__ import annotations

import json

import pytest

from promptmill.domain import layout
from promptmill.domain.limits import DOCUMENT
from tests.unit.attacks.house import OWN_REPLIES, House

ROUTES = "routes: [bedrock/amazon.nova-lite-v1:0]\n"
LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
BOMBS = {
    "a billion laughs": "a0: &a0 [x]\n" + LAUGHS + ROUTES,
    "an alias of itself": "a: &a [*a]\n" + ROUTES,
    "a map in itself": "a: &a {b: *a}\n" + ROUTES,
    "deep arrays": "a: " + "[" * 5_000 + "]" * 5_000,
    "deep maps": "".join(f"{' ' * n}a:\n" for n in range(600)),
    "a tag of Python's": "a: !!python/object/apply:os.system ['touch /tmp/x']\n" + ROUTES,
    "a tag that builds an object": "routes: !!python/object:promptmill.domain.recipe.Route {id: a}\n",
    "a tag of one's own": "prompt: !secret promptmill/openai\n" + ROUTES,
    "a key twice": ROUTES + ROUTES,
    "a merge": "base: &b {max_output_tokens: 9}\n<<: *b\n" + ROUTES,
    "two documents": ROUTES + "---\n" + ROUTES,
    "256 KiB and more": ROUTES + "# " + "x" * (256 << 10),
    "a number without end": "max_output_tokens: " + "9" * 5_000 + "\n" + ROUTES,
    "infinity": "temperature: .inf\n" + ROUTES,
    "not a number": "temperature: .nan\n" + ROUTES,
    "bytes": "prompt: !!binary aGk=\n" + ROUTES,
    "a schema from an address": ROUTES
    + 'answer: {json_schema: {type: object, properties: {a: {$ref: "http://evil.example"}}}}\n',
    "a schema from an address, in words of 2020": ROUTES
    + 'answer: {json_schema: {type: object, properties: {a: {$dynamicRef: "http://evil.example"}}}}\n',
    "an endless template": ROUTES + 'prompt: "' + "{{" * 20_000 + '"\n',
    "a foreign route": "routes: [{model: compatible/m, base_url: 'http://169.254.169.254/v1'}]\n",
}


@pytest.fixture
def bombed(house: House) -> House:
    for number, text in enumerate(BOMBS.values()):
        house.write_recipe(f"bomb-{number}", text)
    house.put(layout.recipe_key("bomb-binary"), b"\xff\xfe\x00")
    return house


def test_a_file_of_a_broken_recipe_is_rejected_in_words_and_others_are_answered(bombed: House) -> None:
    for number in range(len(BOMBS)):
        bombed.drop("a.jsonl", b'{"prompt":"x"}\n', f"bomb-{number}")
    bombed.run_all()
    for number, name in enumerate(BOMBS):
        status = bombed.status("a.jsonl", f"bomb-{number}")
        assert status["state"] == "REJECTED", name
        assert status["reason"], name
        assert status["remedy"], name
        assert len(status["reason"]) < 5_000, name
    assert bombed.run_file("good.jsonl", b'{"prompt":"x"}\n')["state"] == "DONE"


def test_a_request_of_a_broken_recipe_is_told_so_and_others_are_answered(bombed: House) -> None:
    asked = {"reply_to": OWN_REPLIES, "prompt": "x"}
    bad = [json.dumps(asked | {"recipe": f"bomb-{n}", "id": f"b{n}"}) for n in range(len(BOMBS))]
    good = json.dumps(asked | {"recipe": "reviews", "id": "good"})
    replies = bombed.publish(*bad[:5], good, *bad[5:], json.dumps(asked | {"recipe": "bomb-binary", "id": "b"}))
    assert replies.pop("good")["status"] == "answered"
    assert len(replies) == len(BOMBS) + 1
    assert {reply["error"]["field"] for reply in replies.values()} == {"recipe"}
    assert all(len(reply["error"]["message"]) < 8_000 for reply in replies.values())


@pytest.mark.parametrize(
    "name", ["a billion laughs", "an alias of itself", "a tag of Python's", "deep arrays", "bytes"]
)
def test_a_limits_document_that_is_a_bomb_stops_no_job(
    house: House, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    house.write_recipe(DOCUMENT, BOMBS[name])
    assert house.run_file("a.jsonl", b'{"prompt":"x"}\n')["records"]["answered"] == 1
    assert "LimitsUnread" in capsys.readouterr().out
