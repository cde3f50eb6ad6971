"""Sign calls that go out over our own HTTP session with AWS Signature Version 4, by botocore."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials, RefreshableCredentials
from botocore.exceptions import BotoCoreError

from promptmill.domain.errors import RetryLaterError, RouteClosedError

logging.getLogger("botocore.auth").setLevel(logging.INFO)  # at DEBUG it writes session tokens


class AwsSigner:
    """Sign with the credentials of one session. They are found and refreshed in a thread: that may take seconds.

    Args:
        make_session: called once, when the first request is signed.
    """

    def __init__(self, make_session: Callable[[], botocore.session.Session]) -> None:
        self._make_session = make_session
        self._credentials: Credentials | None = None

    async def headers(
        self, method: str, url: str, body: bytes, *, service: str, region: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Return the headers to send with exactly this URL and body; ``headers`` are signed with the rest.

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
            return await self._refresh()
        return credentials.get_frozen_credentials()

    async def _refresh(self) -> ReadOnlyCredentials:
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
