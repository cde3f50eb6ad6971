"""Replicate: predictions that take their time, that fail, and models with fields of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from promptmill.domain.completion import CompletionRequest, Message, Text, Usage
from promptmill.domain.errors import ProviderError, RecordError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Route, UserPrice, Wire
from promptmill.domain.record import Price
from promptmill.prices.genai import GenaiPriceBook
from promptmill.wire.replicate import stream_url_of
from tests.contract.providers.conftest import Stand, local_settings, make_providers, nothing_sent
from tests.fakes.clock import START, FakeClock
from tests.fakes.providers import replicate
from tests.fakes.providers.behaviours import Answer, CutOff, Refuse, Reply
from tests.fakes.providers.server import FakeProvider

VERSION = "a" * 64
ROUTE = Route("r", "replicate", "meta/llama-3-70b", key="replicate-key", timeout_s=30)


class ReplicateStand(Stand):
    def __init__(self, fake: FakeProvider, server: replicate.Replicate) -> None:
        self.clock, self.server = FakeClock(), server
        super().__init__("replicate", fake, make_providers(local_settings(), self.clock), route=ROUTE)


@pytest.fixture
async def stand() -> AsyncIterator[ReplicateStand]:
    server = replicate.Replicate()
    async with FakeProvider(server) as fake:
        opened = ReplicateStand(fake, server)
        yield opened
        await opened.providers.close()


def asking(text: str = "Sky colour?", **fields: Any) -> CompletionRequest:
    return CompletionRequest(messages=(Message("user", (Text(text),)),), **fields)


async def test_an_answer_that_comes_at_once(stand: ReplicateStand) -> None:
    stand.will(Answer("Blå.", input_tokens=12, output_tokens=3))

    completion = await stand.ask(asking())

    assert (completion.text, completion.finish_reason, completion.raw_finish) == ("Blå.", "unknown", "succeeded")
    assert completion.usage == Usage(input_total=12, output_total=3, compute_us=810_000)
    assert (completion.request_id, completion.model) == ("p1", "meta/llama-3-70b")
    assert stand.fake.asides == []
    assert (stand.fake.sent[0].headers["prefer"], stand.fake.sent[0].headers["cancel-after"]) == ("wait=29", "30s")


async def test_an_answer_that_takes_its_time_is_polled_and_made_once(stand: ReplicateStand) -> None:
    """The first look is throttled: asking again costs nothing, making again would."""
    stand.will(Answer("At last."))

    completion = await stand.ask(asking(replicate.SLOW))

    assert completion.text == "At last."
    assert (len(stand.fake.sent), stand.server.polls) == (1, {"p1": 2})
    assert stand.clock.sleeps == [0.5, 1.0]


async def test_polling_ends_with_the_routes_time(stand: ReplicateStand) -> None:
    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(asking(replicate.STUCK))

    assert (caught.value.code, caught.value.usage_unknown, caught.value.request_id) == ("timeout", True, "p1")
    assert sum(stand.clock.sleeps) == 30
    assert max(stand.clock.sleeps) == 5


async def test_a_post_that_is_lost_is_not_made_again(stand: ReplicateStand) -> None:
    stand.will(CutOff(in_body=False))
    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(asking())
    assert (len(stand.fake.sent), caught.value.usage_unknown) == (1, True)


def prediction(**fields: Any) -> Reply:
    return Reply(201, msgspec.json.encode({"id": "p9", "status": "succeeded", "output": "x", **fields}))


@pytest.mark.parametrize(
    ("fields", "kind", "code", "charged"),
    [
        ({"status": "failed", "error": "CUDA out of memory"}, RetryLaterError, "failed", True),
        ({"status": "failed", "error": {"odd": 1}}, RetryLaterError, "failed", True),
        ({"status": "canceled"}, RetryLaterError, "canceled", True),
        ({"status": "aborted"}, RetryLaterError, "aborted", False),
        ({"status": "something-new"}, RetryLaterError, "failed", True),
        ({"status": "failed", "error": "Prompt too long"}, RecordRefusedError, "context_length_exceeded", True),
        ({"status": "failed", "error": "flagged as sensitive (E005)"}, RecordRefusedError, "content_filter", True),
        ({"output": None, "data_removed": True}, RetryLaterError, "malformed", True),
        ({"output": ["https://x/a.png", {}]}, RouteClosedError, "output_not_text", True),
        ({"output": {"video": "x"}}, RouteClosedError, "output_not_text", True),
    ],
)
async def test_a_201_may_be_a_failure(
    stand: ReplicateStand, fields: dict[str, Any], kind: type[ProviderError], code: str, charged: bool
) -> None:
    stand.will(prediction(**fields))
    with pytest.raises(kind) as caught:
        await stand.ask(asking())
    assert (caught.value.code, caught.value.usage_unknown, caught.value.request_id) == (code, charged, "p9")


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (
            Reply(422, b'{"detail": "The specified version does not exist", "status": 422}'),
            RouteClosedError,
            "http_422",
        ),
        (Reply(422, b'{"detail": "- input: temperature is required", "status": 422}'), RecordRefusedError, "http_422"),
        (Reply(402, b'{"detail": "You have insufficient credit"}'), RouteClosedError, "http_402"),
        (Reply(500, b"oops"), RetryLaterError, "http_500"),
    ],
)
async def test_errors(stand: ReplicateStand, reply: Reply, kind: type[ProviderError], code: str) -> None:
    stand.will(reply)
    with pytest.raises(kind) as caught:
        await stand.ask(asking())
    assert caught.value.code == code


async def test_how_long_to_wait_is_told_in_words(stand: ReplicateStand) -> None:
    stand.will(Refuse("throttled"))
    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(asking())
    assert caught.value.retry_after_s == 30


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        ("meta/llama-3-70b", "/v1/models/meta/llama-3-70b/predictions", None),
        ("deployments/me/mine", "/v1/deployments/me/mine/predictions", None),
        (f"me/mine:{VERSION}", "/v1/predictions", VERSION),
    ],
)
async def test_addresses(stand: ReplicateStand, model: str, path: str, version: str | None) -> None:
    await stand.ask(asking(), stand.fork(model=model))

    assert stand.fake.refused == []
    assert (stand.fake.sent[0].path, stand.fake.sent[0].body.get("version")) == (path, version)


@pytest.mark.parametrize("model", ["llama", "a/b/c", "../secrets/x", "a/b:../c", "a/b?c=d", "deployments/a"])
async def test_models_that_are_none(stand: ReplicateStand, model: str) -> None:
    with nothing_sent(stand), pytest.raises(RouteClosedError) as caught:
        await stand.ask(asking(), stand.fork(model=model))
    assert caught.value.code == "bad_model"


async def test_a_conversation_with_everything(stand: ReplicateStand) -> None:
    talk = CompletionRequest(
        system="Be brief.",
        messages=(
            Message("user", (Text("Hi"),)),
            Message("assistant", (Text("Hello."),)),
            Message("user", (Text("Sky?"),)),
        ),
        max_output_tokens=64,
        temperature=0.25,
        top_p=0.9,
        top_k=5,
        seed=7,
        stop=("##",),
    )
    await stand.ask(talk, stand.fork(body={"input": {"min_tokens": 1}}))

    assert stand.fake.refused == []
    assert stand.fake.sent[0].body["input"] == {
        "prompt": "user: Hi\nassistant: Hello.\nuser: Sky?\nassistant:",
        "system_prompt": "Be brief.",
        "max_tokens": 64,
        "min_tokens": 1,
        "temperature": 0.25,
        "top_p": 0.9,
        "top_k": 5,
        "seed": 7,
        "stop_sequences": "##,\nuser:",
    }


async def test_a_model_with_names_of_its_own(stand: ReplicateStand) -> None:
    wire = Wire(names={"max_tokens": "max_completion_tokens", "system": "instructions"})
    stand.will(prediction())
    with pytest.raises(RecordRefusedError):  # the fake's model knows neither
        await stand.ask(asking(max_output_tokens=9, system="Be brief."), stand.fork(wire=wire))

    asked = {"prompt": "Sky colour?", "max_completion_tokens": 9, "instructions": "Be brief."}
    assert stand.fake.sent[0].body["input"] == asked


async def test_a_name_that_is_none_of_ours_closes_the_route(stand: ReplicateStand) -> None:
    with nothing_sent(stand), pytest.raises(RouteClosedError) as caught:
        await stand.ask(asking(), stand.fork(wire=Wire(names={"lenght": "x"})))
    assert caught.value.code == "wire_names"


async def test_a_stop_sequence_with_a_comma_is_refused(stand: ReplicateStand) -> None:
    with nothing_sent(stand), pytest.raises(RecordError) as caught:
        await stand.ask(asking(stop=("a,b",)))
    assert caught.value.field == "stop"


@pytest.mark.parametrize(
    ("price", "cost"),
    [
        (UserPrice(usd_per_second="0.0014"), Price(1_134_000, "user-set")),  # 0.81 s, waiting not counted
        (UserPrice("0.65", "2.75"), Price(12 * 650 + 3 * 2750, "user-set")),
        (None, Price(None, "unknown")),
    ],
)
async def test_costs(stand: ReplicateStand, price: UserPrice | None, cost: Price) -> None:
    stand.will(Answer(input_tokens=12, output_tokens=3))
    route = stand.fork(price=price)

    completion = await stand.ask(asking(replicate.SLOW), route)

    assert GenaiPriceBook().price(route, completion.usage, model=completion.model, at=START) == cost


async def test_without_a_count_tokens_are_estimated_and_time_is_not(stand: ReplicateStand) -> None:
    stand.will(Answer("x" * 40, with_usage=False))
    route = stand.fork(price=UserPrice(usd_per_second="0.0014"))

    completion = await stand.ask(asking(), route)

    assert completion.usage == Usage(input_total=3, output_total=10, source="estimated", compute_us=810_000)
    assert GenaiPriceBook().price(route, completion.usage, model="", at=START) == Price(1_134_000, "user-set")


async def test_a_stream_times_the_answer_and_the_prediction_counts_it(stand: ReplicateStand) -> None:
    stand.will(Answer("Blå himmel.", input_tokens=12, output_tokens=3))

    completion = await stand.ask(asking(), stand.fork(stream=True))

    assert (completion.text, completion.first_token_ms) == ("Blå himmel.", 0)
    assert completion.usage == Usage(input_total=12, output_total=3, compute_us=810_000)
    (made, *looks) = stand.fake.asides
    assert ("prefer" in made.headers, made.headers["cancel-after"]) == (False, "30s")
    assert [look.method for look in looks] == ["GET", "GET"]


@pytest.mark.parametrize(
    ("stream", "read"),
    [
        ("https://stream.replicate.com/v1/x", True),
        ("https://streaming.api.replicate.com/x?y=z", True),
        ("http://stream.replicate.com/x", False),
        ("https://replicate.com.evil.example/x", False),
        ("https://evilreplicate.com/x", False),
        ("https://api.example/v1/stream", True),
        ("https://api.example:444/v1/stream", False),
        ("https://[::1/x", False),
        (None, False),
        (5, False),
    ],
)
def test_the_key_goes_to_replicate_only(stream: Any, read: bool) -> None:
    url = stream_url_of({"urls": {"stream": stream}}, base_url="https://api.example/v1")
    assert url == (stream if read else None)


@pytest.mark.parametrize("raw", [{}, {"urls": None}, {"urls": []}])
def test_a_model_that_does_not_stream(raw: dict[str, Any]) -> None:
    assert stream_url_of(raw, base_url="https://api.example/v1") is None
