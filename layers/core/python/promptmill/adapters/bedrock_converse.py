"""Bedrock's Converse, over plain HTTP with botocore's signature."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from promptmill.adapters.aws_signer import AwsSigner
from promptmill.adapters.bedrock_converse_answer import completion_of
from promptmill.adapters.bedrock_converse_body import request_body
from promptmill.adapters.http_calls import HttpAnswer, HttpCalls
from promptmill.adapters.json_answers import parsed
from promptmill.adapters.provider_errors import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.adapters.request_bodies import encoded, with_route_body
from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock

SERVICE = "bedrock"
_OK = 200
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}")

VERDICTS = Verdicts(
    closes=frozenset(
        {
            "AccessDeniedException",
            "ResourceNotFoundException",
            "ServiceQuotaExceededException",
            "UnrecognizedClientException",
            "InvalidSignatureException",
            "IncompleteSignatureException",
            "MissingAuthenticationTokenException",
            "NotAuthorized",
            "OptInRequired",
        }
    ),
    refuses=frozenset({"ValidationException"}),
    retries=frozenset(
        {
            "ThrottlingException",
            "ModelNotReadyException",
            "ModelTimeoutException",
            "ModelErrorException",
            "InternalServerException",
            "ServiceUnavailableException",
            "ExpiredTokenException",  # of this worker's credentials only: the next one's are fresh
        }
    ),
    too_long=re.compile(r"too long|maximum context|context window|too many input tokens", re.IGNORECASE),
)
_NO_SUCH_MODEL = re.compile(r"The provided model identifier is invalid|Invocation of model ID ")
"""How a ValidationException starts that every record would get."""


class BedrockConverse:
    """One deployment's calls to Bedrock.

    Args:
        region: where a route names none.
        local: a route may, and then must, name its own address: the local stage never calls a real account.
    """

    def __init__(self, *, http: HttpCalls, signer: AwsSigner, clock: Clock, region: str, local: bool) -> None:
        self._http, self._signer, self._clock = http, signer, clock
        self._region, self._local = region, local

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocol has no place for it
        body = encoded(with_route_body(request_body(request), route))
        region = route.region or self._region
        url = f"{self._base_url(route, region)}/model/{quote(route.model, safe='-._~')}/converse"
        headers = await self._signer.headers("POST", url, body, service=SERVICE, region=region)
        answer = await self._http.post(url, body=body, headers=headers, timeout_s=route.timeout_s)
        raw = parsed(answer.body)
        if answer.status != _OK:
            raise self._error(answer, raw)
        return completion_of(answer, raw, request, request_id=_request_id(answer))

    def _base_url(self, route: Route, region: str) -> str:
        if self._local and not route.base_url:
            raise RouteClosedError("not_on_local_stage", "the local stage calls no real account")
        if route.base_url and not self._local:
            raise RouteClosedError("base_url_refused", f"{route.id} may not have a base_url")
        if not _REGION.fullmatch(region):
            raise RouteClosedError("bad_region", f"{route.id} has no valid region")
        return route.base_url.rstrip("/") or f"https://bedrock-runtime.{region}.amazonaws.com"

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        codes, message = _error_code(answer, raw), error_fields(raw)[1]
        reply = ErrorReply(
            status=answer.status,
            codes=("ResourceNotFoundException",) if _NO_SUCH_MODEL.match(message) else codes,
            message=message or answer.body[:500].decode(errors="replace"),
            headers=answer.headers,
            request_id=_request_id(answer),
        )
        return provider_error(reply, VERDICTS, now=self._clock.now())


def _error_code(answer: HttpAnswer, raw: Any) -> tuple[str, ...]:
    """From ``x-amzn-errortype: Code:http://…``, or ``{"__type": "namespace#Code"}``, or ``{"code": "Code"}``."""
    body = raw if isinstance(raw, dict) else {}
    said = answer.headers.get("x-amzn-errortype") or body.get("__type") or body.get("code")
    if not isinstance(said, str):
        return ()
    return (said.partition(":")[0].rpartition("#")[2],)


def _request_id(answer: HttpAnswer) -> str:
    return answer.headers.get("x-amzn-requestid", "")
