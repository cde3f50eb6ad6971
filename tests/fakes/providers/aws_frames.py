"""Frames of an AWS event stream, by the specification of ``application/vnd.amazon.eventstream``."""

from __future__ import annotations

import base64
import struct
from typing import Any
from zlib import crc32

import msgspec

_STRING = 7


def event(name: str, payload: dict[str, Any]) -> bytes:
    headers = {":message-type": "event", ":event-type": name, ":content-type": "application/json"}
    return frame(headers, msgspec.json.encode(payload))


def exception(name: str, message: str) -> bytes:
    headers = {":message-type": "exception", ":exception-type": name, ":content-type": "application/json"}
    return frame(headers, msgspec.json.encode({"message": message}))


def chunk(native: dict[str, Any]) -> bytes:
    """Return a chunk of InvokeModel's streams: the vendor's own JSON in base64."""
    return event("chunk", {"bytes": base64.b64encode(msgspec.json.encode(native)).decode(), "p": "abc"})


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    head = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    body = prelude + struct.pack(">I", crc32(prelude)) + head + payload
    return body + struct.pack(">I", crc32(body))


def _header(name: bytes, value: bytes) -> bytes:
    return struct.pack(">B", len(name)) + name + struct.pack(">BH", _STRING, len(value)) + value
