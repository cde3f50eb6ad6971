"""Files that went wrong: every bad record has an error of its own, every good one is read."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import RecordError
from promptmill.domain.job_file import FileFacts, FileFormatName
from promptmill.domain.record import Failure, RawRecord
from promptmill.formats.file_format import format_named
from promptmill.formats.recognise import recognise
from promptmill.formats.staging import Gunzip
from tests.fakes.recipes import recipe
from tests.unit.formats.records import JOB, answered, cut, failed, prompt_of, read_file, rendered, split

JSON_FORMATS: tuple[FileFormatName, ...] = ("openai", "anthropic", "bedrock", "promptmill")


def line_of(file_format: str, prompt: str) -> dict[str, Any]:
    """The same prompt in any format of JSON lines."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": prompt}]}
    native = {"anthropic_version": "bedrock-2023-05-31", **body}
    lines: dict[str, dict[str, Any]] = {
        "openai": {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body},
        "anthropic": {"custom_id": "a", "params": body},
        "bedrock": {"recordId": "a", "modelInput": {"messages": [{"role": "user", "content": [{"text": prompt}]}]}},
        "native": {"recordId": "a", "modelInput": {k: v for k, v in native.items() if k != "model"}},
        "promptmill": {"id": "a", "prompt": prompt},
    }
    return lines[file_format]


def result(record: RawRecord, facts: FileFacts) -> str:
    """The prompt, or the error's code; checks that the errors say where."""
    if record.error is not None:
        return record.error.code
    try:
        return prompt_of(format_named(facts.format).parse(record, facts, recipe()))
    except RecordError as error:
        assert error.where == f"line {record.line}"  # noqa: PT017 (either is right)
        assert error.remedy  # noqa: PT017
        return error.code


@pytest.mark.parametrize("file_format", JSON_FORMATS)
def test_json_lines_with_everything_wrong(file_format: str) -> None:
    def good(prompt: str) -> bytes:
        return json.dumps(line_of(file_format, prompt), ensure_ascii=False).encode()

    other = "promptmill" if file_format == "openai" else "openai"
    lines = [
        (good("first") + b"\r", "first"),
        (b"", None),
        (b" \t\r", None),
        (b"null", "not_an_object"),
        (b"[1]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"-1e5", "not_an_object"),
        (b'{"custom_id": "x", "bo', "invalid_json"),
        (good("bad \xff byte").replace("ÿ".encode(), b"\xff"), "invalid_utf8"),
        (json.dumps(line_of(other, "mixed")).encode(), "other_dialect"),
        (good("x" * 2_000_000), "x" * 2_000_000),
        (good("doubled"), "doubled"),
        (good("doubled"), "doubled"),
        (good("日本語 عربي ß😀\u2028"), "日本語 عربي ß😀\u2028"),
        (b"{}", "missing_field"),
        (b'{"a":' * 50_000, "invalid_json"),
        (good("no line end"), "no line end"),
    ]
    data = b"\xef\xbb\xbf" + b"\n".join(line for line, _ in lines)
    records, facts = read_file(data, "a.jsonl")
    assert facts.format == file_format
    expected = [(n, wanted) for n, (_, wanted) in enumerate(lines, 1) if wanted is not None]
    assert [(record.line, result(record, facts)) for record in records] == expected
    assert [record.index for record in records] == list(range(len(expected)))


def test_places_in_bad_json_are_named_and_nothing_is_quoted() -> None:
    records, facts = read_file(
        '{"prompt": "ok"}\n{"prompt": "größe secret" oops}\n{"prompt": "secret'.encode(), "a.jsonl"
    )
    errors = []
    for record in records[1:]:
        with pytest.raises(RecordError) as caught:
            format_named("promptmill").parse(record, facts, recipe())
        errors.append(caught.value)
    assert [error.where for error in errors] == ["line 2", "line 3"]
    assert "column 27" in errors[0].reason
    assert "it ends early" in errors[1].reason
    assert not any("secret" in error.message for error in errors)


def test_the_same_prompt_in_any_format_is_the_same_request() -> None:
    requests: list[CompletionRequest] = []
    for file_format in (*JSON_FORMATS, "native"):
        data = json.dumps(line_of(file_format, "Wie? 日本"), ensure_ascii=False).encode()
        records, facts = read_file(data, "a.jsonl")
        requests.append(format_named(facts.format).parse(records[0], facts, recipe(max_output_tokens=9)))
    for name, text in (("a.txt", "Wie? 日本"), ("a.csv", "text\nWie? 日本\n")):
        records, facts = read_file(text.encode(), name)
        requests.append(format_named(facts.format).parse(records[0], facts, recipe(max_output_tokens=9)))
    assert {prompt_of(request) for request in requests} == {"Wie? 日本"}
    assert {request.max_output_tokens for request in requests} == {9}
    assert all(not request.native and not request.notes for request in requests)


def test_a_gzip_that_ends_early_answers_what_is_whole() -> None:
    lines = b"".join(b'{"id": %d, "prompt": "what is %d times %d?"}\n' % (n, n, n * 7919) for n in range(3000))
    gunzip = Gunzip()
    packed = gzip.compress(lines)[:-3000]
    assert recognise(packed, name="a.jsonl.gz", size=len(packed)).staging == "gunzip"
    data = b"".join(gunzip.feed(packed))
    mark, note = gunzip.finish()
    data += mark
    assert "ends early" in note
    facts = recognise(data, name="a.jsonl", size=len(data)).facts
    chunks, facts = cut(data, facts)
    results = [result(record, facts) for record in split(data, chunks, facts)]
    assert len(results) > 1000
    assert results[-1] == "file_cut_off"
    assert results[:-1] == [f"what is {n} times {n * 7919}?" for n in range(len(results) - 1)]


@given(st.binary(max_size=80) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_request_or_an_error_in_any_format(data: bytes) -> None:
    for name in (*JSON_FORMATS, "txt", "csv"):
        file_format, facts = format_named(name), FileFacts(name, delimiter=",", columns=("text", "x"))
        record = RawRecord(0, 7, data)
        result(record, facts)
        outcome = failed(record, Failure("record", "c", "m"))
        file_format.render(outcome, facts, recipe(), JOB).decode()
        again = file_format.render_error(record, facts).rstrip(b"\r\n")
        assert again == data.rstrip(b"\r\n") or not data or (name == "csv" and b"'" in again)  # a formula


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("model", "messages", "system", "max_tokens", "stream", "stop", "tools", "tool_choice", "response_format", "n",
         "temperature", "output_config", "inferenceConfig", "toolConfig", "outputConfig", "prompt", "json_schema")  # fmt: skip
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"])},
    optional={"content": values, "tool_calls": values, "tool_call_id": values},
)
BODY = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=3) | values}, optional=dict.fromkeys(NAMES[2:], values)
)


@given(BODY, values)
@settings(max_examples=120, deadline=None)
def test_bodies_of_any_shape_are_a_request_or_an_error(body: Any, beside: Any) -> None:
    for wrapper, name in (("body", "openai"), ("params", "anthropic"), ("modelInput", "bedrock")):
        data = json.dumps({wrapper: body, "custom_id": beside}).encode()
        for kind in ("detect", "native", "converse"):
            try:
                format_named(name).parse(RawRecord(0, 1, data), FileFacts(name), recipe(invocation_type=kind))  # type: ignore[arg-type]
            except RecordError as error:
                assert error.where == "line 1"  # noqa: PT017 (either is right)


def test_values_are_no_deeper_than_the_code_that_walks_them() -> None:
    def nested(depth: int) -> str:
        return "[" * depth + "]" * depth

    def own(value: str) -> bytes:
        return b'{"prompt": "x", "json_schema": {"a": %b}}' % value.encode()

    facts = FileFacts("promptmill")
    assert result(RawRecord(0, 1, own(nested(90))), facts) == "x"
    assert result(RawRecord(0, 1, own(nested(100))), facts) == "invalid_json"
    assert result(RawRecord(0, 1, own("[" + "[]," * 5000 + "[]]")), facts) == "x"
    call = {"id": "c", "function": {"name": "f", "arguments": '{"a": ' + nested(200) + "}"}}
    messages = [{"role": "assistant", "tool_calls": [call]}]
    line = json.dumps({"body": {"messages": messages}}).encode()
    assert result(RawRecord(0, 1, line), FileFacts("openai")) == "invalid_tool_arguments"
    deep = answered(RawRecord(0, 1, b'{"prompt": "x"}'), nested(2000))
    assert rendered("promptmill", deep, answer_schema={"type": "array"})["json"] is None


def test_a_file_of_nothing_but_bad_lines_can_still_be_answered_line_by_line() -> None:
    records, facts = read_file(b'{"prompt": 5}\nnull\n', "a.jsonl")
    assert [result(record, facts) for record in records] == ["invalid_field", "not_an_object"]
