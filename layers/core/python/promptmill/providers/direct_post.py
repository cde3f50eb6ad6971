"""Send a small POST over a connection of aiohttp's pool, without aiohttp's session.

The session spends three fifths of a call's CPU on what these calls never use: redirects, cookies, proxies, middlewares,
traces, bodies of any type. The pool, its resolver, TLS, the time to connect, the writing of headers and the reading of replies are
aiohttp's all the same. This is the only module that knows these parts of aiohttp.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError, RawResponseMessage, StreamWriter
from aiohttp.streams import StreamReader
from msgspec import Struct
from multidict import CIMultiDict
from yarl import URL

_SWITCHING = 101
_FIRST_FINAL = 200


class PostTarget(Struct, frozen=True):
    """What all posts to one URL have in common. To make it takes longer than to send a post."""

    request: aiohttp.ClientRequest
    line: str
    headers: CIMultiDict[str]


class DirectReply(Struct, frozen=True):
    """A reply whose head has come; the part of ``aiohttp.ClientResponse`` that calls need."""

    status: int
    headers: Mapping[str, str]
    content: StreamReader
    close: Callable[[], None]


def make_target(session: aiohttp.ClientSession, url: URL) -> PostTarget:
    """Return the target of a URL. aiohttp itself says which headers it adds to those of the session."""
    request = aiohttp.ClientRequest("POST", url, headers=session.headers, loop=asyncio.get_running_loop())
    return PostTarget(request, f"POST {request.url.raw_path_qs} HTTP/1.1", request.headers)


@asynccontextmanager
async def post_directly(
    session: aiohttp.ClientSession,
    target: PostTarget,
    body: bytes,
    headers: Mapping[str, str],
    timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (aiohttp's own type; its total bounds everything within)
) -> AsyncIterator[DirectReply]:
    """Yield the reply as it arrives. Raise as ``ClientSession.post`` does. Nothing is repeated, and no redirect followed."""
    async with asyncio.timeout(timeout.total):
        connection, protocol = await _connect(session, target, timeout)
        try:
            await _send(protocol, target, body, headers)
            message, content = await _read_head(protocol)
            yield DirectReply(message.code, message.headers, content, connection.close)
        except BaseException:
            # The rest of the reply may still come, and must not be taken for the reply of another call.
            connection.close()
            raise
        connection.release()  # which closes a connection whose reply was not read to its end


async def _connect(
    session: aiohttp.ClientSession,
    target: PostTarget,
    timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (see above)
) -> tuple[aiohttp.connector.Connection, ResponseHandler]:
    if session.connector is None:
        raise aiohttp.ClientConnectionError("the session is closed")
    try:
        connection = await session.connector.connect(target.request, traces=[], timeout=timeout)
    except TimeoutError as error:
        raise aiohttp.ConnectionTimeoutError("the connection was not made in time") from error
    if connection.protocol is None:
        raise aiohttp.ClientConnectionError("the connection is closed")
    return connection, connection.protocol


async def _send(protocol: ResponseHandler, target: PostTarget, body: bytes, headers: Mapping[str, str]) -> None:
    sent = target.headers.copy()
    sent.update(headers)
    sent["Content-Length"] = str(len(body))
    protocol.set_response_params(read_until_eof=True)
    writer = StreamWriter(protocol, asyncio.get_running_loop())
    await writer.write_headers(target.line, sent)
    # Without waiting until all of it has left: a server may answer before it has read everything.
    await writer.write(body, drain=False)


async def _read_head(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    """Return the head of the reply and what will hold its body. Those that only say that the reply will come are passed over."""
    try:
        while True:
            message, content = await protocol.read()
            if message.code >= _FIRST_FINAL or message.code == _SWITCHING:
                return message, content
    except HttpProcessingError as error:
        raise aiohttp.ClientPayloadError(f"{error.code}, message={error.message!r}") from error
