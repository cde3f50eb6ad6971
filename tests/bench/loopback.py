"""A provider on this machine that answers every chat request after a fixed latency: ``python -m tests.bench.loopback 0.2``.

It prints its port, then serves until its input ends. It counts requests: ``GET /count``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import cast

_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-6-luna",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "A plain answer of some twenty tokens. " * 5, "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ],
    "usage": {"prompt_tokens": 200, "completion_tokens": 40, "total_tokens": 240},
}
_CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "A plain answer of some twenty tokens. " * 5}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 200, "outputTokens": 40, "totalTokens": 240},
    "metrics": {"latencyMs": 1},
}


def _response(body: object) -> bytes:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


class Provider(asyncio.Protocol):
    """One connection. Only what the clients here send is understood."""

    count = 0

    def __init__(self, latency_s: float) -> None:
        self._latency_s, self._held = latency_s, b""
        self._chat, self._converse = _response(_ANSWER), _response(_CONVERSE)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end]
            size = _content_length(head)
            if len(self._held) < end + 4 + size:
                return
            self._held = self._held[end + 4 + size :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"GET"):
            self._write(_response({"count": Provider.count}))
            return
        Provider.count += 1
        answer = self._converse if b"/converse" in head.split(b"\r\n", 1)[0] else self._chat
        asyncio.get_running_loop().call_later(self._latency_s, self._write, answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 : head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else None]) if at >= 0 else 0


async def main(latency_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Provider(latency_s), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
