"""Where a model of Vertex AI is."""

from __future__ import annotations

import re
from urllib.parse import quote

from promptmill.domain.errors import RouteClosedError
from promptmill.domain.recipe import Route

_LOCATION = re.compile(r"global|us|eu|[a-z]+-[a-z]+\d{1,2}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{2,62}[a-z0-9]")
_VERSION = "v1"


def model_url(route: Route, *, publisher: str, verb: str, express: bool) -> str:
    """Of a publisher's model, or with ``endpoints/…`` of one that was tuned; ``express`` names no project.

    Raises:
        RouteClosedError: the route lacks its project or location.
    """
    host = route.base_url.rstrip("/") or f"https://{_host('global' if express else _location(route))}"
    head, tuned, own = route.model.partition("endpoints/")
    named = (
        f"endpoints/{_quoted(own)}" if tuned and not head else f"publishers/{publisher}/models/{_quoted(route.model)}"
    )
    if express:
        return f"{host}/{_VERSION}/{named}:{verb}"
    return f"{host}/{_VERSION}/projects/{_project(route)}/locations/{_location(route)}/{named}:{verb}"


def _quoted(name: str) -> str:
    return quote(name, safe="-._~@")


def _host(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in {"us", "eu"}:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


def _location(route: Route) -> str:
    if not _LOCATION.fullmatch(route.region):
        raise RouteClosedError("bad_region", f"{route.id} needs a location as region, such as global or europe-west4")
    return route.region


def _project(route: Route) -> str:
    if not _PROJECT.fullmatch(route.account):
        raise RouteClosedError("account_missing", f"{route.id} needs its Google project as account")
    return route.account
