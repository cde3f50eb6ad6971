"""Every shape that botocore's model allows inside a Converse request goes out as it came, or is refused by its name.

Samples are made of the service's own model, with every member of every structure; of a union, each member in turn.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
import pytest

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import RecordError
from promptmill.domain.job_file import FileFacts
from promptmill.domain.record import RawRecord
from promptmill.formats.file_format import format_named
from promptmill.wire.bedrock_converse.request_body import write_request
from promptmill.wire.line_fields import refuse_unallowed
from tests.fakes.recipes import recipe

TEXT = "a text"
NUMBERS: dict[str, Any] = {"integer": 3, "long": 3, "float": 0.5, "double": 0.5, "boolean": True}
RECIPE = recipe(attachments="pass")
MAX_DEPTH = 12


@cache
def converse() -> Any:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    return model.operation_model("Converse").input_shape


def samples(shape: Any, depth: int = 0) -> Iterator[Any]:
    """Yield values of a shape: one with every member, or one for each member of a union."""
    if depth > MAX_DEPTH:
        return
    match shape.type_name:
        case "structure" if getattr(shape, "is_tagged_union", False):
            for name, member in shape.members.items():
                yield from ({name: value} for value in samples(member, depth + 1))
        case "structure" if not shape.members:
            yield {"key": TEXT} if getattr(shape, "is_document_type", False) else {}
        case "structure":
            yield from _structures(shape, depth)
        case "list":
            yield from ([value] for value in samples(shape.member, depth + 1))
        case "map":
            yield {"key": next(samples(shape.value, depth + 1))}
        case "blob":
            yield base64.b64encode(b"bytes").decode()
        case "string":
            yield shape.enum[0] if shape.enum else TEXT
        case kind:
            yield NUMBERS[kind]


def _structures(shape: Any, depth: int) -> Iterator[dict[str, Any]]:
    """Yield a structure with every member, and for each value of a member one with what is required beside it."""
    options = {name: list(samples(member, depth + 1)) for name, member in shape.members.items()}
    options = {name: values for name, values in options.items() if values}
    whole = {name: values[0] for name, values in options.items()}
    least = {name: value for name, value in whole.items() if name in shape.required_members}
    yield whole
    for name, values in options.items():
        yield from (least | {name: value} for value in values)


def block_shapes() -> Any:
    return converse().members["messages"].member.members["content"].member


def read(body: dict[str, Any]) -> CompletionRequest:
    line = json.dumps({"recordId": "1", "modelInput": body}).encode()
    request = format_named("bedrock").parse(RawRecord(0, 1, line), FileFacts("bedrock"), RECIPE)
    refuse_unallowed(request, {"urls"}, where="line 1", inside="modelInput")
    return request


def sent_or_refused(body: dict[str, Any], part: str) -> dict[str, Any] | None:
    """Return the body that goes out, or None if the line is refused by the name of a field in that part."""
    try:
        return write_request(read(body))
    except RecordError as refusal:
        error = refusal
    assert error.field.startswith(f"modelInput.{part}"), error
    assert error.code in ("unsupported_field", "invalid_field", "invalid_attachment", "missing_field")
    return None


def in_body(block: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [block, {"text": "hi"}]}], "inferenceConfig": {"maxTokens": 5}}


BLOCKS = list(samples(block_shapes()))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: json.dumps(block)[:80])
def test_every_block_goes_out_as_it_came_or_is_refused_by_name(block: dict[str, Any]) -> None:
    sent = sent_or_refused(in_body(block), "messages[0]")
    assert sent is None or sent["messages"][0]["content"][0] == block


@pytest.mark.parametrize("block", list(samples(converse().members["system"].member)), ids=str)
def test_every_block_of_the_system_goes_out_as_it_came(block: dict[str, Any]) -> None:
    sent = sent_or_refused(in_body({"text": "yo"}) | {"system": [block]}, "system")
    assert sent is None or sent["system"] == [block]


@pytest.mark.parametrize("settings", list(samples(converse().members["inferenceConfig"])), ids=str)
def test_every_setting_goes_out_as_it_came(settings: dict[str, Any]) -> None:
    sent = sent_or_refused(in_body({"text": "yo"}) | {"inferenceConfig": settings}, "inferenceConfig")
    assert sent is not None
    assert sent["inferenceConfig"] == settings


@pytest.mark.parametrize("tools", list(samples(converse().members["toolConfig"])), ids=str)
def test_every_tool_and_choice_goes_out_as_it_came_or_is_refused_by_name(tools: dict[str, Any]) -> None:
    sent = sent_or_refused(in_body({"text": "yo"}) | {"toolConfig": tools}, "tool")
    assert sent is None or sent["toolConfig"] == tools


def test_there_are_samples_of_every_kind() -> None:
    assert {next(iter(block)) for block in BLOCKS} == set(block_shapes().members)
