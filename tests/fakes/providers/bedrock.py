"""Bedrock from the server's side: botocore's service model decides what Converse is, the vendors' types the rest."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import unquote

import botocore.session
import msgspec
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator

from tests.fakes.providers import bedrock_native
from tests.fakes.providers.aws_frames import event, exception
from tests.fakes.providers.aws_signature import ACCESS_KEY, REGION, SECRET_KEY, TOKEN, signature_problem
from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire

__all__ = ["ACCESS_KEY", "REGION", "SECRET_KEY", "TOKEN", "Bedrock"]
_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use", "filter": "content_filtered"}
_REQUEST_ID = {"x-amzn-requestid": "req_fake_1"}
_PATH = re.compile(r"/model/([^/]+)/(converse|converse-stream|invoke|invoke-with-response-stream)")

_TROUBLES: dict[Trouble, tuple[int, str, str]] = {
    "throttled": (429, "ThrottlingException", "Too many requests"),
    "overloaded": (503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
    "unauthorized": (403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "out_of_money": (400, "ServiceQuotaExceededException", "on purpose"),
    "too_long": (400, "ValidationException", "Input is too long for requested model."),
    "no_such_model": (400, "ValidationException", "The provided model identifier is invalid."),
    "bad_field": (400, "ValidationException", "temperature is not supported with this model"),
    "filtered": (400, "ValidationException", "Output blocked by content filtering policy"),
}


class Bedrock:
    def refusal_of(self, sent: Sent) -> Wire | None:
        found = _PATH.fullmatch(sent.path)
        if found is None:
            return _error(404, "UnknownOperationException", "")
        if wrong := signature_problem(sent, "bedrock"):
            return _error(403, "InvalidSignatureException", wrong)
        model, operation = unquote(found[1]), found[2]
        native = operation.startswith("invoke")
        wrong = bedrock_native.problem(model, sent) if native else body_problem(model, sent.body, operation)
        return _error(400, "ValidationException", wrong) if wrong else None

    def refusal(self, behaviour: Refuse) -> Wire:
        wire = _error(*_TROUBLES[behaviour.trouble])
        return msgspec.structs.replace(wire, headers={**wire.headers, **behaviour.headers})

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        model, operation = _path_of(sent)
        error = exception("throttlingException", "Too many tokens")
        if operation.startswith("invoke"):
            body, headers, blocks = bedrock_native.answer(model, behaviour, sent)
            stream = blocks if operation == "invoke-with-response-stream" else ()
            return Wire(200, body, {**_REQUEST_ID, **headers}, stream, error)
        body = _converse(behaviour)
        blocks = tuple(_converse_events(behaviour)) if operation == "converse-stream" else ()
        return Wire(200, body, _REQUEST_ID, blocks, error)


def _path_of(sent: Sent) -> tuple[str, str]:
    found = _PATH.fullmatch(sent.path)
    assert found is not None
    return unquote(found[1]), found[2]


def _converse(behaviour: Answer) -> dict[str, Any]:
    """Converse does not say which model answered."""
    content: list[dict[str, Any]] = [{"reasoningContent": {"reasoningText": {"text": "hm"}}}]
    content.append({"text": behaviour.text})
    if behaviour.tool_call:
        name, arguments = behaviour.tool_call
        content.append({"toolUse": {"toolUseId": "call_1", "name": name, "input": arguments}})
    body = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _FINISH[behaviour.finish],
        "metrics": {"latencyMs": 412},
    }
    return {**body, "usage": _usage(behaviour)} if behaviour.with_usage else body


def _converse_events(behaviour: Answer) -> Iterator[bytes]:
    yield event("messageStart", {"role": "assistant", "p": "ab"})
    yield event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}})
    yield event("contentBlockStop", {"contentBlockIndex": 0})
    half = len(behaviour.text) // 2
    for piece in (behaviour.text[:half], behaviour.text[half:]):
        yield event("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": piece}})
    yield event("contentBlockStop", {"contentBlockIndex": 1})
    if behaviour.tool_call:
        yield from _tool_events(*behaviour.tool_call)
    yield event("messageStop", {"stopReason": _FINISH[behaviour.finish]})
    usage = {"usage": _usage(behaviour)} if behaviour.with_usage else {}
    yield event("metadata", {**usage, "metrics": {"latencyMs": 412}})


def _tool_events(name: str, arguments: dict[str, Any]) -> Iterator[bytes]:
    start = {"toolUse": {"toolUseId": "call_1", "name": name}}
    yield event("contentBlockStart", {"contentBlockIndex": 2, "start": start})
    written = msgspec.json.encode(arguments).decode()
    for piece in (written[:3], written[3:]):
        yield event("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": piece}}})
    yield event("contentBlockStop", {"contentBlockIndex": 2})


def _usage(answer: Answer) -> dict[str, Any]:
    """Input excludes the cache."""
    return {
        "inputTokens": answer.input_tokens - answer.cache_read - answer.cache_write,
        "cacheReadInputTokens": answer.cache_read,
        "cacheWriteInputTokens": answer.cache_write,
        "outputTokens": answer.output_tokens,
        "totalTokens": answer.input_tokens + answer.output_tokens,
    }


def _error(status: int, code: str, message: str) -> Wire:
    return Wire(
        status, {"message": message}, {**_REQUEST_ID, "x-amzn-errortype": f"{code}:http://internal.amazon.com/"}
    )


@cache
def _input_shape(operation: str) -> StructureShape:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    name = {"converse": "Converse", "converse-stream": "ConverseStream"}[operation]
    shape = model.operation_model(name).input_shape
    assert shape is not None
    return shape


def body_problem(model: str, body: dict[str, Any], operation: str) -> str | None:
    shape = _input_shape(operation)
    try:
        parameters = _parsed({"modelId": model, **body}, shape, "")
    except ValueError as error:
        return str(error)
    report = ParamValidator().validate(parameters, shape)
    return report.generate_report() if report.has_errors() else None


def _parsed(value: Any, shape: Shape, place: str) -> Any:
    """A JSON body as the parameters that botocore would have made it of; unknown members are errors."""
    if getattr(shape, "is_document_type", False):
        return value
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        if unknown := value.keys() - shape.members.keys():
            raise ValueError(f"{place}: unknown members {sorted(unknown)}")
        return {name: _parsed(item, shape.members[name], f"{place}.{name}") for name, item in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_parsed(item, shape.member, f"{place}[]") for item in value]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {name: _parsed(item, shape.value, f"{place}.{name}") for name, item in value.items()}
    return _decoded(value, place) if shape.type_name == "blob" else value


def _decoded(value: Any, place: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError) as error:
        raise ValueError(f"{place}: not base64") from error
