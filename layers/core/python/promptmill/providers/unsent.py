"""HTTP calls that are written and never sent, for those who ask what could be sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from promptmill.ports.model_provider import NotSentError
from promptmill.providers.http import HttpCalls, HttpStream


class UnsentCalls(HttpCalls):
    """As ``HttpCalls``, but each call ends in ``NotSentError`` once it is complete."""

    @asynccontextmanager
    def _exchange(self, *_: Any, **__: Any) -> AsyncIterator[HttpStream]:
        """Raise NotSentError where a call would go out."""
        raise NotSentError


class UnneededSecrets:
    """A ``SecretStore`` for calls that are never sent."""

    async def read(self, name: str, *, other_than: str = "") -> str:
        """See ports/model_provider.py."""
        del name, other_than
        return "not sent"
