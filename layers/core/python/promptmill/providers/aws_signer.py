"""AWS Signature Version 4 by botocore, for calls that go out over our own HTTP session."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError

from promptmill.domain.errors import RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Route

logging.getLogger("botocore.auth").setLevel(logging.INFO)  # at DEBUG it writes session tokens


class AwsSigner:
    """Signs with the credentials of one session; finding and refreshing them happens in a thread.

    Args:
        make_session: called once, when the first request is signed.
    """

    def __init__(self, make_session: Callable[[], botocore.session.Session]) -> None:
        self._make_session = make_session
        self._credentials: Credentials | None = None

    async def headers(
        self, method: str, url: str, body: bytes, *, service: str, region: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The headers to send with exactly this URL and body; ``headers`` are signed with the rest.

        Raises:
            RouteClosedError: there are no credentials (``credentials_missing``).
            RetryLaterError: they could not be refreshed (``credentials_unavailable``).
        """
        named = {**({"Content-Type": "application/json"} if body else {}), **(headers or {})}
        request = AWSRequest(method=method, url=url, data=body, headers=named)
        SigV4Auth(await self._frozen_credentials(), service, region).add_auth(request)
        return dict(request.headers.items())

    async def _frozen_credentials(self) -> ReadOnlyCredentials:
        credentials = self._credentials
        if credentials is None or _needs_refresh(credentials):
            return await self._refreshed()
        return credentials.get_frozen_credentials()

    async def _refreshed(self) -> ReadOnlyCredentials:
        try:
            return await asyncio.to_thread(self._load)
        except BotoCoreError as error:
            raise RetryLaterError("credentials_unavailable", str(error)[:500]) from error

    def _load(self) -> ReadOnlyCredentials:
        credentials = self._credentials or self._make_session().get_credentials()
        if credentials is None:
            raise RouteClosedError("credentials_missing", "there are no AWS credentials")
        self._credentials = credentials
        return credentials.get_frozen_credentials()


def _needs_refresh(credentials: Credentials) -> bool:
    return isinstance(credentials, RefreshableCredentials) and credentials.refresh_needed()


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
