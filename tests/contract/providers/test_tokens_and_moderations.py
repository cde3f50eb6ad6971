"""OpenAI batch lines whose texts are numbers of tokens, and lines for moderations: to the wire and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import ModerationCreateResponse

from promptmill.calls.bounds import bound_of
from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import RecordError
from promptmill.domain.job_file import FileFacts
from promptmill.domain.recipe import Route
from promptmill.domain.record import RawRecord
from promptmill.formats.file_format import format_named
from promptmill.prices.genai import GenaiPriceBook
from tests.contract.providers.exchanges import Exchange, exchange
from tests.fakes.clock import START
from tests.fakes.providers.scripted import whole
from tests.fakes.recipes import recipe

VECTORS = {"data": [{"embedding": [1.0], "index": 0}, {"embedding": [2.0], "index": 1}], "model": "m"}
TEXT = {"id": "c", "choices": [{"index": 0, "text": " five", "finish_reason": "stop"}], "model": "m"}
VERDICT = {"flagged": True, "categories": {"violence": True}, "category_scores": {"violence": 0.9}}
REDACTS = {"redact": {"types": ["EMAIL"]}}
PNG = "data:image/png;base64,AAAA"


def line(endpoint: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": "a", "method": "POST", "url": f"/v1/{endpoint}", "body": {"model": "m", **body}}


def parsed(asked: dict[str, Any]) -> CompletionRequest:
    return format_named("openai").parse(RawRecord(0, 1, json.dumps(asked).encode()), FileFacts("openai"), recipe())


async def moderate(given: Any, results: list[Any], **route: Any) -> Exchange:
    reply = whole({"id": "modr-7", "model": "omni-moderation-latest", "results": results})
    settings = {"dialect": "moderations", "recipe": {"attachments": "pass"}, **route}
    return await exchange([reply] * 5, lines=[line("moderations", input=given)], **settings)


@pytest.mark.parametrize(("given", "sent"), [([1, 2, 3], [1, 2, 3]), ([[1, 2], [3]], [[1, 2], [3]])])
async def test_tokens_to_embed_go_out_as_they_came(given: Any, sent: Any) -> None:
    reply = whole({**VECTORS, "data": VECTORS["data"][: 1 if given == sent == [1, 2, 3] else 2]})
    came = await exchange([reply], lines=[line("embeddings", input=given)], dialect="embeddings")
    assert came.sent[0]["input"] == sent


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2, 3]]])
async def test_tokens_to_go_on_with_go_out_as_they_came(given: Any) -> None:
    came = await exchange([whole(TEXT)], lines=[line("completions", prompt=given)], dialect="completions")
    assert (came.sent[0]["prompt"], came.answers) == ([1, 2, 3], [" five"])
    assert came.usage.input_total == 3  # the reply told no usage: each number is a token


@pytest.mark.parametrize(("name", "endpoint"), [("input", "embeddings"), ("prompt", "completions")])
async def test_tokens_that_a_policy_cannot_see_into_are_refused(name: str, endpoint: str) -> None:
    came = await exchange([], lines=[line(endpoint, **{name: [1, 2]})], dialect=endpoint, recipe=REDACTS)
    assert (came.codes, came.sent) == (["unsupported_field"], [])
    assert "cannot be redacted" in came.outcomes[0].failure.message  # type: ignore[union-attr]


async def test_tokens_go_to_no_other_api() -> None:
    came = await exchange([], lines=[line("completions", prompt=[1, 2])])
    assert (came.codes, came.sent) == (["unsupported_field"], [])


@pytest.mark.parametrize("given", [[[5, 100_000], [7]], "hi"])
def test_what_is_embedded_has_a_bound_under_a_budget(given: Any) -> None:
    request = parsed(line("embeddings", input=given))
    route = Route("openai/text-embedding-3-small", "openai", "text-embedding-3-small", endpoint="embeddings")
    assert bound_of(request, route, prices=GenaiPriceBook(), at=START, priced=True).high is not None


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("hit them", ["hit them"]),
        (["a", "b"], ["a", "b"]),
        (
            [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG}}],
            [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG}}],
        ),
    ],
)
async def test_moderations_are_answered_in_their_shape(given: Any, sent: Any) -> None:
    results = [VERDICT] * (2 if given == ["a", "b"] else 1)
    came = await moderate(given, results, provider="openai", model="omni-moderation-latest")

    assert came.sent[0] == {"model": "omni-moderation-latest", "input": sent}
    body = json.loads(came.lines[0])["response"]["body"]
    assert body == {"id": "modr-7", "model": "omni-moderation-latest", "results": results}
    assert ModerationCreateResponse.model_construct(**body).results
    assert came.prices[0].nano_usd == 0


async def test_a_row_is_moderated_where_the_route_says_so() -> None:
    rows = [{"id": 1, "prompt": "hit them"}]
    reply = whole({"model": "m", "results": [VERDICT]})
    came = await exchange([reply], lines=rows, file_format="promptmill", dialect="moderations")
    assert json.loads(json.loads(came.lines[0])["answer"]) == VERDICT


async def test_a_moderation_needs_a_route_that_moderates() -> None:
    for dialect in ("chat", "completions", "embeddings", "responses"):
        came = await exchange([], lines=[line("moderations", input="x")], dialect=dialect)
        assert (came.codes, came.sent) == (["unsupported_field"], [])
        assert "dialect: moderations" in came.outcomes[0].failure.message  # type: ignore[union-attr]


async def test_a_verdict_too_few_is_no_answer() -> None:
    came = await moderate(["a", "b"], [VERDICT])
    assert came.codes == ["malformed"]


async def test_what_a_moderation_reads_at_a_price_is_never_free() -> None:
    priced = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}
    told = whole({"model": "m", "results": [VERDICT], "usage": {"prompt_tokens": 9, "total_tokens": 9}})
    came = await exchange([told], lines=[line("moderations", input="x" * 40)], dialect="moderations", price=priced)
    assert came.prices[0].nano_usd == 9_000
    came = await moderate("x" * 40, [VERDICT], price=priced)
    assert (came.prices[0].nano_usd, came.usage.source) == (10_000, "estimated")


@pytest.mark.parametrize(
    ("given", "field"),
    [(None, "body.input"), ([], "body.input"), ([1], "body.input"), ([{"type": "audio"}], "body.input[0].type")],
)
def test_what_is_no_input_of_a_moderation_is_named(given: Any, field: str) -> None:
    with pytest.raises(RecordError) as caught:
        parsed(line("moderations", input=given))
    assert caught.value.field == field


def test_a_bare_body_for_a_moderation_model_is_one() -> None:
    assert parsed({"model": "omni-moderation-latest", "input": "x"}).kind == "moderation"
