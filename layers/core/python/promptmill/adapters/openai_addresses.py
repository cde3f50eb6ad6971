"""Where a route of an OpenAI-like endpoint is called."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import msgspec

from promptmill.adapters.openai_presets import Preset
from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Dialect, Route

_CURRENT_AZURE = ("", "v1", "preview")
"""Versions of Azure's API that name the deployment in the body, as OpenAI does its models."""
_GONE = (404, 410)


def address_of(route: Route, preset: Preset, dialect: Dialect, *, base_url: str = "") -> str:
    """Raises RouteClosedError: the route does not say enough (``base_url_missing``, ``account_missing``)."""
    given = (route.base_url or base_url or preset.base_url).rstrip("/")
    if not given:
        raise RouteClosedError("base_url_missing", f"{route.id} needs a base_url")
    if "{account}" in given:
        if not route.account:
            raise RouteClosedError("account_missing", f"{route.id} needs an account")
        given = given.replace("{account}", quote(route.account, safe=""))
    if dialect not in preset.paths:
        raise RouteClosedError("unknown_dialect", f"{preset.label} has no {dialect}")
    path = preset.paths[dialect].replace("{model}", quote(route.model, safe="/"))
    return _azure_address(route, dialect, given, path) if preset.deployments else given + path


def _azure_address(route: Route, dialect: Dialect, base_url: str, path: str) -> str:
    resource = base_url.removesuffix("/v1").removesuffix("/openai")
    version = route.api_version
    if version in _CURRENT_AZURE:
        return f"{resource}/openai/v1{path}" + ("?api-version=preview" if version == "preview" else "")
    place = "" if dialect == "responses" else f"/deployments/{quote(route.model, safe='')}"
    return f"{resource}/openai{place}{path}?api-version={version}"


def preset_for(route: Route, preset: Preset) -> Preset:
    """Azure's older versions store nothing, and know no field that says so."""
    is_older = preset.deployments and route.api_version not in _CURRENT_AZURE
    return msgspec.structs.replace(preset, stores=frozenset[Dialect]()) if is_older else preset


def explained(error: ProviderError, preset: Preset, url: str) -> ProviderError:
    """An error in plainer words where the whole service has ended."""
    host, words = preset.ended
    is_gone = error.status in _GONE or (isinstance(error, RetryLaterError) and error.code == "connection")
    if host and is_gone and urlsplit(url).hostname == host:
        return RouteClosedError("service_ended", words, status=error.status)
    return error
