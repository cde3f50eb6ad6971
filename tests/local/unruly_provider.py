"""An OpenAI-compatible provider on loopback that checks, counts and bills every request, and misbehaves by a seed."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Literal, Self

import msgspec
from aiohttp import web
from msgspec import Struct

from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Wire
from tests.fakes.providers.openai import KEY, OpenAi

Fate = Literal["answered", "throttled", "failing", "reset", "dripping"]
_BILLED: tuple[Fate, ...] = ("answered", "reset", "dripping")
_RECORD = re.compile(r"^Record (\d+):")
_DRIP_S = 0.25
_RST = struct.pack("ii", 1, 0)
"""SO_LINGER for no time at all: closing sends a reset."""

__all__ = ["KEY", "Seen", "Temper", "UnrulyProvider"]


class Temper(Struct, frozen=True):
    """Shares of the requests that go wrong, and between what an answer takes."""

    throttled: float = 0.0
    failing: float = 0.0
    reset: float = 0.0
    dripping: float = 0.0
    latency_s: tuple[float, float] = (0.05, 0.3)


class Seen(Struct):
    """One request that was good, and what became of it.

    Attributes:
        record: which one its prompt names.
        input_tokens, output_tokens: billed, whether the client got its answer or not.
        came_at, ended_at: ``time.monotonic()``; ``ended_at`` is None if the client left first.
    """

    record: int
    fate: Fate
    request_id: str
    came_at: float
    ended_at: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0


class UnrulyProvider:
    """Runs in a thread while it is entered.

    A request's fate depends on the seed, its record and how often that has come: on nothing else.

    Attributes:
        seen: every good request, in order of arrival.
        refused: what was wrong with the others.
    """

    def __init__(self, temper: Temper, *, seed: int) -> None:
        self.seen: list[Seen] = []
        self.refused: list[Wire] = []
        self.url = ""
        self._temper, self._seed = temper, seed
        self._protocol = OpenAi("vllm")
        self._times: Counter[int] = Counter()
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def fates(self) -> Counter[str]:
        return Counter(seen.fate for seen in self.seen)

    async def _start(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True, keepalive_timeout=600
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        host, port = self._runner.addresses[0]
        self.url = f"http://{host}:{port}/v1"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        sent = await _sent(request)
        bad = self._protocol.refusal_of(sent)
        if bad is not None:
            self.refused.append(bad)
            return _response(bad, "")
        record = _record_of(sent)
        self._times[record] += 1
        rng = random.Random(f"{self._seed}/{record}/{self._times[record]}")
        seen = Seen(record, _fate(self._temper, rng.random()), f"req-{len(self.seen)}", time.monotonic())
        self.seen.append(seen)
        answer = _answer(sent, record, rng)
        if seen.fate in _BILLED:
            seen.input_tokens, seen.output_tokens = answer.input_tokens, answer.output_tokens
        await asyncio.sleep(rng.uniform(*self._temper.latency_s))
        return await self._behave(request, sent, seen, answer, rng)

    async def _behave(
        self, request: web.Request, sent: Sent, seen: Seen, answer: Answer, rng: random.Random
    ) -> web.StreamResponse:
        whole = _response(self._protocol.answer(answer, sent), seen.request_id)
        match seen.fate:
            case "throttled":
                headers = {"retry-after": "1"} if rng.random() < 0.5 else {}
                whole = _response(self._protocol.refusal(Refuse("throttled", headers)), seen.request_id)
            case "failing":
                error = {"message": "The server had an error", "type": "server_error", "param": None, "code": None}
                whole = _response(Wire(500, {"error": error}), seen.request_id)
            case "reset":
                return await _reset(request, whole)
            case "dripping":
                return await _drip(request, whole)
        seen.ended_at = time.monotonic()
        return whole


def _fate(temper: Temper, draw: float) -> Fate:
    shares: tuple[tuple[Fate, float], ...] = (
        ("throttled", temper.throttled),
        ("failing", temper.failing),
        ("reset", temper.reset),
        ("dripping", temper.dripping),
    )
    for fate, share in shares:
        if draw < share:
            return fate
        draw -= share
    return "answered"


def _answer(sent: Sent, record: int, rng: random.Random) -> Answer:
    """Names its record. Bills what a tokenizer may make of the prompt, and no more output than was asked for."""
    characters = sum(len(message["content"]) for message in sent.body["messages"])
    most = int(sent.body["max_tokens"])
    return Answer(
        text=f"Answer {record}.", input_tokens=3 + characters // rng.randint(2, 4), output_tokens=rng.randint(1, most)
    )


def _record_of(sent: Sent) -> int:
    found = _RECORD.match(sent.body["messages"][-1]["content"])
    assert found, "a prompt of some other test"
    return int(found[1])


async def _sent(request: web.Request) -> Sent:
    data = await request.read()
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Sent(request.raw_path, headers, data, msgspec.json.decode(data), method=request.method)


def _response(wire: Wire, request_id: str) -> web.Response:
    named = {"x-request-id": request_id} if request_id else {}
    headers = {**wire.headers, "Content-Type": "application/json", **named}
    return web.Response(status=wire.status, body=msgspec.json.encode(wire.body), headers=headers)


async def _begun(request: web.Request, whole: web.Response) -> tuple[web.StreamResponse, bytes]:
    """Head and half of the body are sent; the other half."""
    assert isinstance(whole.body, bytes)
    half = web.StreamResponse(headers={"Content-Length": str(len(whole.body)), "Content-Type": "application/json"})
    await half.prepare(request)
    middle = len(whole.body) // 2
    await half.write(whole.body[:middle])
    return half, whole.body[middle:]


async def _reset(request: web.Request, whole: web.Response) -> web.StreamResponse:
    half, _ = await _begun(request, whole)
    await asyncio.sleep(0.01)
    assert request.transport is not None
    request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    request.transport.abort()
    return half


async def _drip(request: web.Request, whole: web.Response) -> web.StreamResponse:
    """Byte by byte, until the client has had enough, or to the end."""
    half, rest = await _begun(request, whole)
    for place in range(len(rest)):
        await asyncio.sleep(_DRIP_S)
        await half.write(rest[place : place + 1])
    return half
