"""The whole answer to an HTTP call."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class HttpAnswer(Struct, frozen=True):
    """One answer. Names of headers are case-insensitive; ``elapsed_s`` runs from sending to the last byte."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_s: float = 0.0
