"""Vertex AI from the server's side: Gemini, embeddings and Claude; names as in google-genai 3.4.0's types."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tests.fakes.clock import START
from tests.fakes.providers import anthropic
from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire
from tests.fakes.providers.google_tokens import GoogleTokenServer

API_KEY = "AIza-fake-express-key"
GEMINI_KEY = "AIza-fake-gemini-key"
PROJECT, LOCATION = "project-1", "europe-west4"
_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "tool": "STOP", "filter": "SAFETY"}
_PATH = re.compile(
    r"/v1/(projects/project-1/locations/europe-west4/)?"
    r"(?:publishers/(google|anthropic)/models|endpoints)/([^/:]+):(\w+)(\?alt=sse)?"
)
_TROUBLES: dict[Trouble, tuple[int, str, str, str]] = {
    "throttled": (429, "RESOURCE_EXHAUSTED", "", "Resource exhausted. Please try again later."),
    "overloaded": (503, "UNAVAILABLE", "", "The model is overloaded."),
    "unauthorized": (403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED", "Permission denied on resource project."),
    "out_of_money": (403, "PERMISSION_DENIED", "BILLING_DISABLED", "This API method requires billing to be enabled."),
    "too_long": (
        400,
        "INVALID_ARGUMENT",
        "",
        "The input token count (9) exceeds the maximum number of tokens allowed (8).",
    ),
    "no_such_model": (
        404,
        "NOT_FOUND",
        "",
        "Publisher Model was not found or your project does not have access to it.",
    ),
    "bad_field": (400, "INVALID_ARGUMENT", "", "Unable to submit request because of the temperature."),
    "filtered": (400, "INVALID_ARGUMENT", "", "The prompt was blocked."),
}


class _Strict(Struct, forbid_unknown_fields=True, rename="camel"):
    pass


class _Blob(_Strict):
    mime_type: Annotated[str, Meta(pattern="^[a-z]+/[a-z0-9.+-]+$")]
    data: str


class _File(_Strict):
    mime_type: Annotated[str, Meta(pattern="^[a-z]+/[a-z0-9.+-]+$")]
    file_uri: str


class _Call(_Strict):
    name: str
    args: dict[str, Any]
    id: str = ""


class _Response(_Strict):
    name: str
    response: dict[str, Any]
    id: str = ""


class _Part(_Strict):
    text: str | None = None
    inline_data: _Blob | None = None
    file_data: _File | None = None
    function_call: _Call | None = None
    function_response: _Response | None = None


class _Content(_Strict):
    role: Literal["user", "model"]
    parts: Annotated[list[_Part], Meta(min_length=1)]


class _System(_Strict):
    parts: list[_Part]
    role: str = ""


class _Config(_Strict):
    max_output_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: float | None = None
    top_k: float | None = None
    seed: int | None = None
    candidate_count: int | None = None
    stop_sequences: Annotated[list[str], Meta(max_length=5)] | None = None
    response_mime_type: Literal["application/json", "text/plain"] | None = None
    response_json_schema: dict[str, Any] | None = None
    thinking_config: dict[str, Any] | None = None


class _Function(_Strict):
    name: str
    parameters_json_schema: dict[str, Any]
    description: str = ""


class _Tools(_Strict):
    function_declarations: list[_Function]


class _Calling(_Strict):
    mode: Literal["AUTO", "ANY", "NONE"]
    allowed_function_names: list[str] = []


class _ToolConfig(_Strict):
    function_calling_config: _Calling


class _Generate(_Strict):
    contents: Annotated[list[_Content], Meta(min_length=1)]
    system_instruction: _System | None = None
    generation_config: _Config | None = None
    tools: list[_Tools] = []
    tool_config: _ToolConfig | None = None
    labels: dict[str, str] = {}
    safety_settings: list[dict[str, str]] = []


class _Instance(_Strict):
    content: Annotated[str, Meta(min_length=1)]
    task_type: str = ""
    title: str = ""


class _Parameters(_Strict):
    auto_truncate: bool
    output_dimensionality: Annotated[int, Meta(ge=1)] | None = None


class _Predict(_Strict):
    instances: Annotated[list[_Instance], Meta(min_length=1, max_length=250)]
    parameters: _Parameters


class _EmbedContent(_Strict):
    content: _System
    embed_content_config: _Parameters


_BODIES: dict[str, type[Struct]] = {
    "generateContent": _Generate,
    "streamGenerateContent": _Generate,
    "predict": _Predict,
    "embedContent": _EmbedContent,
}


class Vertex:
    def __init__(self) -> None:
        self.tokens = GoogleTokenServer(now=START)

    def aside(self, sent: Sent) -> Wire | None:
        return self.tokens.aside(sent)

    def refusal_of(self, sent: Sent) -> Wire | None:
        found = _PATH.fullmatch(sent.path)
        if found is None:
            return _error(404, "NOT_FOUND", "", f"no {sent.path}")
        if wrong := self._stranger(sent, is_express=not found[1]):
            return _error(401, "UNAUTHENTICATED", "", wrong)
        wrong = _claude_problem(sent, found[4]) if found[2] == "anthropic" else _problem(sent, found[4], found[5])
        return _error(400, "INVALID_ARGUMENT", "", wrong) if wrong else None

    def _stranger(self, sent: Sent, *, is_express: bool) -> str | None:
        if is_express:
            return None if sent.headers.get("x-goog-api-key") == API_KEY else "API key not valid."
        token = sent.headers.get("authorization", "").removeprefix("Bearer ")
        is_good = token in self.tokens.live and token.startswith("access")
        return None if is_good else "Request had invalid authentication credentials."

    def refusal(self, behaviour: Refuse) -> Wire:
        wire = _error(*_TROUBLES[behaviour.trouble])
        return msgspec.structs.replace(wire, headers=behaviour.headers)

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        found = _PATH.fullmatch(sent.path)
        assert found is not None
        model, verb = found[3], found[4]
        if found[2] == "anthropic":
            return _claude(behaviour, model, verb)
        match verb:
            case "predict":
                return _predictions(behaviour, len(sent.body["instances"]))
            case "embedContent":
                return Wire(200, {"embedding": {"values": [0.5, -0.25]}, "usageMetadata": _counts(behaviour)})
        error = msgspec.json.encode(_body(429, "RESOURCE_EXHAUSTED", "", "Resource exhausted."))
        blocks = tuple(_chunks(behaviour, model)) if verb == "streamGenerateContent" else ()
        return Wire(200, _gemini(behaviour, model), {}, blocks, b"data: " + error + b"\r\n\r\n")


class Gemini(Vertex):
    """The Gemini API: the same bodies, at another place, with a key. ``labels`` are the other one's alone."""

    _HERE = re.compile(r"/v1beta/models/([^/:]+):(generateContent|streamGenerateContent)(\?alt=sse)?")

    def aside(self, sent: Sent) -> Wire | None:
        del sent
        return None

    def refusal_of(self, sent: Sent) -> Wire | None:
        found = self._HERE.fullmatch(sent.path)
        if found is None:
            return _error(404, "NOT_FOUND", "", f"no {sent.path}")
        if sent.headers.get("x-goog-api-key") != GEMINI_KEY or "authorization" in sent.headers:
            return _error(400, "INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid. Please pass a valid API key.")
        wrong = "Unknown name labels" if "labels" in sent.body else _problem(sent, found[2], found[3])
        return _error(400, "INVALID_ARGUMENT", "", wrong) if wrong else None

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        there = f"/v1/publishers/google{sent.path.removeprefix('/v1beta')}"
        return super().answer(behaviour, msgspec.structs.replace(sent, path=there))


def _problem(sent: Sent, verb: str, alt: str | None) -> str | None:
    if verb not in _BODIES or (verb == "streamGenerateContent") != bool(alt):
        return f"no {verb}"
    try:
        body = msgspec.convert(sent.body, _BODIES[verb])
    except msgspec.ValidationError as error:
        return f"Invalid JSON payload received. {error}"
    config = body.generation_config if isinstance(body, _Generate) else None
    if config and config.response_json_schema and config.response_mime_type != "application/json":
        return "responseJsonSchema needs responseMimeType application/json"
    return None


def _claude_problem(sent: Sent, verb: str) -> str | None:
    body = sent.body
    if (verb == "streamRawPredict") != bool(body.get("stream")) or verb not in ("rawPredict", "streamRawPredict"):
        return "stream and streamRawPredict go together"
    if body.get("anthropic_version") != "vertex-2023-10-16" or "model" in body:
        return "anthropic_version is wanted, and no model"
    return anthropic.body_problem({**body, "model": "m"}, also=frozenset({"anthropic_version"}))


def _claude(behaviour: Answer, model: str, verb: str) -> Wire:
    body = anthropic.message(behaviour, model)
    blocks = tuple(map(anthropic.sse, anthropic.events(behaviour, body))) if verb == "streamRawPredict" else ()
    return Wire(200, body, {"request-id": "req_fake_1"}, blocks, anthropic.sse(anthropic.ERROR_EVENT))


def _predictions(behaviour: Answer, texts: int) -> Wire:
    counts = {"statistics": {"token_count": behaviour.input_tokens / texts, "truncated": False}}
    told = counts if behaviour.with_usage else {}
    return Wire(200, {"predictions": [{"embeddings": {"values": [float(n), 1.5], **told}} for n in range(texts)]})


def _counts(behaviour: Answer) -> dict[str, Any]:
    """Thoughts come on top of the candidates' tokens; what is 0 is left out, as proto3 does."""
    counts = {
        "promptTokenCount": behaviour.input_tokens,
        "candidatesTokenCount": behaviour.output_tokens - behaviour.reasoning,
        "thoughtsTokenCount": behaviour.reasoning,
        "cachedContentTokenCount": behaviour.cache_read,
        "totalTokenCount": behaviour.input_tokens + behaviour.output_tokens,
        "trafficType": "ON_DEMAND",
    }
    return {name: count for name, count in counts.items() if count}


def _gemini(behaviour: Answer, model: str) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": "hm", "thought": True}, {"text": behaviour.text}]
    if behaviour.tool_call:
        name, arguments = behaviour.tool_call
        parts.append({"functionCall": {"id": "call_1", "name": name, "args": arguments}})
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": _FINISH[behaviour.finish]}
    body = {"candidates": [candidate], "modelVersion": f"{model}-001", "responseId": "req_fake_1"}
    return {**body, "usageMetadata": _counts(behaviour)} if behaviour.with_usage else body


def _chunks(behaviour: Answer, model: str) -> list[bytes]:
    whole = _gemini(behaviour, model)
    thought, said, *rest = whole["candidates"][0]["content"]["parts"]
    half = len(said["text"]) // 2
    pieces = [[thought], [{"text": said["text"][:half]}], [{"text": said["text"][half:]}, *rest]]
    named = {"modelVersion": whole["modelVersion"], "responseId": whole["responseId"]}
    chunks: list[dict[str, Any]] = [
        {
            "candidates": [{"content": {"role": "model", "parts": parts}}],
            "usageMetadata": {"promptTokenCount": 1},
            **named,
        }
        for parts in pieces
    ]
    for chunk in chunks[: None if not behaviour.with_usage else 0]:
        del chunk["usageMetadata"]
    chunks[-1]["candidates"][0]["finishReason"] = _FINISH[behaviour.finish]
    chunks[-1] |= {"usageMetadata": whole["usageMetadata"]} if behaviour.with_usage else {}
    return [b"data: " + msgspec.json.encode(chunk) + b"\r\n\r\n" for chunk in chunks]


def _error(status: int, name: str, reason: str, message: str) -> Wire:
    return Wire(status, _body(status, name, reason, message))


def _body(status: int, name: str, reason: str, message: str) -> dict[str, Any]:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return {"error": {"code": status, "message": message, "status": name, "details": details}}
