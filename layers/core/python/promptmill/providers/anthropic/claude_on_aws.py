"""Claude Platform on AWS: Anthropic's servers behind AWS's signature, so that no key is stored."""

from __future__ import annotations

from promptmill.domain.errors import RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.providers.anthropic.hosts import version_header
from promptmill.providers.aws_signer import AwsAddresses, AwsSigner

SERVICE = "aws-external-anthropic"
BASE_URL = "https://aws-external-anthropic.{region}.api.aws/v1"


class ClaudeOnAws:
    """See MessagesHost. A route's ``account`` is its workspace."""

    def __init__(self, signer: AwsSigner, *, region: str, local: bool) -> None:
        self._signer = signer
        self._addresses = AwsAddresses(BASE_URL, region=region, local=local)

    def url(self, route: Route) -> str:
        """See MessagesHost."""
        return f"{self._addresses.base_url(route)}/messages"

    async def headers(self, route: Route, url: str, body: bytes) -> dict[str, str]:
        """See MessagesHost."""
        if not route.account:
            raise RouteClosedError("account_missing", f"{route.id} needs its workspace as account")
        own = {"anthropic-workspace-id": route.account, **version_header(route)}
        region = self._addresses.region(route)
        return await self._signer.headers("POST", url, body, service=SERVICE, region=region, headers=own)
