"""NLP Cloud: one text in, one out, streamed between NUL bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from promptmill.domain.completion import CompletionRequest, Message, Text, Usage
from promptmill.domain.errors import ProviderError, RecordError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Route
from tests.contract.providers.conftest import Stand, local_settings, make_providers, nothing_sent
from tests.fakes.providers.behaviours import Answer, Break, Refuse, Reply
from tests.fakes.providers.nlp_cloud import NlpCloud
from tests.fakes.providers.server import FakeProvider

ROUTE = Route("r", "nlpcloud", "gpu/finetuned-llama-3-70b", key="nlpcloud-key")


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with FakeProvider(NlpCloud()) as fake:
        providers = make_providers(local_settings())
        yield Stand("nlpcloud", fake, providers, route=ROUTE)
        await providers.close()


def asking(*texts: str, **fields: Any) -> CompletionRequest:
    roles = ("user", "assistant") * 9
    messages = tuple(Message(role, (Text(text),)) for role, text in zip(roles, texts or ("Sky?",), strict=False))  # type: ignore[arg-type]
    return CompletionRequest(messages=messages, **fields)


async def test_a_text_and_its_answer(stand: Stand) -> None:
    stand.will(Answer("Blå.", input_tokens=6, output_tokens=2))

    completion = await stand.ask(asking(max_output_tokens=64, temperature=0.25, top_p=1.0, top_k=5, stop=("##",)))

    assert stand.fake.refused == []
    assert stand.fake.sent[0].path == "/v1/gpu/finetuned-llama-3-70b/generation"
    assert stand.fake.sent[0].body == {
        "text": "Sky?",
        "max_length": 64,
        "length_no_input": True,
        "end_sequence": "##",
        "remove_end_sequence": True,
        "remove_input": True,
        "temperature": 0.25,
        "top_p": 1.0,
        "top_k": 5,
    }
    assert (completion.text, completion.finish_reason) == ("Blå.", "unknown")
    assert completion.usage == Usage(input_total=6, output_total=2)


async def test_as_many_tokens_as_there_may_be_are_taken_for_too_few(stand: Stand) -> None:
    stand.will(Answer(output_tokens=20))
    assert (await stand.ask(asking(max_output_tokens=20))).finish_reason == "length"


async def test_a_conversation_stops_where_the_users_next_turn_would_begin(stand: Stand) -> None:
    await stand.ask(asking("Hi", "Hello.", "Sky?", system="Be brief."))

    body = stand.fake.sent[0].body
    assert body["text"] == "system: Be brief.\nuser: Hi\nassistant: Hello.\nuser: Sky?\nassistant:"
    assert body["end_sequence"] == "\nuser:"


@pytest.mark.parametrize(("field", "value"), [("seed", 0), ("json_object", True), ("stop", ("a", "b"))])
async def test_what_it_does_not_take_is_refused_by_name(stand: Stand, field: str, value: Any) -> None:
    with nothing_sent(stand), pytest.raises(RecordError) as caught:
        await stand.ask(asking(**{field: value}, refuse_hints=True))
    assert caught.value.field == {"json_object": "response_format"}.get(field, field)


@pytest.mark.parametrize("text", ["Blå himmel.", "日本の空は青い", '{"generated_text": 1}'])
async def test_a_stream(stand: Stand, text: str) -> None:
    stand.will(Answer(text))

    completion = await stand.ask(asking(), stand.fork(stream=True))

    assert stand.fake.refused == []
    assert (completion.text, completion.first_token_ms, completion.usage.source) == (text, 0, "estimated")


async def test_a_stream_of_json_pieces(stand: Stand) -> None:
    stand.will(Reply(200, b'{"generated_text": "Bl"}\0{"generated_text": "ue[DONE]"}\0'))
    assert (await stand.ask(asking(), stand.fork(stream=True))).text == "Blue"


@pytest.mark.parametrize(("how", "code"), [("error", "http_500"), ("cut", "connection_lost"), ("end", "stream_cut")])
async def test_a_stream_that_breaks(stand: Stand, how: Any, code: str) -> None:
    stand.will(Break(how))
    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(asking(), stand.fork(stream=True))
    assert (caught.value.code, caught.value.usage_unknown) == (code, True)


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        ("throttled", RetryLaterError),
        ("overloaded", RetryLaterError),
        ("unauthorized", RouteClosedError),
        ("out_of_money", RouteClosedError),
        ("bad_field", RecordRefusedError),
        ("too_long", RecordRefusedError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors(stand: Stand, trouble: Any, kind: type[ProviderError], stream: bool) -> None:
    stand.will(Refuse(trouble))
    with pytest.raises(kind) as caught:
        await stand.ask(asking(), stand.fork(stream=stream))
    assert not caught.value.usage_unknown


@pytest.mark.parametrize("model", ["async/gpu/x", "gpu/async/x", "../x", "a/b/c/d", "x?y", ""])
async def test_models_that_are_none(stand: Stand, model: str) -> None:
    with nothing_sent(stand), pytest.raises(RouteClosedError) as caught:
        await stand.ask(asking(), stand.fork(model=model))
    assert caught.value.code == "bad_model"
