"""Secrets in memory."""

from __future__ import annotations

from collections.abc import Mapping

from promptmill.domain.errors import RouteClosedError
from tests.fakes.failing import FailsOnRequest


class FakeSecretStore(FailsOnRequest):
    """``rotated``: what a secret is by now, while its older text is still cached."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.secrets = dict(secrets)
        self.reads: list[str] = []
        self.rotated: dict[str, str] = {}

    async def read(self, name: str, *, other_than: str = "") -> str:
        """Cached until somebody asks for another one."""
        self.reads.append(name)
        if other_than and name in self.rotated:
            self.secrets[name] = self.rotated.pop(name)
        if name not in self.secrets:
            raise RouteClosedError("secret_missing", f"there is no secret {name}")
        return self.secrets[name]
