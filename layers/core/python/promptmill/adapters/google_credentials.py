"""Google's credential documents, as a secret holds them: a service account's key, or how AWS's identity is exchanged.

The second holds no secret at all, and needs none to be stored: it names a workload identity pool that trusts an AWS
role. A secret that is no document is an API key of the express mode.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from promptmill.domain.errors import RouteClosedError

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
    """As in Google's AIP-4117. Only identities of AWS are exchanged."""

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
    """Of a secret as the store returns it; ``local`` allows loopback addresses too.

    Raises:
        RouteClosedError: the document is none of these, or would have its token made by a stranger.
    """
    if not secret.startswith("{"):
        return ApiKey(secret)
    try:
        credentials = msgspec.json.decode(secret, type=ServiceAccount | ExternalAccount)
    except msgspec.DecodeError as error:
        raise RouteClosedError("credentials_malformed", "no Google credentials that are known") from error
    for url in _addresses(credentials):
        _check(url, local=local)
    return credentials


def _addresses(credentials: ServiceAccount | ExternalAccount) -> tuple[str, ...]:
    if isinstance(credentials, ServiceAccount):
        return (credentials.token_uri,)
    impersonation = credentials.service_account_impersonation_url
    return (credentials.token_url, impersonation) if impersonation else (credentials.token_url,)


def _check(url: str, *, local: bool) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if host.endswith(f".{_DOMAIN}") or (local and host in {"127.0.0.1", "localhost"}):
        return
    raise RouteClosedError("credentials_refused", f"the credentials name an address outside of {_DOMAIN}")
