"""Call AWS services that search texts, over plain HTTP with botocore's signature."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec

from promptmill.domain.errors import ProviderError
from promptmill.ports.clock import Clock
from promptmill.providers.aws_signer import AwsSigner
from promptmill.providers.bedrock.errors import codes_of, request_id_of
from promptmill.providers.http import HttpCalls
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json

TIMEOUT_S = 20.0
MAX_AT_ONCE = 16
"""Services allow some twenty calls a second: more at once would only be throttled."""
ENTITY_TYPES: Mapping[str, str] = {
    "NAME": "person",
    "ADDRESS": "address",
    "EMAIL": "email",
    "PHONE": "phone",
    "URL": "url",
    "IP_ADDRESS": "ip",
    "MAC_ADDRESS": "mac",
    "PASSWORD": "password",
    "PIN": "password",
    "AWS_ACCESS_KEY": "api_key",
    "AWS_SECRET_KEY": "api_key",
    "INTERNATIONAL_BANK_ACCOUNT_NUMBER": "iban",
    "DRIVER_ID": "driving_licence",
    "CA_SOCIAL_INSURANCE_NUMBER": "national_id",
    "UK_NATIONAL_INSURANCE_NUMBER": "national_id",
    "UK_UNIQUE_TAXPAYER_REFERENCE_NUMBER": "tax_id",
    "US_INDIVIDUAL_TAX_IDENTIFICATION_NUMBER": "tax_id",
    "CA_HEALTH_NUMBER": "medical_id",
    "UK_NATIONAL_HEALTH_SERVICE_NUMBER": "medical_id",
}
"""Our types by the names that all AWS services have for them."""
_OK, _THROTTLED = 200, 429
_THROTTLES = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"})
_VERDICTS = Verdicts(
    refuses=frozenset(
        {
            "ValidationException",
            "InvalidRequestException",
            "TextSizeLimitExceededException",
            "UnsupportedLanguageException",
        }
    ),
    retries=frozenset(
        {
            *_THROTTLES,
            "InternalServerException",
            "ServiceUnavailableException",
            "ExpiredTokenException",  # of this worker's credentials only
        }
    ),
)


class AwsCalls:
    """Posts signed requests, a few at once. ``base_url`` takes the place of every service's own address, for tests."""

    def __init__(self, *, http: HttpCalls, signer: AwsSigner, clock: Clock, base_url: str = "") -> None:
        self._http, self._signer, self._clock, self._base_url = http, signer, clock, base_url
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)

    async def post(
        self,
        path: str,
        body: object,
        *,
        host: str,
        service: str,
        region: str,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the reply's JSON object.

        Raises:
            RetryLaterError: the same call may work later; status 429 means that the service throttles.
            ProviderError: the same call will never work.
            TypeError: the reply is no object.
        """
        data = msgspec.json.encode(body)
        url = (self._base_url or f"https://{host}") + path
        async with self._turns:
            signed = await self._signer.headers("POST", url, data, service=service, region=region, headers=headers)
            answer = await self._http.post(url, body=data, headers=signed, timeout_s=TIMEOUT_S)
        found = parse_json(answer.body)
        if answer.status != _OK:
            raise self._error(answer, found)
        if not isinstance(found, dict):
            raise TypeError("the reply is no JSON object")
        return found

    def _error(self, answer: HttpAnswer, found: Any) -> ProviderError:
        # Some services throttle with status 400.
        codes = codes_of(answer, found)
        reply = ErrorReply(
            status=_THROTTLED if _THROTTLES.intersection(codes) else answer.status,
            codes=codes,
            message=error_fields(found)[1],
            headers=answer.headers,
            request_id=request_id_of(answer.headers),
        )
        return provider_error(reply, _VERDICTS, now=self._clock.now())
