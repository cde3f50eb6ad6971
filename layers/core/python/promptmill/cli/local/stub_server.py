"""Answer in place of the embedded model on machines for which it has no wheel, and say so in each answer.

This is a script that uses the standard library only.
"""

from __future__ import annotations

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAME = "stub-not-a-model"
ANSWER = "This is a stub, not a model."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready", type=Path, required=True, help="file to write the URL to")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    partial = options.ready.with_suffix(".partial")
    partial.write_text(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}))
    partial.replace(options.ready)
    server.serve_forever()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            request = json.loads(body)
            messages = request["messages"]
        except (ValueError, TypeError, KeyError):
            self._answer(400, {"error": {"type": "invalid_request_error", "message": "not a chat completion"}})
            return
        self._answer(200, completion(request, messages))

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing, since a log must not hold prompts."""


def completion(request: dict[str, Any], messages: list[Any]) -> dict[str, Any]:
    """Return an answer as OpenAI's API does. With a JSON schema, it is the first value that the schema allows."""
    schema = ((request.get("response_format") or {}).get("json_schema") or {}).get("schema")
    text = json.dumps(example(schema)) if isinstance(schema, dict) else ANSWER
    prompt_tokens, completion_tokens = len(json.dumps(messages).split()), len(text.split())
    return {
        "id": NAME,
        "object": "chat.completion",
        "created": 0,
        "model": NAME,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def example(schema: dict[str, Any]) -> Any:
    """Return a value that a simple schema allows."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        return {name: example(inner) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return []
    return {"string": ANSWER, "integer": 0, "number": 0, "boolean": False}.get(kind)


if __name__ == "__main__":
    main()
