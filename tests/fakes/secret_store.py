"""Secrets in memory."""

from __future__ import annotations

from collections.abc import Mapping

from promptmill.domain.errors import RouteClosedError


class FakeSecretStore:
    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.secrets = dict(secrets)
        self.reads: list[str] = []

    async def read(self, name: str) -> str:
        self.reads.append(name)
        if name not in self.secrets:
            raise RouteClosedError("secret_missing", f"there is no secret {name}")
        return self.secrets[name]
