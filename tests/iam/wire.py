"""AWS at the other end of calls that go out over HTTP with a signature: Bedrock, Comprehend, Claude on AWS.

What a call asks for is read from the wire: service and region from the signature, the operation from botocore's model.
Sources of the permissions: the Service Authorization Reference of Bedrock ("Converse" needs InvokeModel), Comprehend and
Claude Platform on AWS; Bedrock User Guide, "Prerequisites for inference profiles": whoever calls a profile needs the
model behind it in each of its regions. Read on 2026-11-28.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import botocore.session
import msgspec
import pytest

from promptmill.providers.http import HttpCalls, HttpStream
from promptmill.system_clock import SystemClock
from tests.fakes.providers import anthropic, bedrock, entity_services
from tests.fakes.providers.behaviours import Answer, Sent, Wire
from tests.iam.policies import Request

_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request")
_REGIONS_OF_A_PROFILE = ("eu-central-1", "eu-west-1", "eu-north-1")
_ACTIONS = {
    "Converse": "bedrock:InvokeModel",
    "ConverseStream": "bedrock:InvokeModelWithResponseStream",
    "InvokeModel": "bedrock:InvokeModel",
    "InvokeModelWithResponseStream": "bedrock:InvokeModelWithResponseStream",
    "ApplyGuardrail": "bedrock:ApplyGuardrail",
}
Check = Callable[[list[Request]], bool]


def answer_signed_calls(monkeypatch: pytest.MonkeyPatch, check: Check, *, account: str) -> None:
    """Answer what goes out over HTTP as AWS would; ``check`` says whether the caller may ask for it."""

    @asynccontextmanager
    async def exchange(
        _calls: HttpCalls, method: str, url: str, body: bytes, headers: Mapping[str, str], *_: Any
    ) -> AsyncIterator[HttpStream]:
        parts = urlsplit(url)
        named = {name.lower(): value for name, value in headers.items()}
        sent = Sent(parts.path, named, body, msgspec.json.decode(body or b"{}"), method=method)
        wire = _answer(parts.netloc, sent) if check(list(_needs(sent, account))) else _DENIED
        yield HttpStream(_Response(wire), SystemClock(), 0.0, stall_s=60.0, max_bytes=1 << 20)  # type: ignore[arg-type]

    monkeypatch.setattr(HttpCalls, "_exchange", exchange)


_DENIED = Wire(403, {"message": "not authorized"}, {"x-amzn-errortype": "AccessDeniedException"})


class _Response:
    """As much of aiohttp's response as the stream reads."""

    def __init__(self, wire: Wire) -> None:
        self.status, self.headers, self.content = wire.status, wire.headers, self
        self._blocks = list(wire.blocks or (msgspec.json.encode(wire.body),))

    async def readany(self) -> bytes:
        return self._blocks.pop(0) if self._blocks else b""

    def at_eof(self) -> bool:
        return not self._blocks

    def close(self) -> None:
        """Do nothing: there is no connection."""


def _answer(host: str, sent: Sent) -> Wire:
    if "AWS4-HMAC-SHA256" not in sent.headers.get("authorization", ""):
        return Wire(503, {})  # nobody else is here
    if host.startswith("comprehend."):
        return entity_services.Comprehend().answer(Answer(), sent)
    if host.startswith("aws-external-anthropic."):
        return anthropic.Anthropic(on_aws=True).answer(Answer(), sent)
    if sent.path.startswith("/guardrail/"):
        return entity_services.GuardrailService().answer(Answer(), sent)
    return bedrock.Bedrock().answer(Answer(), sent)


def _needs(sent: Sent, account: str) -> Iterator[Request]:
    scope = _SCOPE.search(sent.headers.get("authorization", ""))
    if scope is None:  # no call to AWS
        return
    region, service = scope[1], scope[2]
    match service:
        case "comprehend":
            yield Request(f"comprehend:{sent.headers['x-amz-target'].rpartition('.')[2]}", "*")
        case "aws-external-anthropic":
            workspace = sent.headers["anthropic-workspace-id"]
            arn = f"arn:aws:aws-external-anthropic:{region}:{account}:workspace/{workspace}"
            yield Request("aws-external-anthropic:CreateInference", arn)
        case "bedrock":
            operation, values = _operation_at(sent.path)
            action = _ACTIONS[operation]
            if operation == "ApplyGuardrail":
                yield Request(action, values["guardrailIdentifier"])
            else:
                yield from (Request(action, *found) for found in _models(values["modelId"], region, account))


def _models(model: str, region: str, account: str) -> Iterator[tuple[str, frozenset[tuple[str, str]]]]:
    """Yield the resources behind a model's id: itself and, for an inference profile, the model in all its regions."""
    system = re.match(r"(?:eu|us|apac|global)\.(.*)", model)
    if not system and ":application-inference-profile/" not in model:
        yield (
            (model if model.startswith("arn:") else f"arn:aws:bedrock:{region}::foundation-model/{model}"),
            frozenset(),
        )
        return
    profile = model if not system else f"arn:aws:bedrock:{region}:{account}:inference-profile/{model}"
    yield profile, frozenset()
    behind = system[1] if system else "anthropic.claude-haiku-4-5-20251001-v1:0"
    for place in _REGIONS_OF_A_PROFILE:
        through = frozenset({("bedrock:InferenceProfileArn", profile)})
        yield f"arn:aws:bedrock:{place}::foundation-model/{behind}", through


@cache
def _paths() -> list[tuple[str, re.Pattern[str]]]:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    found = []
    for name in model.operation_names:
        uri = model.operation_model(name).http["requestUri"]
        found.append((name, re.compile(re.sub(r"\{(\w+)\+?\}", r"(?P<\1>[^/]+)", uri))))
    return found


def _operation_at(path: str) -> tuple[str, dict[str, str]]:
    """Return the operation that botocore's model of bedrock-runtime has at a path, and the values in the path."""
    for name, pattern in _paths():
        if found := pattern.fullmatch(path):
            return name, {key: unquote(value) for key, value in found.groupdict().items()}
    raise AssertionError(f"no operation of bedrock-runtime has the path {path}")
