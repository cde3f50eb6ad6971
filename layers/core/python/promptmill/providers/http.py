"""Make HTTP calls to providers: over one session, never repeated or redirected, bounded in time and size."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import aiohttp
from aiohttp.abc import AbstractResolver
from msgspec import Struct
from yarl import URL

from promptmill import __version__
from promptmill.domain.errors import ProviderError, RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.ports.clock import Clock
from promptmill.providers.direct_post import DirectReply, PostTarget, make_target, post_directly
from promptmill.providers.url_policy import CheckedResolver, UrlPolicy, check_url
from promptmill.wire.http_answer import HttpAnswer

if TYPE_CHECKING:
    from promptmill.wire.stream_events import StreamDecoder, StreamEvent


MAX_ANSWER_BYTES = 64 << 20
CONNECT_TIMEOUT_S = 10.0
IDLE_S = 4.0
"""No connection is used after such a pause: uvicorn closes it after 5 s, and a frozen function would not notice.
A POST into a closed connection is lost, and nobody knows what it cost."""
MAX_DIRECT_BYTES = 1 << 20
"""A larger body goes through the session, block by block: aiohttp warns about sending it from one bytes object."""

_MAX_TARGETS = 256

Method = Literal["POST", "GET", "PUT", "DELETE"]


class StreamedBody(Struct, frozen=True):
    """A body that is sent as it is read, so that it need not fit into memory; ``length`` is its number of bytes."""

    length: int
    blocks: Callable[[], AsyncIterator[bytes]]


class HttpCalls:
    """Make calls. Proxies, cookies and credentials of the environment are ignored.

    Args:
        in_flight: the highest number of connections at once.
        policy: says what may be called.
        make_resolver: makes what resolves the names of hosts, once a session.
    """

    def __init__(
        self,
        *,
        in_flight: int,
        policy: UrlPolicy,
        clock: Clock,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        make_resolver: Callable[[], AbstractResolver] = aiohttp.ThreadedResolver,
    ) -> None:
        self._in_flight, self._policy, self._clock = in_flight, policy, clock
        self._max_answer_bytes, self._make_resolver = max_answer_bytes, make_resolver
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._targets: dict[str, PostTarget] = {}
        self._running = 0
        self._used_at = clock.now()

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str], timeout_s: float) -> HttpAnswer:
        """Send ``body`` and return the whole answer. ``url`` goes out as it is, percent signs included.

        Raises:
            RouteClosedError: the URL may not be called (see url_policy.py), or its certificate is not good.
            RetryLaterError: no answer, or half of one (``connection``, ``connection_lost``, ``timeout``).
            RecordRefusedError: the answer is too large (``answer_too_large``).
        """
        async with self._exchange("POST", url, body, headers, timeout_s) as reply:
            return await reply.read()

    async def get(self, url: str, *, headers: Mapping[str, str], timeout_s: float) -> HttpAnswer:
        """Return the whole answer, for providers that are polled. Raise as ``post`` does."""
        async with self._exchange("GET", url, b"", headers, timeout_s) as reply:
            return await reply.read()

    async def send(
        self,
        method: Method,
        url: str,
        *,
        body: bytes | StreamedBody = b"",
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> HttpAnswer:
        """Send by any method, a streamed body with its length known. Return the whole answer. Raise as ``post`` does."""
        async with self._exchange(method, url, body, headers, timeout_s) as reply:
            return await reply.read()

    @asynccontextmanager
    async def stream(
        self,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
        stall_s: float,
        method: Literal["POST", "GET"] = "POST",
        max_bytes: int = 0,
    ) -> AsyncIterator[HttpStream]:
        """Yield the reply as it arrives. Leaving the context early ends the call. Raise as ``post`` does.

        ``timeout_s`` bounds the whole stream and the wait for its first event, ``stall_s`` the silence between events.
        ``max_bytes`` is another bound of the answer than that of all others, for what is not held in memory.
        """
        async with self._exchange(method, url, body, headers, timeout_s, stall_s, max_bytes) as reply:
            yield reply

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        url: str,
        body: bytes | StreamedBody,
        headers: Mapping[str, str],
        timeout_s: float,
        stall_s: float = 0.0,
        max_bytes: int = 0,
    ) -> AsyncIterator[HttpStream]:
        check_url(url, self._policy)
        session = await self._open_session()
        self._running += 1
        started = self._clock.monotonic()
        try:
            async with self._begin(session, method, url, body, headers, _make_timeout(timeout_s)) as response:
                most = max_bytes or self._max_answer_bytes
                yield HttpStream(response, self._clock, started, stall_s=stall_s, max_bytes=most)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _translate(error) from error
        finally:
            self._running -= 1
            self._used_at = self._clock.now()

    def _begin(
        self,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        body: bytes | StreamedBody,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse | DirectReply]:
        if isinstance(body, StreamedBody):
            headers = {**headers, "Content-Length": str(body.length)}
        elif method == "POST" and 0 < len(body) < MAX_DIRECT_BYTES:
            return post_directly(session, self._target_of(session, url), body, headers, timeout)
        data = _make_payload(body) if body else None
        return session.request(
            method, _encode_url(url), data=data, headers=headers, timeout=timeout, allow_redirects=False
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
        self._session = None

    async def _open_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._session, self._loop = self._new_session(), loop
        elif not self._running and (self._clock.now() - self._used_at).total_seconds() > IDLE_S:
            old, self._session = self._session, self._new_session()
            self._used_at = self._clock.now()
            await old.close()
        return self._session

    def _target_of(self, session: aiohttp.ClientSession, url: str) -> PostTarget:
        if (target := self._targets.get(url)) is None:
            if len(self._targets) >= _MAX_TARGETS:  # some addresses are called once, as those of uploads
                self._targets.clear()
            target = self._targets[url] = make_target(session, _encode_url(url))
        return target

    def _new_session(self) -> aiohttp.ClientSession:
        self._targets.clear()
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._in_flight,
                keepalive_timeout=IDLE_S,
                resolver=CheckedResolver(self._policy, self._make_resolver()),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"promptmill/{__version__}", "Content-Type": "application/json"},
            trust_env=False,
        )


class HttpStream:
    """A reply as it arrives.

    Attributes:
        status, headers: of the reply; the names are case-insensitive.
        first_token_ms: from sending to the first call of ``note_token``, None before it.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse | DirectReply,
        clock: Clock,
        started: float,
        *,
        stall_s: float,
        max_bytes: int,
    ) -> None:
        self.status: int = response.status
        self.headers: Mapping[str, str] = response.headers
        self.first_token_ms: int | None = None
        self._response, self._clock, self._started = response, clock, started
        self._stall_s, self._left = stall_s, max_bytes

    @property
    def elapsed_s(self) -> float:
        """Return the time since sending."""
        return self._clock.monotonic() - self._started

    def note_token(self) -> None:
        """Take note that a piece of the answer has come."""
        if self.first_token_ms is None:
            self.first_token_ms = round(self.elapsed_s * 1000)

    async def read(self) -> HttpAnswer:
        """Return the rest of the reply as a whole."""
        blocks = []
        while not self._response.content.at_eof():
            blocks.append(await self._block())
        body = blocks[0] if len(blocks) == 1 else b"".join(blocks)
        return HttpAnswer(self.status, self.headers, body, self.elapsed_s)

    async def events(self, decoder: StreamDecoder) -> AsyncIterator[StreamEvent]:
        """Yield events until the stream ends.

        Raises:
            RetryLaterError: as ``HttpCalls.post``, or silent for too long (``stalled``).
            RecordRefusedError: see ``HttpCalls.post``.
        """
        silent_until: float | None = None
        while block := await self._block_before(silent_until):
            for event in decoder.feed(block):
                yield event
                silent_until = self._silent_until()
        for event in decoder.end():
            yield event

    async def blocks(self) -> AsyncIterator[bytes]:
        """Yield the bytes as they come, for streams that nothing but their events keeps alive. Raise as ``events`` does."""
        silent_until: float | None = None
        while block := await self._block_before(silent_until):
            yield block
            silent_until = self._silent_until()

    def _silent_until(self) -> float:
        return asyncio.get_running_loop().time() + self._stall_s

    async def _block_before(self, moment: float | None) -> bytes:
        """Return the next block. Raise RetryLaterError at ``moment`` of the event loop's clock: heartbeats are no events."""
        limit = asyncio.timeout_at(moment)
        try:
            async with limit:
                return await self._block()
        except TimeoutError as error:
            if not limit.expired():
                raise
            self._response.close()
            raise RetryLaterError("stalled", status=self.status, usage_unknown=True) from error

    async def _block(self) -> bytes:
        block = await self._response.content.readany()
        self._left -= len(block)
        if self._left < 0:
            self._response.close()
            raise RecordRefusedError("answer_too_large", status=self.status, usage_unknown=True)
        return block


@lru_cache(maxsize=256)
def _encode_url(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=64)
def _make_timeout(total_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=min(CONNECT_TIMEOUT_S, total_s))


def _make_payload(body: bytes | StreamedBody) -> bytes | io.BytesIO | AsyncIterator[bytes]:
    if isinstance(body, StreamedBody):
        return _read_exactly(body)
    return body if len(body) < MAX_DIRECT_BYTES else io.BytesIO(body)


async def _read_exactly(body: StreamedBody) -> AsyncIterator[bytes]:
    """Yield the blocks. A body of another length than was said breaks the call, before the server waits for the rest."""
    left = body.length
    async for block in body.blocks():
        left -= len(block)
        if left < 0:
            raise OSError("the body is longer than was said")
        yield block
    if left:
        raise OSError("the body is shorter than was said")


def _translate(error: aiohttp.ClientError | OSError) -> ProviderError:
    # Usage is unknown once the request may have arrived.
    detail = str(error)[:500]
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return RouteClosedError("tls_certificate", detail)
        case aiohttp.InvalidURL():
            return RouteClosedError("bad_url", detail)
        case aiohttp.ConnectionTimeoutError() | aiohttp.ClientConnectorError():
            return RetryLaterError("connection", detail)
        case TimeoutError():
            return RetryLaterError("timeout", detail, usage_unknown=True)
        case _:
            return RetryLaterError("connection_lost", detail, usage_unknown=True)
