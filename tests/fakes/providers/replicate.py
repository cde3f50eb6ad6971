"""Replicate's HTTP API from the server's side: the POST waits no longer than a moment, the rest is polled or streamed.

A prediction that nobody waits for is made beside the calls: reading its stream is the call, and makes the answer.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire

KEY = "r8_fake_key"
SLOW = "slow"
"""A prompt that asks for an answer which is not there when the POST returns."""
STUCK = "stuck"
_PATH = re.compile(r"/v1/(?:models/([^/]+/[^/]+)/predictions|deployments/([^/]+/[^/]+)/predictions|predictions)")
_STATE = re.compile(r"/v1/predictions/(p\d+)")
_STREAM = re.compile(r"/v1/stream/(p\d+)")
_POLLS = 2
_TROUBLES: dict[Trouble, tuple[int, str, str]] = {
    "throttled": (
        429,
        "Too Many Requests",
        "Request was throttled. Your rate limit for creating predictions resets in ~30s.",
    ),
    "overloaded": (503, "Service Unavailable", "The service is overloaded."),
    "unauthorized": (401, "Unauthenticated", "You did not pass a valid authentication token"),
    "out_of_money": (402, "Insufficient credit", "You have insufficient credit to run this model."),
    "too_long": (422, "Input validation failed", "- input.prompt: the prompt is too long for this model"),
    "no_such_model": (404, "Not found", "The requested resource could not be found."),
    "bad_field": (422, "Input validation failed", "- input.temperature: Must be less than or equal to 5"),
    "filtered": (422, "Input validation failed", "- input.prompt: no"),
}


class _Input(Struct, forbid_unknown_fields=True):
    """The input of meta-llama-3, by its schema."""

    prompt: str
    system_prompt: str = ""
    max_tokens: Annotated[int, Meta(ge=1)] = 512
    min_tokens: int = 0
    temperature: Annotated[float, Meta(ge=0, le=5)] = 0.7
    top_p: Annotated[float, Meta(ge=0, le=1)] = 0.95
    top_k: int = 0
    seed: int | None = None
    stop_sequences: str = ""


class _Body(Struct, forbid_unknown_fields=True):
    input: _Input
    version: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] = ""


class Replicate:
    """
    Attributes:
        polls: how often each prediction was asked for.
    """

    def __init__(self) -> None:
        self.polls: dict[str, int] = {}
        self._made: dict[str, dict[str, Any]] = {}

    def aside(self, sent: Sent) -> Wire | None:
        """The state of a prediction, which is over at the second look, or a prediction to be streamed."""
        if sent.method == "POST" and "prefer" not in sent.headers and self.refusal_of(sent) is None:
            return self._begun(sent)
        found = _STATE.fullmatch(sent.path)
        if found is None or sent.method != "GET":
            return None
        if sent.headers.get("authorization") != f"Bearer {KEY}":
            return _error(*_TROUBLES["unauthorized"])
        seen = self.polls[found[1]] = self.polls.get(found[1], 0) + 1
        prediction = self._made[found[1]]
        is_over = seen >= _POLLS and prediction["input"]["prompt"] != STUCK
        if seen == 1:
            return _error(*_TROUBLES["throttled"])
        return Wire(200, prediction if is_over else _underway(prediction))

    def _begun(self, sent: Sent) -> Wire:
        name = f"p{len(self._made) + 1}"
        prediction = _prediction(Answer(), name, "owner/name", sent.body["input"])
        prediction["urls"]["stream"] = f"http://{sent.headers['host']}/v1/stream/{name}"
        self._made[name] = prediction
        return Wire(201, _underway(prediction))

    def refusal_of(self, sent: Sent) -> Wire | None:
        if _STREAM.fullmatch(sent.path) and sent.method == "GET":
            is_good = (
                sent.headers.get("authorization") == f"Bearer {KEY}" and "text/event-stream" in sent.headers["accept"]
            )
            return None if is_good else _error(*_TROUBLES["unauthorized"])
        found = _PATH.fullmatch(sent.path)
        if found is None or sent.method != "POST":
            return _error(*_TROUBLES["no_such_model"])
        if sent.headers.get("authorization") != f"Bearer {KEY}":
            return _error(*_TROUBLES["unauthorized"])
        if wrong := _header_problem(sent) or _body_problem(sent, named=bool(found[1] or found[2])):
            return _error(422, "Input validation failed", wrong)
        return None

    def refusal(self, behaviour: Refuse) -> Wire:
        wire = _error(*_TROUBLES[behaviour.trouble])
        return msgspec.structs.replace(wire, headers=behaviour.headers)

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        if streamed := _STREAM.fullmatch(sent.path):
            return self._streamed(behaviour, streamed[1])
        name = f"p{len(self._made) + 1}"
        found = _PATH.fullmatch(sent.path)
        model = (found[1] if found else None) or "owner/name"
        prediction = _prediction(behaviour, name, model, sent.body["input"])
        self._made[name] = prediction
        is_slow = prediction["input"]["prompt"] in {SLOW, STUCK}
        return Wire(201, _underway(prediction) if is_slow else prediction)

    def _streamed(self, behaviour: Answer, name: str) -> Wire:
        begun = self._made[name]
        self._made[name] = _prediction(behaviour, name, begun["model"], begun["input"])
        events = [("output", piece) for piece in self._made[name]["output"]]
        blocks = [("logs", "warm"), *events, ("done", "{}")]
        return Wire(200, {}, {}, tuple(_event(*block) for block in blocks), _event("error", '{"detail": "boom"}'))


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\nid: 1:0\ndata: {data}\n\n".encode()


def _header_problem(sent: Sent) -> str | None:
    prefer = re.fullmatch(r"wait(?:=(\d+))?", sent.headers.get("prefer", "wait"))
    if prefer is None or not 1 <= int(prefer[1] or 60) <= 60:
        return "Prefer: wait must lie between 1 and 60"
    if not re.fullmatch(r"\d+(?:s|m|h)?", sent.headers.get("cancel-after", "1m")):
        return "Cancel-After: not a duration"
    return None


def _body_problem(sent: Sent, *, named: bool) -> str | None:
    try:
        body = msgspec.convert(sent.body, _Body)
    except msgspec.ValidationError as error:
        return str(error)
    return None if named != bool(body.version) else "version: wanted here, and only here"


def _prediction(behaviour: Answer, name: str, model: str, asked: dict[str, Any]) -> dict[str, Any]:
    half = len(behaviour.text) // 2
    counts = {"input_token_count": behaviour.input_tokens, "output_token_count": behaviour.output_tokens}
    metrics = {"predict_time": 0.81, "total_time": 0.95, **(counts if behaviour.with_usage else {})}
    urls = {"get": f"https://api.replicate.com/v1/predictions/{name}", "stream": "https://stream.replicate.com/x"}
    return {
        "id": name,
        "model": model,
        "version": "hidden",
        "input": asked,
        "logs": "",
        "error": None,
        "status": "succeeded",
        "output": [behaviour.text[:half], behaviour.text[half:]],
        "metrics": metrics,
        "urls": urls,
        "data_removed": False,
    }


def _underway(prediction: dict[str, Any]) -> dict[str, Any]:
    return {**prediction, "status": "processing", "output": None, "metrics": {}}


def _error(status: int, title: str, detail: str) -> Wire:
    return Wire(status, {"title": title, "detail": detail, "status": status, "type": "about:blank"})
