"""A provider on loopback: checks each request as the real one does, then does what its script says."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Protocol, Self

import msgspec
from aiohttp import web

from tests.fakes.providers.behaviours import Answer, Behaviour, Break, CutOff, Hang, Refuse, Reply, Sent, Wire


class Speaks(Protocol):
    """A provider's protocol, from the provider's side."""

    def refusal_of(self, sent: Sent) -> Wire | None:
        """The error for a request that the real one would not take, None for a good one."""
        ...

    def refusal(self, behaviour: Refuse) -> Wire: ...

    def answer(self, behaviour: Answer, sent: Sent) -> Wire: ...


class FakeProvider:
    """Runs while it is entered. ``script`` is used up call by call; after it every call is answered.

    Attributes:
        sent: every request that came, good or bad.
        refused: what was wrong with the bad ones.
        asides: requests beside the calls, where the protocol has any (``aside``).
        billed: (input, output) tokens of every answer it made, delivered or not.
    """

    def __init__(self, wire_format: Speaks, *, script: list[Behaviour] | None = None) -> None:
        self.script = deque(script or [])
        self.sent: list[Sent] = []
        self.refused: list[Wire] = []
        self.billed: list[tuple[int, int]] = []
        self.asides: list[Sent] = []
        self.url = ""
        self._protocol = wire_format
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        sent = await _sent(request)
        if (aside := self._aside(sent)) is not None:
            return _response(aside)
        self.sent.append(sent)
        if (bad := self._protocol.refusal_of(sent)) is not None:
            self.refused.append(bad)
            return _response(bad)
        return await self._behave(request, sent, self.script.popleft() if self.script else Answer())

    def _aside(self, sent: Sent) -> Wire | None:
        """Answer what is no call to a model: tokens are given out, predictions are polled."""
        answer = getattr(self._protocol, "aside", None)
        wire: Wire | None = answer(sent) if answer else None
        if wire is not None:
            self.asides.append(sent)
        return wire

    async def _behave(self, request: web.Request, sent: Sent, behaviour: Behaviour) -> web.StreamResponse:
        match behaviour:
            case Reply():
                return web.Response(status=behaviour.status, body=behaviour.body, headers=behaviour.headers)
            case Refuse():
                return _response(self._protocol.refusal(behaviour))
            case Answer():
                return await self._send(request, self._answered(behaviour, sent))
            case Break():
                return await self._break(request, self._answered(Answer(), sent), behaviour.how)
            case Hang():
                await asyncio.Event().wait()
            case CutOff():
                await self._cut_off(request, sent, in_body=behaviour.in_body)
        raise ConnectionResetError

    def _answered(self, answer: Answer, sent: Sent) -> Wire:
        self.billed.append((answer.input_tokens, answer.output_tokens))
        return self._protocol.answer(answer, sent)

    async def _send(self, request: web.Request, wire: Wire) -> web.StreamResponse:
        if not wire.blocks:
            return _response(wire)
        stream = await _stream_of(request, wire, wire.blocks)
        await stream.write_eof()
        return stream

    async def _break(self, request: web.Request, wire: Wire, how: str) -> web.StreamResponse:
        assert wire.blocks, "not a stream"
        begun = wire.blocks[: max(2, len(wire.blocks) // 2)]
        stream = await _stream_of(request, wire, (*begun, wire.error) if how == "error" else begun)
        if how == "stall":
            await asyncio.Event().wait()
        while how == "heartbeat":
            await stream.write(b": still here\n\nevent: ping\ndata: {}\n\n")
            await asyncio.sleep(0.005)
        if how == "cut":
            assert request.transport is not None
            request.transport.abort()
            raise ConnectionResetError
        await stream.write_eof()
        return stream

    async def _cut_off(self, request: web.Request, sent: Sent, *, in_body: bool) -> None:
        whole = _response(self._answered(Answer(), sent))
        assert isinstance(whole.body, bytes)
        if in_body:
            half = web.StreamResponse(headers={"Content-Length": str(len(whole.body))})
            await half.prepare(request)
            await half.write(whole.body[: len(whole.body) // 2])
        assert request.transport is not None
        request.transport.abort()


async def _sent(request: web.Request) -> Sent:
    data = await request.read()
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        body = msgspec.json.decode(data)
    except msgspec.DecodeError:
        body = None
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return Sent(request.raw_path, headers, data, body if isinstance(body, dict) else {}, str(peer), request.method)


async def _stream_of(request: web.Request, wire: Wire, blocks: tuple[bytes, ...]) -> web.StreamResponse:
    stream = web.StreamResponse(status=wire.status, headers={"Content-Type": "text/event-stream", **wire.headers})
    await stream.prepare(request)
    for block in blocks:
        await stream.write(block)
    return stream


def _response(wire: Wire) -> web.Response:
    return web.Response(
        status=wire.status,
        body=msgspec.json.encode(wire.body),
        headers={"Content-Type": "application/json", **wire.headers},
    )
