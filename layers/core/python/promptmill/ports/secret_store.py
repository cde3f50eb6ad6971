"""Secrets."""

from __future__ import annotations

from typing import Protocol


class SecretStore(Protocol):
    async def read(self, name: str) -> str:
        """The secret's text, cached for at most 5 minutes.

        Raises:
            RouteClosedError: it is not there, or not readable (codes ``secret_missing``, ``secret_denied``).
        """
        ...
