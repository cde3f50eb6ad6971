"""A server that answers with whatever a test wrote, to the byte, whether it is good HTTP or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from msgspec import Struct


class Reply(Struct, frozen=True):
    """One reply. ``cut``: the connection ends after the body, although more was announced."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}
    content_type: str = "application/json"
    cut: bool = False

    def as_bytes(self) -> bytes:
        length = len(self.body) + (100 if self.cut else 0)
        told = {"content-type": self.content_type, "content-length": str(length), "connection": "close", **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
        return f"HTTP/1.1 {self.status} X\r\n{head}\r\n".encode() + self.body


def whole(body: Any, status: int = 200, **more: Any) -> Reply:
    """Return a reply of JSON, or of the bytes or the text as they are."""
    if isinstance(body, str):
        body = body.encode()
    return Reply(body if isinstance(body, bytes) else json.dumps(body).encode(), status, **more)


def events(*told: Any, **more: Any) -> Reply:
    """Return a stream of server-sent events, each JSON or a text as it is."""
    lines = (event if isinstance(event, str) else json.dumps(event) for event in told)
    body = "".join(f"data: {line}\n\n" for line in lines).encode()
    return Reply(body, **{"content_type": "text/event-stream", **more})


Script = Sequence[Reply] | Callable[[int, Any], Reply]
"""The replies in order, of which the last one repeats; or a function of a call's number and its body."""


class ScriptedServer:
    """Attributes: ``bodies`` are the JSON of all calls that came."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.bodies: list[Any] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))
            self.bodies.append(json.loads(await reader.readexactly(length)))
            writer.write(self._reply(len(self.bodies) - 1).as_bytes())
            await writer.drain()
        finally:
            writer.close()

    def _reply(self, place: int) -> Reply:
        if callable(self._script):
            return self._script(place, self.bodies[place])
        return self._script[min(place, len(self._script) - 1)]
