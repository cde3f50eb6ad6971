"""Every field of Gemini's request types has a word: carried, or refused by its name.

``gemini_types.json`` holds the names of the fields of google-genai's own types. That SDK pins an older tenacity than
Promptmill needs, so that it cannot be installed beside it. To write the file anew, install it elsewhere and print
``sorted(field.alias or name for name, field in getattr(types, T).model_fields.items())`` for each type there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptmill.cli.field_table import field_table
from promptmill.domain.errors import RecordError
from promptmill.domain.job_file import FileFacts
from promptmill.domain.record import RawRecord
from promptmill.formats.file_format import format_named
from promptmill.wire.field_rules import BODY_RULES
from promptmill.wire.line_fields import refuse_unallowed
from promptmill.wire.vertex_gemini import write_request
from tests.fakes.recipes import recipe

TYPES: dict[str, list[str]] = json.loads(Path(__file__).with_name("gemini_types.json").read_text())["types"]
READ_OF_CONFIG = {
    *("maxOutputTokens", "temperature", "topP", "topK", "seed", "stopSequences"),
}
OF_THE_SDK = {
    *("automaticFunctionCalling", "httpOptions", "shouldReturnHttpResponse"),
    *("automaticContinuation", "continuationToken", "generationOutputConfig"),
}
"""What the SDK's own client is told. As fields of a line they are unknown, and refused."""
GENERATE = BODY_RULES["vertex-generate"]


def sent_or_refused(body: dict[str, Any]) -> dict[str, Any] | RecordError:
    data = json.dumps({"key": "a", "request": body}).encode()
    given = recipe(attachments="pass")
    try:
        request = format_named("vertex").parse(RawRecord(0, 1, data), FileFacts("vertex"), given)
        refuse_unallowed(request, {"urls"}, where="line 1", inside="request")
        return write_request(request)
    except RecordError as refusal:
        return refusal


def asking(**part: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": "hi"}, *([part] if part else [])]}]}


def test_every_setting_has_a_rule() -> None:
    decided = {*GENERATE["generationConfig"], *READ_OF_CONFIG}
    assert sorted({*TYPES["GenerationConfig"]} - decided) == []


def test_every_field_beside_the_settings_has_a_word() -> None:
    words = {word.name for word in field_table("vertex-generate")}
    beside = {*TYPES["GenerateContentConfig"]} - {*TYPES["GenerationConfig"]} - {*GENERATE["generationConfig"]}
    assert sorted(beside - words - OF_THE_SDK) == []


def carried(sent: Any, name: str, value: Any) -> bool:
    """Return whether the value goes out under its name, at any depth."""
    if isinstance(sent, dict):
        return sent.get(name) == value or any(carried(item, name, value) for item in sent.values())
    return isinstance(sent, list) and any(carried(item, name, value) for item in sent)


PARTS = [(name, {"text": "yo", name: {"key": "v"}}) for name in TYPES["Part"] if name not in ("text", "thought")]
FULL: list[tuple[str, dict[str, Any]]] = [
    *PARTS,
    *((name, {"functionCall": {"name": "f", "args": {}, name: "v"}}) for name in TYPES["FunctionCall"]),
    *((name, {"functionResponse": {"name": "f", "response": {}, name: "v"}}) for name in TYPES["FunctionResponse"]),
    *((name, {"inlineData": {"mimeType": "audio/wav", "data": "AAAA", name: "v"}}) for name in TYPES["Blob"]),
]


@pytest.mark.parametrize(("name", "part"), FULL)
def test_every_field_of_a_part_is_carried_or_refused_by_name(name: str, part: dict[str, Any]) -> None:
    body = asking(**part)
    if "name" in part.get("functionResponse", ()):
        call = {"functionCall": {"name": part["functionResponse"]["name"], "id": part["functionResponse"].get("id")}}
        body["contents"].insert(0, {"role": "model", "parts": [call]})
    found = sent_or_refused(body)
    if isinstance(found, RecordError):
        assert name in found.field or found.code in ("invalid_field", "missing_field"), found
    else:
        value = part.get(name) or next(item[name] for item in part.values() if isinstance(item, dict) and name in item)
        assert carried(found, name, value), found


@pytest.mark.parametrize("name", TYPES["Tool"])
def test_every_tool_is_the_users_own_or_has_to_be_allowed(name: str) -> None:
    found = sent_or_refused(asking() | {"tools": [{name: [{"name": "f"}] if name == "functionDeclarations" else {}}]})
    assert isinstance(found, RecordError) is (name != "functionDeclarations")


@pytest.mark.parametrize("name", TYPES["FunctionDeclaration"])
def test_every_field_of_a_function_is_carried_or_refused_by_name(name: str) -> None:
    value: Any = {"type": "object"} if "arameters" in name or "esponse" in name else "v"
    function = {"name": "f", name: value}
    found = sent_or_refused(asking() | {"tools": [{"functionDeclarations": [function]}]})
    if isinstance(found, RecordError):
        assert name in found.field
    else:
        assert str(value["type"] if isinstance(value, dict) else value) in json.dumps(found).lower()


OF_STREAMS = {"streamFunctionCallArguments"}
"""A batch has no streams that anybody reads."""


@pytest.mark.parametrize("name", sorted({*TYPES["FunctionCallingConfig"]} - OF_STREAMS))
def test_every_choice_of_functions_is_carried(name: str) -> None:
    config = {"mode": "ANY", name: ["f"] if name == "allowedFunctionNames" else "ANY" if name == "mode" else True}
    tools = [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]
    found = sent_or_refused(asking() | {"tools": tools, "toolConfig": {"functionCallingConfig": config}})
    assert isinstance(found, RecordError) or carried(found, name, config[name]), found
