"""Promptmill's own lines."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from promptmill.domain.completion import JsonSchema, Message, Text, ToolCall
from promptmill.domain.record import Failure, Price
from tests.unit.formats.records import answered, attempt, failed, parsed, prompt_of, raw, refused, rendered

SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}}


def test_every_field() -> None:
    request = parsed(
        "promptmill",
        {
            "id": 5,
            "prompt": "Sky colour?",
            "system": "Be brief.",
            "model": "any",
            "max_output_tokens": 5,
            "temperature": 0,
            "top_p": 1,
            "top_k": 3,
            "seed": 7,
            "stop": ".",
            "json_schema": SCHEMA,
        },
    )
    assert (prompt_of(request), request.system, request.model) == ("Sky colour?", "Be brief.", "any")
    assert (request.max_output_tokens, request.temperature, request.top_p, request.top_k) == (5, 0, 1, 3)
    assert (request.seed, request.stop, request.json_schema) == (7, (".",), JsonSchema(SCHEMA))
    assert (request.wire_format, request.native) == ("", {})


def test_messages() -> None:
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A"},
    ]
    request = parsed("promptmill", {"messages": messages}, prompt="never used {{ text }}")
    assert request.system == "S"
    assert request.messages == (Message("user", (Text("U"),)), Message("assistant", (Text("A"),)))


def test_the_recipes_template_and_the_lines_other_keys() -> None:
    line = {"id": 9, "prompt": "{{ tone }} fine", "tone": "{{ text }}", "stars": 4.5, "tags": ["a"], "none": None}
    template = "{{ tone }}/{{stars}}/{{ tags }}/{{ id }}/{{ text }}/{{ prompt }}/{{ none }}/{ }"
    line["none"] = ""
    request = parsed("promptmill", line, prompt=template)
    assert prompt_of(request) == '{{ text }}/4.5/["a"]/9/{{ tone }} fine/{{ tone }} fine//{ }'


@pytest.mark.parametrize(
    ("line", "changes", "code", "field"),
    [
        ({"id": 1}, {}, "missing_field", "prompt"),
        ({"id": 1, "question": "x"}, {}, "no_prompt_column", ""),
        ({"question": "x"}, {"prompt": "{{ answer }}"}, "unknown_column", "answer"),
        ({"text": " ", "b": "c"}, {"prompt": "Say: {{ text }}"}, "empty_prompt", ""),
        ({"prompt": 5}, {}, "invalid_field", "prompt"),
        ({"prompt": " \n"}, {}, "empty_prompt", ""),
        ({"prompt": "x", "temprature": 1}, {}, "unsupported_field", "temprature"),
        ({"prompt": "x", "tools": []}, {"prompt": "{{ text }}"}, "unsupported_field", "tools"),
        ({"prompt": "x", "api_base": "https://example.com"}, {}, "unsupported_field", "api_base"),
        ({"prompt": "x"}, {"prompt": "{{ tone }}"}, "unknown_column", "tone"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "y"}]}, {}, "invalid_field", "messages"),
        ({"messages": []}, {}, "missing_field", "messages"),
        ({"prompt": "x", "json_schema": "y"}, {}, "invalid_field", "json_schema"),
        ({"prompt": "x"}, {"model": "line"}, "model_missing", "model"),
    ],
)
def test_what_is_wrong_is_refused_by_name(line: Any, changes: dict[str, Any], code: str, field: str) -> None:
    error = refused("promptmill", line, **changes)
    assert (error.code, error.field) == (code, field)


def test_rows_are_asked_through_the_template() -> None:
    alpaca = {"instruction": "Translate", "input": "", "output": "bonjour"}
    assert prompt_of(parsed("promptmill", alpaca, prompt="{{ Instruction }}: {{input}}")) == "Translate: "
    bench = {"question_id": 81, "turns": ["Compose", "Rewrite"], "meta": {"Kind": ["a"]}}
    template = "{{ turns.0 }} {{ turns[1] }} {{ meta.Kind.0 }} {{ turns }}"
    assert prompt_of(parsed("promptmill", bench, prompt=template)) == 'Compose Rewrite a ["Compose","Rewrite"]'
    assert refused("promptmill", bench, prompt="{{ turns.2 }}").code == "unknown_column"


def test_rows_without_a_template_are_asked_by_their_column() -> None:
    assert prompt_of(parsed("promptmill", {" Text ": "great", "label": 1})) == "great"
    assert parsed("promptmill", {"text": "great", "model": "gpt-4", "temperature": "hot"}).model == ""
    assert (
        parsed("promptmill", {"text": "great", "model": "gpt-4"}, model="line", models={"gpt-4": "r"}).model == "gpt-4"
    )


def test_columns_stand_in_the_result() -> None:
    found = rendered("promptmill", answered(raw({"id": 7, "question": "4?", "answer": "4", "n": None})))
    assert (found["id"], found["question"], found["input_answer"], found["answer"]) == (7, "4?", "4", "Blue")
    assert list(found)[:3] == ["question", "input_answer", "n"]
    found = rendered("promptmill", answered(raw({"prompt": "x", "category": "maths", "max_tokens": 5})))
    assert found["category"] == "maths"
    assert found.keys().isdisjoint({"prompt", "max_tokens", "input_model"})
    line = {"messages": [{"role": "user", "content": "x"}], "source": "kb", "tools": [], "user": "u"}
    found = rendered("promptmill", answered(raw(line)))
    assert (found["source"], found["user"]) == ("kb", "u")
    assert "tools" not in found


def test_lines_with_messages_are_bodies_of_the_chat_api() -> None:
    line = {"messages": [{"role": "user", "content": "x"}], "parallel_tool_calls": False, "max_tokens": 9, "k": 1}
    request = parsed("promptmill", line)
    assert (request.native, request.max_output_tokens) == ({"parallel_tool_calls": False}, 9)
    whole = parsed("promptmill", {**line, "model": "m", "user": "u"})
    assert whole.native == {"parallel_tool_calls": False, "user": "u", "k": 1}


def test_bodies_of_other_apis_are_known_by_their_blocks() -> None:
    messages = {"system": [{"type": "text", "text": "S"}], "max_tokens": 5}
    request = parsed("promptmill", {**messages, "messages": [{"role": "user", "content": "x"}]})
    assert (request.wire_format, request.max_output_tokens) == ("anthropic-messages", 5)
    request = parsed("promptmill", {"messages": [{"role": "user", "content": [{"text": "x"}]}]})
    assert request.wire_format == "bedrock-converse"


def test_two_systems_are_one_too_many() -> None:
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    assert parsed("promptmill", {"messages": messages[1:], "system": "T"}).system == "T"
    error = refused("promptmill", {"messages": messages, "system": "T"})
    assert (error.code, error.field) == ("invalid_field", "system")


def test_an_answer() -> None:
    found = rendered("promptmill", answered(raw({"id": {"a": 1}, "prompt": "x"}), notes=("n",)))
    assert found == {
        "id": {"a": 1},
        "record": 3,
        "status": "answered",
        "answer": "Blue",
        "finish_reason": "stop",
        "model": "gpt-6-luna-2026-10-01",
        "route": "openai/gpt-6-luna",
        "usage": {
            "input_tokens": 21,
            "cache_read_tokens": 5,
            "cache_write_tokens": 2,
            "output_tokens": 9,
            "reasoning_tokens": 7,
            "source": "reported",
        },
        "cost_usd": "0.000123450",
        "notes": ["n"],
    }


def test_structured_answers_are_parsed_where_a_schema_was_asked_for() -> None:
    own = raw({"prompt": "x", "json_schema": SCHEMA})
    assert rendered("promptmill", answered(own, '{"colour": "blue"}'))["json"] == {"colour": "blue"}
    plain = raw({"prompt": "x"})
    assert rendered("promptmill", answered(plain, "[1]"), answer_schema=SCHEMA)["json"] == [1]
    assert rendered("promptmill", answered(plain, "no JSON"), answer_schema=SCHEMA)["json"] is None
    assert "json" not in rendered("promptmill", answered(plain, "[1]"))


def test_tool_calls_and_the_model_asked_for() -> None:
    outcome = answered(raw({"prompt": "x"}), "", finish="tool", tool_calls=(ToolCall("c", "f", {"a": 1}),))
    found = rendered("promptmill", msgspec.structs.replace(outcome, requested_model="gpt-9"))
    assert found["tool_calls"] == [{"id": "c", "name": "f", "arguments": {"a": 1}}]
    assert (found["finish_reason"], found["requested_model"]) == ("tool", "gpt-9")


@pytest.mark.parametrize(("kind", "status"), [("record", "failed"), ("worker", "failed"), ("stopped", "stopped")])
def test_failures(kind: Any, status: str) -> None:
    found = rendered("promptmill", failed(raw(b"{broken"), Failure(kind, "c", "m", "f")))
    assert (found["id"], found["record"], found["status"]) == (None, 3, status)
    assert found["error"] == {"code": "c", "message": "m", "field": "f"}
    assert (found["model"], found["usage"], found["cost_usd"]) == (None, None, "0.000000000")


def test_an_unknown_cost_is_null_not_nothing() -> None:
    unknown = msgspec.structs.replace(attempt(), price=Price(None, "unknown"))
    found = rendered("promptmill", failed(raw({"id": 1}), Failure("provider", "c", "m"), attempt(), unknown))
    assert found["cost_usd"] is None


@pytest.mark.parametrize("row", [{"a": None, "b": "x"}, {"A ": None, " b": "x"}, {"a": "", "b": "x"}])
def test_a_null_cell_of_a_row_is_an_empty_one(row: dict[str, Any]) -> None:
    assert prompt_of(parsed("promptmill", row, prompt="{{ a }}-{{ b }}")) == "-x"


@pytest.mark.parametrize("row", [{"a": None}, {"a": " ", "c": 1}, {"a": None, "prompt": None}])
def test_rows_in_which_all_that_the_prompt_names_is_empty_cost_nothing(row: dict[str, Any]) -> None:
    assert refused("promptmill", row, prompt="Is this good? {{ a }}").code == "empty_prompt"
    assert refused("promptmill", {"prompt": None, "n": 1}).code == "empty_prompt"
