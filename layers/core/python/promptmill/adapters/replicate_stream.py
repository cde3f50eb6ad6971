"""A prediction's output as it is made. It times the answer: what counts is the prediction, read when it is over."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from promptmill.adapters.stream_events import StreamEvent
from promptmill.domain.errors import ProviderError, RetryLaterError

_DOMAIN = "replicate.com"
_MAX_DETAIL = 500


def stream_url_of(raw: dict[str, Any], *, base_url: str) -> str | None:
    """Where the output can be read, None for models that don't stream.

    The key goes there as well: nowhere but to Replicate, or to where the route's own address is.
    """
    urls = raw.get("urls")
    url = urls.get("stream") if isinstance(urls, dict) else None
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    is_replicates = parts.scheme == "https" and (parts.hostname or "").endswith(f".{_DOMAIN}")
    own = urlsplit(base_url)
    return url if is_replicates or (parts.scheme, parts.netloc) == (own.scheme, own.netloc) else None


class OutputWatch:
    """See Assembler. Of events called ``output``, ``logs``, ``error`` and ``done``; it keeps nothing."""

    def __init__(self) -> None:
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        self.is_complete = self.is_complete or event.name == "done"
        return event.name == "output" and bool(event.data)

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        return {}


def stream_error(event: StreamEvent, *, request_id: str) -> ProviderError | None:
    """The error that came in the middle of a stream, None for an event that is none."""
    if event.name != "error":
        return None
    detail = event.data[:_MAX_DETAIL].decode(errors="replace")
    return RetryLaterError("failed", detail, status=200, request_id=request_id, usage_unknown=True)
