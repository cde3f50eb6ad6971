"""Every adapter of a provider does these things alike."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote

import msgspec
import pytest

from promptmill.domain.completion import (
    Attachment,
    CompletionRequest,
    Message,
    Text,
    ToolCall,
    ToolChoice,
    Usage,
)
from promptmill.domain.errors import ProviderError, RecordError, RecordRefusedError, RetryLaterError, RouteClosedError
from tests.contract.providers.conftest import EVERYTHING, PNG, WEATHER, Stand, asking, nothing_sent
from tests.fakes.providers.behaviours import Answer, CutOff, Finish, Hang, Refuse, Reply, Trouble


async def test_a_good_answer(stand: Stand, plain: CompletionRequest) -> None:
    stand.will(Answer(text="Blå.", input_tokens=21, output_tokens=9))

    completion = await stand.ask(plain)

    assert (completion.text, completion.finish_reason) == ("Blå.", "stop")
    assert (completion.usage.input_total, completion.usage.output_total) == (21, 9)
    assert completion.usage.source == "reported"
    assert completion.request_id == "req_fake_1"
    assert completion.raw
    assert stand.fake.refused == []


async def test_input_total_includes_the_cache_whatever_the_provider_counts(
    stand: Stand, plain: CompletionRequest
) -> None:
    stand.will(Answer(input_tokens=1000, cache_read=600, cache_write=300, output_tokens=50, reasoning=40))

    usage = (await stand.ask(plain)).usage

    written = 0 if stand.name == "vertex" else 300  # Gemini counts none
    assert (usage.input_total, usage.cache_read, usage.cache_write, usage.output_total) == (1000, 600, written, 50)
    assert usage.reasoning == (0 if stand.name == "bedrock" else 40)


@pytest.mark.parametrize("finish", ["stop", "length", "filter"])
async def test_finish_reasons(stand: Stand, plain: CompletionRequest, finish: Finish) -> None:
    stand.will(Answer(text="As far as it", finish=finish))

    completion = await stand.ask(plain)

    assert (completion.finish_reason, completion.text) == (finish, "As far as it")
    assert completion.raw_finish


async def test_everything_a_request_can_hold_is_carried(stand: Stand) -> None:
    stand.will(Answer(finish="tool", tool_call=("weather", {"place": "東京"})))

    completion = await stand.ask(EVERYTHING)

    assert stand.fake.refused == []
    assert completion.tool_calls == (ToolCall("call_1", "weather", {"place": "東京"}),)
    assert completion.finish_reason == "tool"
    sent = stand.fake.sent[0].data.decode()
    for carried in ("Be brief.", "What is this?", PNG, "I look.", "call_0", "Kyōto", "rain", "And now?", "##", "0.9"):
        assert carried in sent


@pytest.mark.parametrize("mode", ["auto", "required", "none"])
async def test_tool_choices(stand: Stand, mode: str) -> None:
    request = asking(tools=(WEATHER,), tool_choice=msgspec.convert({"mode": mode}, ToolChoice))
    if (stand.name, mode) == ("bedrock", "none"):
        with nothing_sent(stand), pytest.raises(RecordError, match="tool_choice"):
            await stand.ask(request)
    else:
        await stand.ask(request)
        assert stand.fake.refused == []


@pytest.mark.parametrize("name", ["temperature", "top_p", "max_output_tokens", "stop", "system", "tools"])
async def test_what_is_not_asked_for_is_not_sent(stand: Stand, name: str) -> None:
    await stand.ask(CompletionRequest(messages=(Message("user", (Text("Hi"),)),)))

    body = stand.fake.sent[0].body
    assert name not in body
    assert not {"inferenceConfig", "toolConfig", "outputConfig", "generationConfig"} & body.keys()


@pytest.mark.parametrize(
    "text", ["", "\x00\x1f", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "\U0001d518" * 700_000]
)
async def test_any_text_arrives_as_it_is(stand: Stand, text: str) -> None:
    """Some APIs take no blank text: a word stands for it there."""
    await stand.ask(asking(Text(text)))

    sent = _strings(stand.fake.sent[0].body)
    assert text in sent or (not text and sent.count("(empty)") == 1)


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in _strings(item)]


REFUSED = {
    "openai": {"top_k": 5},
    "compatible": {"top_k": 5},
    "anthropic": {"seed": 0, "json_object": True},
    "anthropic-aws": {"seed": 0, "json_object": True},
    "bedrock": {"seed": 0, "json_object": True},
    "bedrock-claude": {"seed": 0, "json_object": True},
    "vertex": {},
    "vertex-claude": {"seed": 0, "json_object": True},
}


async def test_what_the_protocol_cannot_carry_is_refused_by_name_and_not_sent(stand: Stand) -> None:
    for field, value in REFUSED[stand.name].items():
        with nothing_sent(stand), pytest.raises(RecordError) as caught:
            await stand.ask(asking(**{field: value}, refuse_hints=True))
        assert caught.value.code == "unsupported_field"
        assert caught.value.field == {"json_object": "response_format"}.get(field, field)


async def test_a_seed_never_keeps_a_record_from_another_provider(stand: Stand) -> None:
    await stand.ask(asking(seed=7))
    assert stand.fake.refused == []


async def test_a_lone_surrogate_fails_the_record_alone(stand: Stand) -> None:
    with nothing_sent(stand), pytest.raises(RecordError) as caught:
        await stand.ask(asking(Text("\ud800")))
    assert caught.value.code == "unencodable"


ATTACHMENTS = {
    "document": Attachment("document", "messages[0].content[1]", "application/x-sh", data="JVBERi0="),
    "audio": Attachment("audio", "messages[0].content[1]"),
    "foreign": Attachment("image", "messages[0].content[1]", wire_format="", native={"type": "image"}),
    "ftp": Attachment("image", "messages[0].content[1]", url="ftp://host/a.png"),
    "file": Attachment("image", "messages[0].content[1]", url="file:///etc/passwd"),
}


@pytest.mark.parametrize("kind", ATTACHMENTS)
async def test_an_attachment_that_cannot_be_carried_is_refused_by_its_place(stand: Stand, kind: str) -> None:
    with nothing_sent(stand), pytest.raises(RecordError) as caught:
        await stand.ask(asking(Text("What is this?"), ATTACHMENTS[kind]))
    assert (caught.value.code, caught.value.field) == ("unsupported_field", "messages[0].content[1]")


async def test_a_data_url_is_carried_as_the_protocols_own_image(stand: Stand) -> None:
    await stand.ask(asking(Text("What?"), Attachment("image", "messages[0]", url=f"data:image/png;base64,{PNG}")))

    assert stand.fake.refused == []
    assert PNG in stand.fake.sent[0].data.decode()


async def test_a_linked_image_is_carried_where_the_provider_fetches(stand: Stand) -> None:
    request = asking(Text("What?"), Attachment("image", "messages[0]", url="https://example.com/a.png"))
    if stand.name == "bedrock":
        with nothing_sent(stand), pytest.raises(RecordError):
            await stand.ask(request)
    else:
        await stand.ask(request)
        assert stand.fake.refused == []


PROTOCOLS = {
    "openai": "openai-chat",
    "compatible": "openai-chat",
    "anthropic": "anthropic-messages",
    "anthropic-aws": "anthropic-messages",
    "bedrock": "bedrock-converse",
    "bedrock-claude": "anthropic-messages",
    "vertex": "vertex-generate",
    "vertex-claude": "anthropic-messages",
}
NATIVES = {
    "openai-chat": ("logit_bias", {"7": 1}),
    "bedrock-converse": ("additionalModelRequestFields", {"min_p": 0.1}),
    "vertex-generate": ("toolConfig", {"functionCallingConfig": {"mode": "AUTO"}}),
}
HINTS: dict[str, dict[str, object]] = {
    "openai-chat": {"prompt_cache_key": "job-7"},
    "anthropic-messages": {"service_tier": "auto", "cache_control": {"type": "ephemeral"}},
    "bedrock-converse": {"serviceTier": {"type": "default"}},
    "vertex-generate": {"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]},
}


@pytest.mark.parametrize("wire_format", NATIVES)
async def test_native_fields_go_to_their_own_protocol_only(stand: Stand, wire_format: str) -> None:
    name, value = NATIVES[wire_format]
    request = asking(wire_format=wire_format, native={name: value})
    if wire_format == PROTOCOLS[stand.name]:
        await stand.ask(request)
        assert stand.fake.sent[0].body[name] == value
        assert stand.fake.refused == []
    else:
        with nothing_sent(stand), pytest.raises(RecordError) as caught:
            await stand.ask(request)
        assert (caught.value.code, caught.value.field) == ("unsupported_field", name)


@pytest.mark.parametrize("wire_format", HINTS)
async def test_hints_of_another_protocol_are_left_out_or_refused(stand: Stand, wire_format: str) -> None:
    request = asking(wire_format=wire_format, native=HINTS[wire_format])
    await stand.ask(request)
    assert stand.fake.refused == []
    if wire_format != PROTOCOLS[stand.name]:
        assert stand.fake.sent[0].body.keys().isdisjoint(HINTS[wire_format])
        with nothing_sent(stand), pytest.raises(RecordError) as caught:
            await stand.ask(msgspec.structs.replace(request, refuse_hints=True))
        assert caught.value.field in HINTS[wire_format]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "the-dearest"),
        ("modelId", "the-dearest"),
        ("stream", True),
        ("stream_options", {}),
        ("messages", []),
        ("mcp_servers", [{"url": "https://evil.example"}]),
        ("service_tier", "priority"),
        ("speed", "fast"),
        ("serviceTier", {"type": "priority"}),
        ("performanceConfig", {"latency": "optimized"}),
    ],
)
async def test_a_line_cannot_set_model_stream_address_or_price(stand: Stand, name: str, value: object) -> None:
    with nothing_sent(stand), pytest.raises(RecordError) as caught:
        await stand.ask(asking(wire_format=PROTOCOLS[stand.name], native={name: value}))
    assert caught.value.field == name


async def test_the_lines_model_is_ignored(stand: Stand) -> None:
    await stand.ask(asking(model="the-dearest"))

    assert "the-dearest" not in stand.fake.sent[0].path + stand.fake.sent[0].data.decode()


async def test_the_operators_fields_are_merged_and_win(stand: Stand) -> None:
    place = {"bedrock": "inferenceConfig", "vertex": "generationConfig"}.get(stand.name)
    extra = {"temperature": 0.25}
    await stand.ask(asking(temperature=0.5), stand.fork(body={place: extra} if place else extra))

    body = stand.fake.sent[0].body
    assert stand.fake.refused == []
    assert (body[place] if place else body)["temperature"] == 0.25


@pytest.mark.parametrize("name", ["model", "stream", "messages"])
async def test_the_operators_fields_may_not_break_the_call(stand: Stand, plain: CompletionRequest, name: str) -> None:
    with nothing_sent(stand), pytest.raises(RouteClosedError) as caught:
        await stand.ask(plain, stand.fork(body={name: True}))
    assert caught.value.code == "route_body"


OUTCOMES: dict[Trouble, type[Exception]] = {
    "throttled": RetryLaterError,
    "overloaded": RetryLaterError,
    "unauthorized": RouteClosedError,
    "out_of_money": RouteClosedError,
    "no_such_model": RouteClosedError,
    "too_long": RecordRefusedError,
    "bad_field": RecordRefusedError,
}


@pytest.mark.parametrize("trouble", OUTCOMES)
async def test_errors_are_classified(stand: Stand, plain: CompletionRequest, trouble: Trouble) -> None:
    stand.will(Refuse(trouble))

    with pytest.raises(OUTCOMES[trouble]) as caught:
        await stand.ask(plain)

    error = caught.value
    assert isinstance(error, RetryLaterError | RouteClosedError | RecordRefusedError)
    assert not error.usage_unknown
    assert error.status >= 400
    assert error.code
    assert stand.fake.billed == []
    assert (error.code == "context_length_exceeded") == (trouble == "too_long")


async def test_the_request_id_of_an_error_is_kept(stand: Stand, plain: CompletionRequest) -> None:
    stand.will(Refuse("overloaded"))

    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(plain)
    assert caught.value.request_id == ("" if stand.name.startswith("vertex") else "req_fake_1")  # Google tells none


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "Sun, 22 Nov 2026 12:01:30 GMT"}, 90.0),
        ({"Retry-After": "Sun, 22 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "1500", "Retry-After": "7"}, 1.5),
        ({"Retry-After": "soon"}, None),
    ],
)
async def test_retry_after_in_each_form(
    stand: Stand, plain: CompletionRequest, headers: dict[str, str], seconds: float | None
) -> None:
    stand.will(Refuse("throttled", headers))

    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(plain)
    assert caught.value.retry_after_s == seconds


async def test_limits_are_told_by_refusals(stand: Stand, plain: CompletionRequest) -> None:
    stand.will(Refuse("throttled", {"X-RateLimit-Limit-Requests": "60", "x-ratelimit-remaining-requests": "0"}))

    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(plain)
    assert caught.value.told is not None
    assert [(limit.counted, limit.limit, limit.remaining) for limit in caught.value.told()] == [("requests", 60, 0)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>ok</html>",
        b'{"half":',
        b"null",
        b"[]",
        b"{}",
        b'{"choices": [], "content": 1}',
        b"\xff\xfe",
        b"[" * 9999,
    ],
    ids=range(9),
)
async def test_a_200_that_is_no_answer_may_have_been_charged(
    stand: Stand, plain: CompletionRequest, body: bytes
) -> None:
    stand.will(Reply(200, body))

    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(plain)
    assert (caught.value.code, caught.value.usage_unknown, caught.value.status) == ("malformed", True, 200)


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ({"code": 429, "message": "upstream is busy"}, RetryLaterError, 429),
        ({"code": "insufficient_quota", "message": "m"}, RouteClosedError, 500),
        ("the model is gone", RetryLaterError, 500),
    ],
    ids=["status", "code", "words"],
)
async def test_a_gateways_error_in_a_200_is_an_error(
    stand: Stand, plain: CompletionRequest, error: object, kind: type[ProviderError], status: int
) -> None:
    stand.will(Reply(200, msgspec.json.encode({"error": error})))
    wanted, seen = (kind, status) if PROTOCOLS[stand.name] == "openai-chat" else (RetryLaterError, 200)

    with pytest.raises(wanted) as caught:
        await stand.ask(plain)
    assert (type(caught.value), caught.value.status) == (wanted, seen)


@pytest.mark.parametrize(
    "model", ["anthropic.vendor/model:free", "arn:aws:bedrock:eu-west-1:1:inference-profile/anthropic.b-c_d~e f%2F?"]
)
async def test_a_models_name_goes_out_unharmed(stand: Stand, plain: CompletionRequest, model: str) -> None:
    await stand.ask(plain, stand.fork(model=model))

    (sent,) = stand.fake.sent
    assert stand.fake.refused == []
    assert f"/{model}" in unquote(sent.path) or sent.body["model"] == model


async def test_a_missing_usage_is_estimated_and_says_so(stand: Stand) -> None:
    stand.will(Answer(text="x" * 41, with_usage=False))

    completion = await stand.ask(asking(Text("y" * 80)))

    assert completion.usage == Usage(input_total=20, output_total=11, source="estimated")


@pytest.mark.parametrize("status", [502, 504, 524])
async def test_a_gateways_page_leaves_the_usage_unknown(stand: Stand, plain: CompletionRequest, status: int) -> None:
    stand.will(Reply(status, b"<html>Bad gateway</html>"))

    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(plain)
    assert (caught.value.usage_unknown, caught.value.code) == (True, f"http_{status}")


async def test_a_redirect_is_not_followed(stand: Stand, plain: CompletionRequest) -> None:
    stand.will(Reply(307, b"", {"Location": f"{stand.fake.url}/elsewhere"}))

    with pytest.raises(RouteClosedError):
        await stand.ask(plain)
    assert len(stand.fake.sent) == 1


@pytest.mark.parametrize("in_body", [False, True])
async def test_a_connection_that_breaks_leaves_the_usage_unknown_and_is_not_repeated(
    stand: Stand, plain: CompletionRequest, *, in_body: bool
) -> None:
    await stand.ask(plain)
    stand.will(CutOff(in_body=in_body))

    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(plain)

    assert (caught.value.code, caught.value.usage_unknown) == ("connection_lost", True)
    assert len(stand.fake.sent) == 2
    assert len(stand.fake.billed) == 2


async def test_an_attempt_ends_after_the_routes_time(stand: Stand, plain: CompletionRequest) -> None:
    stand.will(Hang())

    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(plain, stand.fork(timeout_s=0.05))
    assert (caught.value.code, caught.value.usage_unknown) == ("timeout", True)


async def test_a_refused_connection_was_not_charged(stand: Stand, plain: CompletionRequest) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()

    with pytest.raises(RetryLaterError) as caught:
        await stand.ask(plain, stand.fork(base_url=f"http://127.0.0.1:{port}"))
    assert (caught.value.code, caught.value.usage_unknown) == ("connection", False)


@pytest.mark.parametrize("in_flight", [20])
async def test_calls_run_side_by_side_over_one_session(stand: Stand, plain: CompletionRequest, in_flight: int) -> None:
    answers = await asyncio.gather(*(stand.ask(plain) for _ in range(in_flight)))

    assert [answer.text for answer in answers] == ["Blue."] * in_flight
    assert len(stand.fake.billed) == in_flight
