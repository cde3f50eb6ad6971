"""Small posts go around aiohttp's session; whatever comes of them is what the session would have made of it."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from promptmill.domain.errors import ProviderError, RetryLaterError
from promptmill.providers.http import HttpCalls
from promptmill.providers.url_policy import UrlPolicy
from tests.fakes.clock import FakeClock

BODY = b'{"model":"m"}'
HEADERS = {"Authorization": "Bearer k", "content-type": "application/x-own", "X-Twice": "1"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
ZIPPED = gzip.compress(b'{"a":1}')

REPLIES = {
    "whole": OK,
    "chunked": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n',
    "compressed": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(ZIPPED), ZIPPED),
    "until the end": b"HTTP/1.0 200 OK\r\n\r\n{}",
    "hints before": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
    "a redirect": b"HTTP/1.1 307 Gone on\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "no content": b"HTTP/1.1 204 Nothing\r\n\r\n",
    "a header twice": b"HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nRetry-After: 4\r\nContent-Length: 0\r\n\r\n",
    "cut in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    "cut in the head": b"HTTP/1.1 200 OK\r\nContent-",
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    "chunks without sizes": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
}


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Answers a request with always the same bytes, and then closes."""

    def __init__(self, answer: bytes, *, reads: bool = True) -> None:
        self.requests = list[bytes]()
        self._answer, self._reads = answer, reads

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        self.requests.append(head + (await reader.readexactly(size) if self._reads else b""))
        writer.write(self._answer)


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[str]:
    """Yield the URL of a server. At the end every connection is closed."""
    tasks = list[asyncio.Task[None]]()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            try:
                await serve(reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()

    server = await asyncio.start_server(lambda *ends: tasks.append(asyncio.create_task(handle(*ends))), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/a%2Fb?c=%C3%A4"
    finally:
        server.close()
        await asyncio.gather(*tasks)


def make_calls() -> HttpCalls:
    return HttpCalls(in_flight=5, policy=UrlPolicy(local=True), clock=FakeClock())


async def outcome(url: str, body: bytes) -> object:
    """What became of a post: its reply, or the error."""
    calls = make_calls()
    try:
        answer = await calls.post(url, body=body, headers=HEADERS, timeout_s=5)
    except ProviderError as error:
        return type(error), error.code, error.usage_unknown
    finally:
        await calls.close()
    return answer.status, [*answer.headers.items()], answer.body


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
async def test_a_small_post_ends_as_one_through_the_session(reply: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(reply)
    async with serving(server.serve) as url:
        direct = await outcome(url, BODY)
        monkeypatch.setattr("promptmill.providers.http.MAX_DIRECT_BYTES", 0)
        through_session = await outcome(url, BODY)

    assert direct == through_session
    sent, also_sent = map(lines_of, server.requests)
    assert sent == also_sent


def lines_of(request: bytes) -> tuple[bytes, list[bytes], bytes]:
    """The request line, the headers in any order and the body."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    return line, sorted(header.lower() for header in headers), body


async def test_a_reply_that_comes_before_the_body_was_read_is_an_answer() -> None:
    too_large = b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with serving(Server(too_large, reads=False).serve) as url:
        calls = make_calls()
        answer = await calls.post(url, body=b"x" * 900_000, headers={}, timeout_s=5)
        await calls.close()

    assert answer.status == 413


async def test_a_call_that_was_given_up_leaves_its_reply_to_nobody() -> None:
    connections = 0

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.readuntil(b"\r\n\r\n"):
            body = await reader.readexactly(len(BODY))
            await asyncio.sleep(0 if body == BODY else 0.05)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async with serving(slowly) as url:
        calls = make_calls()
        with pytest.raises(RetryLaterError):
            await calls.post(url, body=BODY[::-1], headers={}, timeout_s=0.01)
        answer = await calls.post(url, body=BODY, headers={}, timeout_s=5)
        again = await calls.post(url, body=BODY, headers={}, timeout_s=5)
        await calls.close()

    assert answer.body == again.body == BODY
    assert connections == 2


async def test_headers_cannot_be_smuggled_in_by_a_value() -> None:
    server = Server(OK)
    async with serving(server.serve) as url:
        calls = make_calls()
        with pytest.raises(ValueError, match="header"):
            await calls.post(url, body=BODY, headers={"X-Key": "a\r\nX-Other: b"}, timeout_s=5)
        await calls.close()

    assert not server.requests
