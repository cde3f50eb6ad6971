"""An OpenAI-compatible server on loopback that takes its time, and counts."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

_FOREVER_S = 3600.0


class SlowModel:
    """``calls`` counts requests that arrived, ``hanging`` those of them that get no answer."""

    def __init__(self, *, delay_s: float, hangs_at: str = "\0") -> None:
        """Prompts that hold ``hangs_at`` get no answer."""
        self.calls = 0
        self.hanging = 0
        self._changed = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._changed:
                    outer.calls += 1
                    outer.hanging += hangs_at in json.dumps(asked)
                    outer._changed.notify_all()
                if not outer._stopped.wait(_FOREVER_S if hangs_at in json.dumps(asked) else delay_s):
                    self._answer(asked)

            def _answer(self, asked: dict[str, Any]) -> None:
                body = json.dumps(_completion(asked)).encode()
                try:
                    self.send_response(200)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for_calls(self, count: int, *, patience_s: float = 120.0) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.calls >= count, timeout=patience_s), self.calls


def _completion(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-slow",
        "object": "chat.completion",
        "created": 0,
        "model": asked["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "OK"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
    }
