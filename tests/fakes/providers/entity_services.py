"""Comprehend and Bedrock guardrails from the server's side: botocore's service models decide what a request is.

Both know a handful of names and numbers by heart, and answer in the services' own shapes.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any
from urllib.parse import unquote

import botocore.session
from botocore.model import OperationModel
from botocore.validate import ParamValidator

from tests.fakes.providers.aws_signature import signature_problem
from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire

GUARDRAIL, VERSION = "gr4a5b6c7d8e", "3"
NAMES = re.compile(r"Maria Keller|José Ñúñez|Al\b")
PLATE = re.compile(r"\bB-MK 1234\b")
EMAIL = re.compile(r"[a-z]+@[a-z]+\.example")
DAY = re.compile(r"\bMonday\b")
BLOCKED = "launch codes"
_KINDS = {"NAME": NAMES, "EMAIL": EMAIL, "LICENSE_PLATE": PLATE, "DATE_TIME": DAY}
_MAX_BYTES, _MAX_UNITS = 100_000, 25
_PATH = re.compile(r"/guardrail/([^/]+)/version/([^/]+)/apply")
_TROUBLES: dict[Trouble, tuple[int, str]] = {
    "throttled": (400, "ThrottlingException"),
    "overloaded": (500, "InternalServerException"),
    "unauthorized": (400, "AccessDeniedException"),
    "bad_field": (400, "ValidationException"),
}


class Comprehend:
    """Speaks the JSON protocol: an error's name is in its body."""

    def refusal_of(self, sent: Sent) -> Wire | None:
        target, kind = sent.headers.get("x-amz-target"), sent.headers.get("content-type")
        if (sent.path, target, kind) != (
            "/",
            "Comprehend_20171127.DetectPiiEntities",
            "application/x-amz-json-1.1",
        ):
            return _named(400, "UnknownOperationException")
        if wrong := signature_problem(sent, "comprehend", signed=frozenset({"content-type", "x-amz-target"})):
            return _named(400, "InvalidSignatureException", wrong)
        if wrong := _problem(_operation("comprehend", "DetectPiiEntities"), sent.body):
            return _named(400, "ValidationException", wrong)
        if sent.body["LanguageCode"] not in ("en", "es"):
            return _named(400, "UnsupportedLanguageException")
        if len(sent.body["Text"].encode()) > _MAX_BYTES:
            return _named(400, "TextSizeLimitExceededException")
        return None

    def refusal(self, behaviour: Refuse) -> Wire:
        return _named(*_TROUBLES[behaviour.trouble], "on purpose: my secret")

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        """Offsets are code points."""
        del behaviour
        body = {
            "Entities": [
                {"BeginOffset": match.start(), "EndOffset": match.end(), "Score": 0.97, "Type": kind}
                for kind, pattern in _KINDS.items()
                for match in pattern.finditer(sent.body["Text"])
            ]
        }
        return Wire(200, body)


class GuardrailService:
    """With filters for names and e-mail addresses, and a pattern of its own for number plates; topics are blocked."""

    def __init__(self, *, filters: bool = True, covers: float = 1.0) -> None:
        self._filters, self._covers = filters, covers

    def refusal_of(self, sent: Sent) -> Wire | None:
        found = _PATH.fullmatch(sent.path)
        if found is None:
            return _typed(404, "UnknownOperationException")
        if wrong := signature_problem(sent, "bedrock"):
            return _typed(403, "InvalidSignatureException", wrong)
        names = {"guardrailIdentifier": unquote(found[1]), "guardrailVersion": found[2]}
        if wrong := _problem(_operation("bedrock-runtime", "ApplyGuardrail"), {**names, **sent.body}):
            return _typed(400, "ValidationException", wrong)
        if (found[1], found[2]) != (GUARDRAIL, VERSION):
            return _typed(404, "ResourceNotFoundException")
        if _units(_text(sent)) > _MAX_UNITS:
            return _typed(400, "ValidationException", "Input is too long")
        return None

    def refusal(self, behaviour: Refuse) -> Wire:
        status, code = _TROUBLES[behaviour.trouble]
        return _typed(429 if behaviour.trouble == "throttled" else status, code, "on purpose: my secret")

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        """A match once, however often it stands in the text."""
        del behaviour
        text = _text(sent)
        entities = [
            {"match": match, "type": kind, "action": "ANONYMIZED", "detected": True}
            for kind in ("NAME", "EMAIL")
            for match in dict.fromkeys(_KINDS[kind].findall(text))
        ]
        regexes = [
            {"name": "plate", "regex": PLATE.pattern, "match": match, "action": "ANONYMIZED", "detected": True}
            for match in dict.fromkeys(PLATE.findall(text))
        ]
        topics = [{"name": "codes", "type": "DENY", "action": "BLOCKED", "detected": True}] if BLOCKED in text else []
        assessment: dict[str, Any] = {"invocationMetrics": {"guardrailProcessingLatency": 120}}
        if entities or regexes:
            assessment["sensitiveInformationPolicy"] = {"piiEntities": entities, "regexes": regexes}
        if topics:
            assessment["topicPolicy"] = {"topics": topics}
        acted = bool(entities or regexes or topics)
        body = {
            "usage": _usage(text, filters=self._filters),
            "action": "GUARDRAIL_INTERVENED" if acted else "NONE",
            "outputs": [{"text": "{NAME}"}] if acted else [],
            "assessments": [assessment],
            "guardrailCoverage": {
                "textCharacters": {"guarded": int(len(text) * self._covers), "total": len(text)},
            },
        }
        return Wire(200, body)


def _usage(text: str, *, filters: bool) -> dict[str, int]:
    units = _units(text)
    return {
        "topicPolicyUnits": units,
        "contentPolicyUnits": 0,
        "wordPolicyUnits": 0,
        "sensitiveInformationPolicyUnits": units if filters else 0,
        "sensitiveInformationPolicyFreeUnits": units if filters else 0,
        "contextualGroundingPolicyUnits": 0,
    }


def _units(text: str) -> int:
    return -(-len(text) // 1000)


def _text(sent: Sent) -> str:
    text: str = sent.body["content"][0]["text"]["text"]
    return text


@cache
def _operation(service: str, name: str) -> OperationModel:
    return botocore.session.get_session().get_service_model(service).operation_model(name)


def _problem(operation: OperationModel, parameters: dict[str, Any]) -> str | None:
    shape = operation.input_shape
    assert shape is not None
    if unknown := parameters.keys() - shape.members.keys():
        return f"unknown members {sorted(unknown)}"
    report = ParamValidator().validate(parameters, shape)
    return report.generate_report() if report.has_errors() else None


def _named(status: int, code: str, message: str = "") -> Wire:
    return Wire(status, {"__type": code, "Message": message}, {"x-amzn-requestid": "req_fake_1"})


def _typed(status: int, code: str, message: str = "") -> Wire:
    headers = {"x-amzn-requestid": "req_fake_1", "x-amzn-errortype": f"{code}:http://internal.amazon.com/"}
    return Wire(status, {"message": message}, headers)
