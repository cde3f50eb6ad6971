"""Where a route is called and what its headers name, by its provider's row of the table and its own settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote

from promptmill.domain.errors import RouteClosedError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Route
from promptmill.ports.model_provider import SecretStore

if TYPE_CHECKING:
    from promptmill.providers.aws_signer import AwsSigner

NOTHING_MORE: Mapping[str, str] = MappingProxyType({})
_ARN_COLONS = 5
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}")


def base_url(provider: Provider, route: Route, *, default: str = "") -> str:
    """Return the route's own address, else ``default``, else the provider's; without a slash at its end.

    Raises:
        RouteClosedError: the route does not say enough (``base_url_missing``, ``account_missing``).
    """
    given = (route.base_url or default or provider.url).rstrip("/")
    if not given:
        raise RouteClosedError("base_url_missing", f"{route.id} needs a base_url")
    if "{account}" in given:
        if not route.account:
            raise RouteClosedError("account_missing", f"{route.id} needs an account")
        given = given.replace("{account}", quote(route.account, safe=""))
    return given


def named_headers(provider: Provider, route: Route) -> dict[str, str]:
    """Return the route's own plain headers, and those that name its account and the version of the API."""
    version = route.api_version or provider.default_version
    named = ((provider.account_header, route.account), (provider.version_header, version))
    return route.headers | {header: value for header, value in named if header and value}


async def key_headers(provider: Provider, route: Route, secrets: SecretStore) -> dict[str, str]:
    """Return the header that carries the route's key, none if it has none, and others whose values lie in secrets.

    Raises:
        RouteClosedError: the provider needs a key (``key_missing``), or the secret cannot be read.
    """
    more = {name: await secrets.read(secret) for name, secret in route.header_secrets.items()}
    if route.key:
        return more | {provider.key_header: provider.key_prefix + await secrets.read(route.key)}
    if provider.key == "required":
        raise RouteClosedError("key_missing", f"{route.id} needs a key")
    return more


def join_headers(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Return both, with the values of a header that stands in both behind each other, as lists of features do."""
    joined = {name: f"{first[name]},{second[name]}" for name in first.keys() & second.keys()}
    return {**first, **second, **joined}


class AwsHost:
    """A provider that is called with AWS's signature.

    Args:
        region: the region of routes that name none.
        local: a route may, and then must, name its own address: the local stage never calls a real account.
    """

    def __init__(self, provider: Provider, signer: AwsSigner, *, region: str, local: bool) -> None:
        self._provider, self._signer = provider, signer
        self._default_region, self._local = region, local

    def base_url(self, route: Route) -> str:
        """Return the address. Raise RouteClosedError if the route may not be called."""
        if self._local and not route.base_url:
            raise RouteClosedError("not_on_local_stage", "the local stage calls no real account")
        if route.base_url and not self._local:
            raise RouteClosedError("base_url_refused", f"{route.id} may not have a base_url")
        return route.base_url.rstrip("/") or self._provider.url.format(region=self.region(route))

    async def headers(
        self, route: Route, url: str, body: bytes, *, method: str = "POST", more: Mapping[str, str] = NOTHING_MORE
    ) -> dict[str, str]:
        """Return the signed headers of exactly this call, ``more`` among them. Raise as ``AwsSigner.headers`` does."""
        return await self._signer.headers(
            method,
            url,
            body,
            service=self._provider.signing_name,
            region=self.region(route),
            headers=join_headers(named_headers(self._provider, route), more),
        )

    def region(self, route: Route) -> str:
        """Return the region that the route is called in. Raise RouteClosedError for what is none."""
        region = route.region or _region_of_arn(route.model) or self._default_region
        if not _REGION.fullmatch(region):
            raise RouteClosedError("bad_region", f"{route.id} has no valid region")
        return region


def _region_of_arn(model: str) -> str:
    """Return the region of a model that is named by its ARN, "" for any other name. It is called where it is."""
    return model.split(":")[3] if model.startswith("arn:") and model.count(":") >= _ARN_COLONS else ""
