"""Where a job's chunks lie, page by page: a manifest of 100 million records stays small, and is read in part."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from promptmill.domain.dialects.dialect import ChunkRange

PAGE = 1000
"""Chunks a page; the last one may hold fewer."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[ChunkRange])


def encode(ranges: Sequence[ChunkRange]) -> bytes:
    return _encoder.encode(ranges)


def decode(data: bytes) -> list[ChunkRange]:
    """Raises msgspec.DecodeError: not a page."""
    return _decoder.decode(data)
