"""Secrets."""

from __future__ import annotations

from typing import Protocol


class SecretStore(Protocol):
    async def read(self, name: str, *, other_than: str = "") -> str:
        """The secret's text, cached for at most 5 minutes.

        ``other_than`` is a text that did not work: it is given again only if it is still the secret's.

        Raises:
            RouteClosedError: it is not there, or not readable (codes ``secret_missing``, ``secret_denied``).
        """
        ...
