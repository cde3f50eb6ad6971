"""A batch service on loopback: it keeps what it was sent, and has the troubles that a test asks for."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from datetime import timedelta
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from aiohttp import web
from msgspec import Struct

from tests.fakes.clock import FakeClock

Operation = Literal[
    "upload", "create", "poll", "list", "read", "cancel", "delete", "delete_file", "begin_upload", "quotas", "token", ""
]


class Seen(Struct, frozen=True):
    """One request as it came; ``path`` is decoded, ``raw_path`` is as it was sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    data: bytes
    raw_path: str

    @property
    def json(self) -> dict[str, Any]:
        found = msgspec.json.decode(self.data)
        assert isinstance(found, dict)
        return found


class Says(Struct, frozen=True):
    """The service answers exactly this, and does nothing."""

    status: int
    body: Any = None
    headers: dict[str, str] = {}


class Lost(Struct, frozen=True):
    """The service does what it was asked for, and its answer is lost."""


class Dropped(Struct, frozen=True):
    """The connection breaks before anything is done."""


class Cut(Struct, frozen=True):
    """The answer breaks off in the middle of its body."""


class Hangs(Struct, frozen=True):
    """No answer until the client is gone; ``done``: the service does what it was asked for."""

    done: bool


Trouble = Says | Lost | Dropped | Cut | Hangs


class FakeBatchServer:
    """Runs while it is entered.

    Attributes:
        seen: every request, by what it asks for.
        wrong: what was wrong with the requests that a real service would not take.
        lag_s: how long a new batch is missing in lists.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.url = ""
        self.seen: dict[str, list[Seen]] = defaultdict(list)
        self.wrong: list[str] = []
        self.lag_s = 0.0
        self._troubles: dict[str, deque[Trouble]] = defaultdict(deque)
        self._runner: web.AppRunner | None = None

    def will(self, operation: Operation, *troubles: Trouble) -> None:
        """Let the next requests of this kind go wrong."""
        self._troubles[operation].extend(troubles)

    def operation_of(self, seen: Seen) -> Operation:
        raise NotImplementedError

    def serve(self, operation: Operation, seen: Seen) -> Says:
        raise NotImplementedError

    def is_listed(self, created: float) -> bool:
        return self.clock.now().timestamp() - created >= self.lag_s

    def seconds(self, *, later_h: float = 0.0) -> int:
        return int((self.clock.now() + timedelta(hours=later_h)).timestamp())

    def refuse(self, answer: Says, wrong: str) -> Says:
        self.wrong.append(wrong)
        return answer

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=300 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = await _seen(request)
        operation = self.operation_of(seen)
        self.seen[operation].append(seen)
        trouble = self._troubles[operation].popleft() if self._troubles[operation] else None
        match trouble:
            case Says():
                return _response(trouble)
            case Dropped():
                return await _break(request)
            case Lost():
                self.serve(operation, seen)
                return await _break(request)
            case Hangs():
                if trouble.done:
                    self.serve(operation, seen)
                await asyncio.Event().wait()
            case Cut():
                return await _cut(request, _response(self.serve(operation, seen)))
            case None:
                return _response(self.serve(operation, seen))
        raise AssertionError


async def _seen(request: web.Request) -> Seen:
    headers = {name.lower(): value for name, value in request.headers.items()}
    parts = urlsplit(request.raw_path)
    query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    return Seen(request.method, unquote(parts.path), query, headers, await request.read(), request.raw_path)


def _response(says: Says) -> web.Response:
    if isinstance(says.body, bytes):
        return web.Response(status=says.status, body=says.body, headers=says.headers)
    headers = {"Content-Type": "application/json", **says.headers}
    return web.Response(status=says.status, body=msgspec.json.encode(says.body), headers=headers)


async def _break(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    await asyncio.sleep(0)
    raise ConnectionResetError


async def _cut(request: web.Request, whole: web.Response) -> web.StreamResponse:
    assert isinstance(whole.body, bytes)
    half = web.StreamResponse(status=whole.status, headers={"Content-Length": str(len(whole.body))})
    await half.prepare(request)
    await half.write(whole.body[: len(whole.body) // 2])
    return await _break(request)
