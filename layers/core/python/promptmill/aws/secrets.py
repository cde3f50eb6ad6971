"""The ``SecretStore`` port on AWS Secrets Manager."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

from promptmill.aws.error_kinds import Kind, classify, code_of
from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.ports.clock import Clock

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import GetSecretValueResponseTypeDef


CACHED_S = 300.0
REFUSED_S = 10.0
"""How long a key that a provider refused is still believed to be the secret's."""


class _JsonSecret(msgspec.Struct):
    """A secret that is JSON. One with a ``type`` is a credential document, such as Google's, and is used as a whole."""

    api_key: str = ""
    type: str = ""


class SecretsManagerStore:
    """Secrets of one account. A secret is a key as plain text, or ``{"api_key": "…"}``, or Google's credentials as one line of JSON.

    Args:
        make_client: called once, in a thread, when the first secret is read.
    """

    def __init__(self, make_client: Callable[[], SecretsManagerClient], *, clock: Clock) -> None:
        self._make_client, self._clock = make_client, clock
        self._client: SecretsManagerClient | None = None
        self._read: dict[str, tuple[float, str]] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def read(self, name: str, *, other_than: str = "") -> str:
        """Read a secret. Raises RetryLaterError as well, if Secrets Manager does not answer."""
        known = self._cached(name, other_than)
        return known if known is not None else await self._read_once(name, other_than)

    def _cached(self, name: str, other_than: str) -> str | None:
        read_at, key = self._read.get(name, (0.0, ""))
        kept_s = CACHED_S if key != other_than else REFUSED_S
        return key if key and self._clock.monotonic() - read_at < kept_s else None

    async def _read_once(self, name: str, other_than: str) -> str:
        """Read a secret once, however many calls wait for it."""
        async with self._reading.setdefault(name, asyncio.Lock()):
            try:
                key = self._cached(name, other_than)
                if key is None:
                    key = await asyncio.to_thread(self._fetch, name)
                    self._read[name] = (self._clock.monotonic(), key)
                return key
            finally:
                self._reading.pop(name, None)

    def _fetch(self, name: str) -> str:
        try:
            self._client = self._client or self._make_client()
            return _key(name, self._client.get_secret_value(SecretId=name))
        except (ClientError, BotoCoreError) as error:
            raise _translated(name, error) from error


def _translated(name: str, error: ClientError | BotoCoreError) -> ProviderError:
    kind = _kind_of(error)
    if kind == "secret_missing":
        return RouteClosedError("secret_missing", f"there is no secret {name}")
    code = code_of(error) if isinstance(error, ClientError) else type(error).__name__
    if kind != "retry":
        return RouteClosedError("secret_denied", f"the secret {name} cannot be read ({code})")
    return RetryLaterError("secret_unavailable", f"the secret {name} could not be read ({code})")


def _kind_of(error: ClientError | BotoCoreError) -> Kind:
    if isinstance(error, ClientError):
        return classify(error, "secretsmanager")
    if isinstance(error, ParamValidationError):
        return "secret_missing"
    return "access_denied" if isinstance(error, NoCredentialsError) else "retry"


def _key(name: str, response: GetSecretValueResponseTypeDef) -> str:
    text = response.get("SecretString") or response.get("SecretBinary", b"").decode(errors="replace")
    key = _from_json(text) if text.lstrip().startswith("{") else text.strip()
    if not key or not (key.isascii() and key.isprintable()):
        raise RouteClosedError("secret_malformed", f'the secret {name} is neither a key nor {{"api_key": "…"}}')
    return key


def _from_json(text: str) -> str:
    try:
        secret = msgspec.json.decode(text.encode(), type=_JsonSecret)
        if secret.type and not secret.api_key:
            return json.dumps(msgspec.json.decode(text.encode()))
        return secret.api_key.strip()
    except (msgspec.DecodeError, UnicodeEncodeError):
        return ""
