"""Where AWS is called for models: a region's own address, or on the local stage a stand-in's."""

from __future__ import annotations

import re

from promptmill.domain.errors import RouteClosedError
from promptmill.domain.recipe import Route

_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d{1,2}")


class AwsAddresses:
    """Of one service.

    Args:
        template: of the address, with ``{region}``.
        region: where a route names none.
        local: a route may, and then must, name its own address: the local stage never calls a real account.
    """

    def __init__(self, template: str, *, region: str, local: bool) -> None:
        self._template, self._region, self._local = template, region, local

    def base_url(self, route: Route) -> str:
        """Raises RouteClosedError: the route may not be called."""
        if self._local and not route.base_url:
            raise RouteClosedError("not_on_local_stage", "the local stage calls no real account")
        if route.base_url and not self._local:
            raise RouteClosedError("base_url_refused", f"{route.id} may not have a base_url")
        return route.base_url.rstrip("/") or self._template.format(region=self.region(route))

    def region(self, route: Route) -> str:
        """The route's, or else the deployment's. Raises RouteClosedError: it is none (``bad_region``)."""
        region = route.region or self._region
        if not _REGION.fullmatch(region):
            raise RouteClosedError("bad_region", f"{route.id} has no valid region")
        return region
