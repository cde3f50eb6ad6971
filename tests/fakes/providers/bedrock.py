"""Bedrock's Converse, from the server's side: botocore's service model and the signature's specification."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from functools import cache
from typing import Any
from urllib.parse import quote, unquote

import botocore.session
import msgspec
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator

from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire

ACCESS_KEY, SECRET_KEY, TOKEN, REGION = "AKIDFAKE", "fake/secret+key", "fake-session-token", "eu-west-1"
_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use", "filter": "content_filtered"}
_REQUEST_ID = {"x-amzn-requestid": "req_fake_1"}
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=(\S+), Signature=(\S+)"
)

_TROUBLES: dict[Trouble, tuple[int, str, str]] = {
    "throttled": (429, "ThrottlingException", "Too many requests"),
    "overloaded": (503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
    "unauthorized": (403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    "out_of_money": (400, "ServiceQuotaExceededException", "on purpose"),
    "too_long": (400, "ValidationException", "Input is too long for requested model."),
    "no_such_model": (400, "ValidationException", "The provided model identifier is invalid."),
    "bad_field": (400, "ValidationException", "temperature is not supported with this model"),
}


class Bedrock:
    def refusal_of(self, sent: Sent) -> Wire | None:
        model = re.fullmatch(r"/model/([^/]+)/converse", sent.path)
        if model is None:
            return _error(404, "UnknownOperationException", "")
        if wrong := _signature_problem(sent):
            return _error(403, "InvalidSignatureException", wrong)
        if wrong := _body_problem(unquote(model[1]), sent.body):
            return _error(400, "ValidationException", wrong)
        return None

    def refusal(self, behaviour: Refuse) -> Wire:
        wire = _error(*_TROUBLES[behaviour.trouble])
        return msgspec.structs.replace(wire, headers={**wire.headers, **behaviour.headers})

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        del sent  # Converse does not say which model answered
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
        return Wire(200, {**body, "usage": _usage(behaviour)} if behaviour.with_usage else body, _REQUEST_ID)


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
def _input_shape() -> StructureShape:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    shape = model.operation_model("Converse").input_shape
    assert shape is not None
    return shape


def _body_problem(model: str, body: dict[str, Any]) -> str | None:
    try:
        parameters = _parsed({"modelId": model, **body}, _input_shape(), "")
    except ValueError as error:
        return str(error)
    report = ParamValidator().validate(parameters, _input_shape())
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


def _signature_problem(sent: Sent) -> str | None:
    """By the specification, not by botocore: https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html."""
    found = _AUTHORIZATION.fullmatch(sent.headers.get("authorization", ""))
    if found is None:
        return "Authorization header requires a signature"
    access_key, day, region, service, names, signature = found.groups()
    if (access_key, region, service) != (ACCESS_KEY, REGION, "bedrock"):
        return f"credential should be scoped to {ACCESS_KEY}, {REGION} and bedrock"
    if sent.headers.get("x-amz-security-token") != TOKEN or not {"host", "x-amz-date"} <= set(names.split(";")):
        return "the session token, the host and the date must be signed"
    return None if hmac.compare_digest(signature, _signature(sent, day, names)) else "the signature does not match"


def _signature(sent: Sent, day: str, names: str) -> str:
    headers = "".join(f"{name}:{sent.headers[name].strip()}\n" for name in names.split(";"))
    path = quote(sent.path, safe="/-_.~")
    hashed = hashlib.sha256(sent.data).hexdigest()
    canonical = f"POST\n{path}\n\n{headers}\n{names}\n{hashed}"
    scope = f"{day}/{REGION}/bedrock/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", sent.headers["x-amz-date"], scope, digest])
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, REGION, "bedrock", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
