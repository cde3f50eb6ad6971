"""Read Google's credential documents from secrets, and exchange them for tokens.

A document is a service account's key, or it says how AWS's identity is exchanged. The second kind holds no secret at
all: it names a workload identity pool that trusts an AWS role. A secret that is no document is an API key of the express
mode.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.ports.clock import Clock
from promptmill.providers.http import HttpCalls
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import convert
from promptmill.wire.loose_json import parse_json

if TYPE_CHECKING:
    from promptmill.providers.aws_signer import AwsSigner


_DOMAIN = "googleapis.com"
AwsTokenType = Literal["urn:ietf:params:aws:token-type:aws4_request"]


class ServiceAccount(Struct, frozen=True, tag_field="type", tag="service_account"):
    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 (an address)

    def __repr__(self) -> str:
        return f"ServiceAccount({self.client_email!r})"


class AwsSource(Struct, frozen=True):
    regional_cred_verification_url: str = (
        "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    )


class ExternalAccount(Struct, frozen=True, tag_field="type", tag="external_account"):
    """An external account, as Google's AIP-4117 describes it. Only identities of AWS are exchanged."""

    audience: str
    subject_token_type: AwsTokenType = "urn:ietf:params:aws:token-type:aws4_request"  # noqa: S105 (a kind of token)
    token_url: str = "https://sts.googleapis.com/v1/token"  # noqa: S105 (an address)
    service_account_impersonation_url: str | None = None
    credential_source: AwsSource = AwsSource()


class ApiKey(Struct, frozen=True):
    key: str

    def __repr__(self) -> str:
        return "ApiKey"


GoogleCredentials = ServiceAccount | ExternalAccount | ApiKey


def read_credentials(secret: str, *, local: bool) -> GoogleCredentials:
    """Return the credentials that a secret holds; ``local`` allows loopback addresses too.

    Raises:
        RouteClosedError: the document is of no known kind, or names a stranger's address for its tokens.
    """
    if not secret.startswith("{"):
        return ApiKey(secret)
    try:
        credentials = msgspec.json.decode(secret, type=ServiceAccount | ExternalAccount)
    except msgspec.DecodeError as error:
        raise RouteClosedError("credentials_malformed", "no Google credentials that are known") from error
    for url in _token_urls(credentials):
        _check_host(url, local=local)
    return credentials


def _token_urls(credentials: ServiceAccount | ExternalAccount) -> tuple[str, ...]:
    if isinstance(credentials, ServiceAccount):
        return (credentials.token_uri,)
    impersonation = credentials.service_account_impersonation_url
    return (credentials.token_url, impersonation) if impersonation else (credentials.token_url,)


def _check_host(url: str, *, local: bool) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if host.endswith(f".{_DOMAIN}") or (local and host in {"127.0.0.1", "localhost"}):
        return
    raise RouteClosedError("credentials_refused", f"the credentials name an address outside of {_DOMAIN}")


SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_LIFETIME = timedelta(hours=1)
_EARLY = timedelta(minutes=5)
"""A token is replaced this long before its end."""
_YOUNG = timedelta(minutes=1)
"""A token that is refused although it is younger than this is not made anew: the next one would be refused too."""
_TIMEOUT_S = 10.0
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_OK = 200
_SERVER_ERROR = 500
_THROTTLED = 429


class _Token(Struct, frozen=True):
    value: str
    made: datetime
    ends: datetime


class _TokenReply(Struct):
    access_token: str
    expires_in: int = 3600


class _ImpersonatedReply(Struct, rename="camel"):
    access_token: str
    expire_time: datetime


class GoogleTokens:
    """Access tokens, cached until shortly before they end.

    Args:
        make_signer: called when an AWS identity is first exchanged.
        region: the AWS region whose STS vouches for the identity.
    """

    def __init__(self, *, http: HttpCalls, clock: Clock, make_signer: Callable[[], AwsSigner], region: str) -> None:
        self._http, self._clock = http, clock
        self._make_signer, self._region = make_signer, region
        self._tokens: dict[ServiceAccount | ExternalAccount, _Token] = {}
        self._making: dict[ServiceAccount | ExternalAccount, asyncio.Lock] = {}

    async def token(self, credentials: ServiceAccount | ExternalAccount) -> str:
        """Return a token that is good for minutes. It is made once, however many calls wait for it.

        Raises:
            RouteClosedError: Google does not accept the credentials, or the key cannot be read.
            RetryLaterError: Google cannot be asked now.
        """
        if (known := self._cached(credentials)) is not None:
            return known
        async with self._making.setdefault(credentials, asyncio.Lock()):
            try:
                return self._cached(credentials) or await self._make(credentials)
            finally:
                self._making.pop(credentials, None)

    def forget(self, credentials: ServiceAccount | ExternalAccount, token: str) -> bool:
        """Forget a token that was refused. Return False if it is so new that another one would not help."""
        known = self._tokens.get(credentials)
        if known is None or known.value != token:
            return True
        if self._clock.now() - known.made < _YOUNG:
            return False
        del self._tokens[credentials]
        return True

    def _cached(self, credentials: ServiceAccount | ExternalAccount) -> str | None:
        token = self._tokens.get(credentials)
        return token.value if token and self._clock.now() < token.ends - _EARLY else None

    async def _make(self, credentials: ServiceAccount | ExternalAccount) -> str:
        try:
            if isinstance(credentials, ServiceAccount):
                token = await self._exchange_key(credentials)
            else:
                token = await self._exchange_aws_identity(credentials)
        except ProviderError as error:
            error.usage_unknown = False  # no model was asked
            raise
        self._tokens[credentials] = token
        return token.value

    async def _exchange_key(self, account: ServiceAccount) -> _Token:
        from promptmill.providers.google.jwt import sign_jwt  # noqa: PLC0415 (0.1 s and 17 MB: only for keys)

        now = self._clock.now()
        seconds = int(now.timestamp())
        claims = {
            "iss": account.client_email,
            "scope": SCOPE,
            "aud": account.token_uri,
            "iat": seconds,
            "exp": seconds + int(_LIFETIME.total_seconds()),
        }
        assertion = sign_jwt(claims, private_key=account.private_key, key_id=account.private_key_id)
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        return await self._exchange(account.token_uri, form, now)

    async def _exchange_aws_identity(self, account: ExternalAccount) -> _Token:
        now = self._clock.now()
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": account.audience,
            "scope": SCOPE,
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token_type": account.subject_token_type,
            "subject_token": await self._prove_aws_identity(account),
        }
        federated = await self._exchange(account.token_url, form, now)
        url = account.service_account_impersonation_url
        return await self._impersonate(url, federated, now) if url else federated

    async def _prove_aws_identity(self, account: ExternalAccount) -> str:
        """Return a signed question to AWS who we are, which Google asks in our place."""
        url = account.credential_source.regional_cred_verification_url.replace("{region}", self._region)
        named = {"x-goog-cloud-target-resource": account.audience}
        signed = await self._make_signer().headers("POST", url, b"", service="sts", region=self._region, headers=named)
        headers = {"host": urlsplit(url).netloc, **signed}
        proof = {
            "url": url,
            "method": "POST",
            "headers": [{"key": name, "value": value} for name, value in headers.items()],
        }
        return quote(json.dumps(proof, separators=(",", ":")))

    async def _exchange(self, url: str, form: Mapping[str, str], now: datetime) -> _Token:
        body = urlencode(form).encode()
        answer = await self._http.post(url, body=body, headers=_FORM, timeout_s=_TIMEOUT_S)
        reply = convert(parse_json(answer.body), _TokenReply)
        if answer.status != _OK or reply is None:
            raise _refused(answer)
        return _Token(reply.access_token, now, now + min(_LIFETIME, timedelta(seconds=max(0, reply.expires_in))))

    async def _impersonate(self, url: str, federated: _Token, now: datetime) -> _Token:
        headers = {"Authorization": f"Bearer {federated.value}"}
        body = msgspec.json.encode({"scope": [SCOPE], "lifetime": f"{int(_LIFETIME.total_seconds())}s"})
        answer = await self._http.post(url, body=body, headers=headers, timeout_s=_TIMEOUT_S)
        reply = convert(parse_json(answer.body), _ImpersonatedReply)
        if answer.status != _OK or reply is None:
            raise _refused(answer)
        ends = reply.expire_time
        return _Token(reply.access_token, now, min(ends, now + _LIFETIME) if ends.tzinfo else now + _LIFETIME)


def _refused(answer: HttpAnswer) -> ProviderError:
    """Return the error for a reply without a token.

    It is ``{"error": "invalid_grant", …}`` from the exchange, ``{"error": {"status": …}}`` from the impersonation.
    """
    code = _code(parse_json(answer.body)) or "token_refused"
    if answer.status in {_OK, _THROTTLED} or answer.status >= _SERVER_ERROR:
        return RetryLaterError("token_unavailable", code, status=answer.status)
    return RouteClosedError("token_refused", f"Google gave no token ({code})", status=answer.status)


def _code(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    said = error.get("status") if isinstance(error, dict) else error
    return said[:64] if isinstance(said, str) else ""
