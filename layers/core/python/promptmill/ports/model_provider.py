"""Models, and the keys for them."""

from __future__ import annotations

from typing import Protocol

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import PromptmillError
from promptmill.domain.recipe import Route


class NotSentError(PromptmillError):
    """A call was written, and this process sends none: it only wants to know whether it could."""


class ModelProvider(Protocol):
    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """Make one call, which is never repeated underneath.

        ``request.model`` is the line's wish and is ignored: ``route.model`` is what is asked.

        Raises:
            RecordError: a field of the request cannot be carried (code ``unsupported_field``); nothing was sent.
            RetryLaterError, RecordRefusedError, RouteClosedError: see domain/errors.py.
        """
        ...


class ModelProviders(Protocol):
    def provider_for(self, route: Route) -> ModelProvider:
        """Return the adapter, which is imported when it is first needed. Raises RouteClosedError for a provider nobody knows."""
        ...


class SecretStore(Protocol):
    async def read(self, name: str, *, other_than: str = "") -> str:
        """Return the secret's text, cached for at most 5 minutes.

        ``other_than`` is a text that did not work: it is given again only if it is still the secret's.

        Raises:
            RouteClosedError: it is not there, or not readable (codes ``secret_missing``, ``secret_denied``).
        """
        ...
