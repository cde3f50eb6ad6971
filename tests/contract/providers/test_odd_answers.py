"""Answers that are odd and paid for: whatever can be read of them is delivered, and nothing is bought twice.

Each oddity was met in the world: in gateways, in servers of open models and in providers' own releases.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.providers.exchanges import chat_line, exchange
from tests.fakes.providers.scripted import Reply, events, whole

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def chat(content: Any = "Blue.", finish: Any = "stop", *, message: Any = None, **more: Any) -> dict[str, Any]:
    said = message if message is not None else {"role": "assistant", "content": content}
    choice = {"index": 0, "message": said, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": USAGE, **more}


def piece(content: Any = None, finish: Any = None, *, delta: Any = None, **more: Any) -> dict[str, Any]:
    said = delta if delta is not None else {} if content is None else {"content": content}
    return {"id": "c", "model": "m", "choices": [{"index": 0, "delta": said, "finish_reason": finish}], **more}


def written(body: Any, *changes: tuple[str, str]) -> str:
    """Return JSON with texts changed that no JSON encoder would write."""
    text = json.dumps(body)
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text


BLUE = json.dumps(chat())
WHOLE: dict[str, tuple[Reply, str]] = {
    "byte order mark": (whole(b"\xef\xbb\xbf" + BLUE.encode()), "Blue."),
    "space before it": (whole(b"\n \n" + BLUE.encode()), "Blue."),
    "NaN beside it": (whole(written(chat(x=1), ('"x": 1', '"x": [NaN, -Infinity]'))), "Blue."),
    "a number beyond floats": (whole(written(chat(x=1), ('"x": 1', '"x": 1e999'))), "Blue."),
    "half an emoji": (whole(written(chat("Blue X"), ("X", "\\ud83d"))), "Blue �"),
    "bytes that are no UTF-8": (whole(BLUE.encode().replace(b"Blue", b"Bl\xffue")), "Bl�ue."),
    "a line end in a text": (whole(written(chat("BlX"), ("X", "\n"))), "Bl\n"),
    "status 201": (whole(chat(), 201), "Blue."),
    "status 202": (whole(chat(), 202), "Blue."),
    "called plain text": (whole(chat(), content_type="text/plain"), "Blue."),
    "called nothing": (whole(chat(), content_type=""), "Blue."),
    "created as a float": (whole(chat(created=1788002702.5)), "Blue."),
    "id as a number": (whole(chat(id=7, model=None)), "Blue."),
    "finish as a number": (whole(chat(finish=0)), "Blue."),
    "parts as texts": (whole(chat(["Bl", None, "ue."])), "Blue."),
    "one part": (whole(chat({"type": "text", "text": "Blue."})), "Blue."),
    "parts with thoughts": (
        whole(chat([{"type": "thinking", "thinking": []}, {"type": "text", "text": "Blue."}])),
        "Blue.",
    ),
    "content as a number": (whole(chat(42)), "42"),
    "text in place of a message": (whole({"choices": [{"text": "Blue.", "finish_reason": "stop"}]}), "Blue."),
    "usage that is nonsense": (whole(chat(usage={"prompt_tokens": "many"})), "Blue."),
    "usage that is a list": (whole(chat(usage=[1])), "Blue."),
    "a stream that nobody asked for": (events(piece("Bl"), piece("ue."), piece("", "stop"), "[DONE]"), "Blue."),
    "an error that is null": (whole(chat(error=None)), "Blue."),
    "an error beside a finished answer": (whole(chat(error={"message": "cache is down"})), "Blue."),
}


@pytest.mark.parametrize("name", WHOLE)
async def test_an_odd_answer_is_delivered_and_bought_once(name: str) -> None:
    reply, text = WHOLE[name]

    came = await exchange([reply])

    assert (came.answers, len(came.sent)) == ([text], 1)


STREAMS: dict[str, tuple[list[Any], str]] = {
    "created as a float": ([piece("Blue.", created=1.5), piece("", "stop"), "[DONE]"], "Blue."),
    "no finish reason": ([piece("Bl"), piece("ue."), "[DONE]"], "Blue."),
    "no index": ([{"choices": [{"delta": {"content": "Blue."}}]}, piece("", "stop")], "Blue."),
    "index null": ([{"choices": [{"index": None, "delta": {"content": "Blue."}, "finish_reason": "stop"}]}], "Blue."),
    "content in parts": ([piece([{"type": "text", "text": "Bl"}]), piece("ue."), piece("", "stop")], "Blue."),
    "thoughts in parts": (
        [piece([{"type": "thinking", "thinking": "hm"}]), piece("Blue."), piece("", "stop")],
        "Blue.",
    ),
    "the delta is a message": ([{"choices": [{"message": {"content": "Blue."}, "finish_reason": "stop"}]}], "Blue."),
    "NaN": ([written(piece("Blue.", x=1), ('"x": 1', '"x": NaN')), piece("", "stop")], "Blue."),
    "an emoji in two halves": (
        [written(piece("A X"), ("X", "\\ud83d")), written(piece("X B"), ("X", "\\ude00")), piece("", "stop")],
        "A 😀 B",
    ),
    "half an emoji at the end": ([written(piece("A X"), ("X", "\\ud83d")), piece("", "length")], "A �"),
    "usage after the end": ([piece("Blue.", "stop"), {"choices": [], "usage": USAGE}, "[DONE]"], "Blue."),
    "choices null": ([{"choices": None}, piece("Blue.", "stop")], "Blue."),
    "no JSON between": ([piece("Blue."), "OPENROUTER PROCESSING", piece("", "stop")], "Blue."),
}


@pytest.mark.parametrize("name", STREAMS)
async def test_an_odd_stream_is_delivered_and_bought_once(name: str) -> None:
    told, text = STREAMS[name]

    came = await exchange([events(*told)], stream=True)

    assert (came.answers, len(came.sent)) == ([text], 1)


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", ""])
async def test_a_stream_counts_by_its_content(kind: str) -> None:
    came = await exchange([events(piece("Blue.", "stop"), "[DONE]", content_type=kind)], stream=True)

    assert (came.answers, len(came.sent)) == (["Blue."], 1)


FUNCTION = {"name": "look", "arguments": '{"a": 1}'}
CALLS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "custom": (
        {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}},
        "sql",
        {"input": "SELECT 1"},
    ),
    "no type, index null": ({"index": None, "id": "c", "function": FUNCTION}, "look", {"a": 1}),
    "arguments as an object": ({"id": 7, "function": {"name": "look", "arguments": {"a": 1}}}, "look", {"a": 1}),
    "no name": ({"id": "c", "function": {"arguments": "{}"}}, "", {}),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_tools_call_of_any_kind_is_delivered(name: str, stream: bool) -> None:
    call, tool, arguments = CALLS[name]
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    reply = (
        events(piece(delta=said), piece("", "tool_calls")) if stream else whole(chat(finish="tool_calls", message=said))
    )

    came = await exchange([reply], stream=stream)

    assert [(made.name, made.arguments) for made in came.completion.tool_calls] == [(tool, arguments)]
    assert (came.completion.finish_reason, len(came.sent)) == ("tool", 1)


async def test_pieces_of_calls_without_an_index_are_put_together() -> None:
    begun = {"index": None, "id": "a", "type": "function", "function": {"name": "look", "arguments": '{"a"'}}
    more = {"index": None, "function": {"arguments": ": 1}"}}
    other = {"id": "b", "function": {"name": "see", "arguments": "{}"}}
    told = [piece(delta={"tool_calls": [one]}) for one in (begun, more, other)]

    came = await exchange([events(*told, piece("", "tool_calls"))], stream=True)

    made = came.completion.tool_calls
    assert [(call.id, call.name, call.arguments) for call in made] == [("a", "look", {"a": 1}), ("b", "see", {})]


async def test_what_is_not_known_is_kept_as_it_came_and_told() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    body = chat([{"type": "text", "text": "Here."}, picture], new_field={"a": [1]})

    same = await exchange([whole(body)])
    other = await exchange([whole(body)], lines=[{"id": 1, "prompt": "hi"}], file_format="promptmill")

    assert json.loads(same.lines[0])["response"]["body"] == body
    assert other.answers == ["Here."]
    assert "image_url" in json.loads(other.lines[0])["notes"][0]


BROKEN: dict[str, tuple[Reply, bool]] = {
    "error in the choice": (
        whole({**chat(None, "error"), "choices": [{"error": {"code": 502}, "message": {}}]}),
        False,
    ),
    "finish says error": (whole(chat("The answer is", "error")), False),
    "finish says abort": (whole(chat("The answer is", "abort")), False),
    "no resources left": (whole(chat("The", "insufficient_system_resource")), False),
    "error beside half an answer": (whole(chat("The", None, error={"code": 502, "message": "gone"})), False),
    "error in place of an answer": (whole({"error": {"code": 503, "message": "busy"}}), False),
    "error object": (whole({"object": "error", "message": "busy", "type": "InternalServerError", "code": 500}), False),
    "base_resp": (whole({"choices": None, "base_resp": {"status_code": 1000, "status_msg": "unknown"}}), False),
    "error in mid-stream": (events(piece("The"), {"error": {"code": 502, "message": "gone"}}), True),
    "error with the last piece": (events(piece("The"), {**piece("", "error"), "error": {"code": 502}}, "[DONE]"), True),
    "error in a streamed choice": (
        events(piece("The"), {"choices": [{"index": 0, "error": {"code": 502}}]}, "[DONE]"),
        True,
    ),
    "finish says error in a stream": (events(piece("The"), piece("", "error"), "[DONE]"), True),
    "error as bare JSON": (
        Reply(
            b'data: {"choices": [{"delta": {"content": "T"}}]}\n\n{"error": {"message": "gone"}}\n',
            content_type="text/event-stream",
        ),
        True,
    ),
    "a stream that ends": (events(piece("The")), True),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_half_an_answer_is_asked_for_again(name: str) -> None:
    reply, stream = BROKEN[name]
    whole_answer = events(piece("Blue.", "stop"), "[DONE]") if stream else whole(chat())

    came = await exchange([reply, whole_answer], stream=stream)

    assert (came.answers, len(came.sent)) == (["Blue."], 2)


UNREADABLE: dict[str, Any] = {
    "no choices": {"choices": [], "usage": USAGE},
    "choices null": {"choices": None, "usage": USAGE},
    "no message": {"choices": [{"index": 0}], "usage": USAGE},
    "cut JSON that tells it": '{"usage": {"prompt_tokens": 10, "completion_tokens": 5}, "choices": [{"mess',
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_answer_that_nobody_can_read_is_asked_for_once_more_and_its_cost_is_kept(name: str) -> None:
    came = await exchange([whole(UNREADABLE[name])], provider="openai", model="gpt-6-luna")

    assert (came.codes, len(came.sent)) == (["malformed"], 2)
    assert [price.nano_usd for price in came.prices] == [3_500, 3_500]


async def test_an_answer_that_tells_nothing_has_an_unknown_cost() -> None:
    came = await exchange([whole("<html>"), whole(chat())])

    assert (came.answers, next(price.basis for price in came.prices)) == (["Blue."], "unknown")


async def test_a_prompt_that_was_filtered_is_an_answer_and_paid_for_once() -> None:
    told = [{"prompt_index": 0, "content_filter_results": {"violence": {"filtered": True, "severity": "high"}}}]

    came = await exchange([whole({"model": "m", "choices": [], "usage": USAGE, "prompt_filter_results": told})])

    assert (came.completion.finish_reason, came.completion.text, len(came.sent)) == ("filter", "", 1)


RESPONSE = {"id": "r", "object": "response", "status": "completed", "model": "m"}
MESSAGE = {"type": "message", "content": [{"type": "output_text", "text": "Blue."}]}


@pytest.mark.parametrize(
    "output",
    [
        [{"type": "reasoning", "summary": []}, MESSAGE],
        [{"type": "something_new", "content": 7}, MESSAGE],
        [{"type": "message", "content": "Blue."}],
        [
            {
                "type": "message",
                "content": [{"type": "new"}, {"type": "output_text", "text": "Blue.", "logprobs": [None]}],
            }
        ],
        [None, MESSAGE],
    ],
)
async def test_a_response_with_unknown_items_is_read(output: list[Any]) -> None:
    came = await exchange([whole({**RESPONSE, "output": output})], dialect="responses")

    assert (came.answers, len(came.sent)) == (["Blue."], 1)


async def test_a_response_whose_last_event_is_empty_is_put_together_from_its_items() -> None:
    done = {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE}
    last = {"type": "response.completed", "response": {**RESPONSE, "output": []}}

    came = await exchange([events(done, last)], dialect="responses", stream=True)

    assert (came.answers, len(came.sent)) == (["Blue."], 1)


async def test_a_response_that_failed_keeps_its_cost() -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    failed = {**RESPONSE, "status": "failed", "error": {"code": "server_error"}, "output": [], "usage": usage}

    came = await exchange([whole(failed)], provider="openai", model="gpt-6-luna", dialect="responses", attempts=2)

    assert [price.nano_usd for price in came.prices] == [3_500, 3_500]


CLAUDE = {"id": "m", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "stop_reason": "end_turn"}
TOLD = {"input_tokens": 10, "output_tokens": 5}
PARAMS: dict[str, Any] = {"model": "x", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
LINE = {"custom_id": "a", "params": PARAMS}


@pytest.mark.parametrize(
    ("content", "usage"),
    [
        ([{"type": "new_block", "x": 1}, {"type": "text", "text": "Blue."}], TOLD),
        (
            [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "Blue.", "citations": 7},
            ],
            TOLD,
        ),
        ("Blue.", TOLD),
        ([{"type": "text", "text": "Blue."}, None], {**TOLD, "cache_creation": None, "service_tier": None}),
        ([{"text": "Blue."}], {"input_tokens": 10.0, "output_tokens": "5"}),
    ],
)
async def test_a_message_with_odd_blocks_is_read(content: Any, usage: Any) -> None:
    reply = whole({**CLAUDE, "content": content, "usage": usage})

    came = await exchange([reply], lines=[LINE], provider="anthropic", file_format="anthropic")

    assert (came.answers, came.usage.output_total, len(came.sent)) == (["Blue."], 5, 1)


async def test_a_message_streamed_oddly_is_put_together() -> None:
    told = [
        {"type": "message_start", "message": {**CLAUDE, "stop_reason": None, "content": [], "usage": TOLD}},
        {"type": "content_block_start", "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": None, "delta": {"type": "text_delta", "text": "Blue"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta", "text": "."}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"x": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    ]

    came = await exchange([events(*told)], lines=[LINE], provider="anthropic", file_format="anthropic", stream=True)

    assert (came.answers, len(came.sent)) == (["Blue."], 1)
    assert came.completion.raw["content"][0]["citations"] == [{"x": 1}]


@pytest.mark.parametrize(
    "content",
    [
        [{"newBlock": {}}, {"text": "Blue."}],
        [{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "Blue."}],
        [{"citationsContent": {"content": [{"text": "Blue."}], "citations": []}}],
    ],
)
async def test_a_converse_answer_with_odd_blocks_is_read(content: Any) -> None:
    reply = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}

    came = await exchange([whole(reply)], provider="bedrock", model="eu.amazon.nova-lite-v1:0")

    assert (came.answers, len(came.sent)) == (["Blue."], 1)


VERTEX: dict[str, Any] = {
    "provider": "vertex",
    "model": "gemini-2.5-pro",
    "region": "global",
    "account": "my-project-1",
}


@pytest.mark.parametrize(
    "parts",
    [
        [{"newPart": {}}, {"text": "Blue."}],
        [{"text": "hm", "thought": True}, {"text": "Blue.", "thoughtSignature": "x"}],
        [{"text": "Blue."}, {"thoughtSignature": "x"}],
        [{"executableCode": {"code": "1"}}, {"text": "Blue."}, None],
    ],
)
async def test_a_gemini_answer_with_odd_parts_is_read(parts: Any) -> None:
    reply = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}, None]}

    came = await exchange([whole(reply)], **VERTEX)

    assert (came.answers, len(came.sent)) == (["Blue."], 1)


async def test_gemini_without_candidates_keeps_its_cost() -> None:
    usage = {"promptTokenCount": 1000, "totalTokenCount": 1300, "thoughtsTokenCount": 300}

    came = await exchange([whole({"usageMetadata": usage, "modelVersion": "gemini-2.5-pro"})], **VERTEX)

    assert (came.codes, [price.nano_usd for price in came.prices]) == (["malformed"], [4_250_000, 4_250_000])


async def test_an_embedding_without_places_is_read() -> None:
    line = {"custom_id": "a", "url": "/v1/embeddings", "body": {"model": "x", "input": ["a", "b"]}}
    reply = {"data": [{"embedding": [1, 2]}, {"embedding": [3.5, 4]}], "usage": {"prompt_tokens": 2.0}}

    came = await exchange([whole(reply)], lines=[line], dialect="embeddings")

    assert (came.completion.embeddings, came.usage.input_total) == (((1, 2), (3.5, 4)), 2)


FORMATS: dict[str, tuple[dict[str, Any], bytes]] = {
    "openai": ({"lines": [chat_line()]}, b'"finish_reason":"length"'),
    "anthropic": ({"lines": [LINE]}, b'"stop_reason":"max_tokens"'),
    "bedrock": (
        {"lines": [{"recordId": "a", "modelInput": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}}]},
        b'"stopReason":"max_tokens"',
    ),
    "promptmill": ({"lines": [{"prompt": "hi"}]}, b'"finish_reason":"length"'),
    "txt": ({"lines": [{"raw": b"hi"}]}, b"Half [finish: length]"),
    "csv": ({"lines": [{"raw": b"hi"}], "facts": {"delimiter": ",", "columns": ("prompt",)}}, b"answered,,length,"),
}


@pytest.mark.parametrize("name", FORMATS)
async def test_an_answer_that_was_cut_says_so_in_every_format(name: Any) -> None:
    given, told = FORMATS[name]

    came = await exchange([whole(chat("Half", "length"))], file_format=name, **given)

    assert told in came.lines[0]


@pytest.mark.parametrize("name", ["openai", "promptmill", "csv"])
async def test_an_answer_that_ended_for_an_unknown_reason_is_not_called_whole(name: Any) -> None:
    reply = whole({**CLAUDE, "stop_reason": "pause_turn", "content": [{"type": "text", "text": "Half"}], "usage": TOLD})

    came = await exchange([reply], provider="anthropic", file_format=name, **FORMATS[name][0])

    assert b"pause_turn" in came.lines[0] or b"paused this turn" in came.lines[0]


async def test_searches_that_a_line_may_ask_for_are_priced_by_the_call() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]
    line = {"custom_id": "a", "params": {**PARAMS, "tools": tools}}
    usage = {"input_tokens": 1000, "output_tokens": 100, "server_tool_use": {"web_search_requests": 3}}
    reply = whole({**CLAUDE, "content": [{"type": "text", "text": "Blue."}], "usage": usage})
    asked: dict[str, Any] = {"provider": "anthropic", "model": "claude-haiku-4-5", "file_format": "anthropic"}

    came = await exchange([reply], lines=[line], allow=["tools.web_search"], **asked)

    assert [price.nano_usd for price in came.prices] == [1000 * 1_000 + 100 * 5_000 + 3 * 10_000_000]


async def test_an_answer_in_sound_is_priced_as_sound() -> None:
    details = {"prompt_tokens_details": {"audio_tokens": 1000}, "completion_tokens_details": {"audio_tokens": 500}}
    reply = whole(chat(usage={"prompt_tokens": 1100, "completion_tokens": 600, **details}))
    line = chat_line(modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"})

    came = await exchange([reply], lines=[line], provider="openai", model="gpt-audio", allow=["audio", "modalities"])

    assert [price.nano_usd for price in came.prices] == [100 * 2_500 + 1000 * 32_000 + 100 * 10_000 + 500 * 64_000]
