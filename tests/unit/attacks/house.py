"""A deployment under attack: files, messages and events go through the real handlers, on AWS in memory."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from promptmill.domain import layout
from promptmill.domain.limits import DOCUMENT
from promptmill.providers.http import HttpCalls
from tests.fakes.providers.openai import OpenAi
from tests.fakes.providers.server import FakeProvider
from tests.iam.functions import BUCKET, deployed_stack
from tests.iam.journeys import Journey

OWN_REPLIES = "promptmill-local-replies"
SECRET = "sk-canary-of-the-operator"
_LIMITS = "limits: [{{models: {model}, requests_per_minute: 600000, tokens_per_minute: 900000000}}]\n"
OVER_HTTP = HttpCalls._exchange
"""The real one: what signs its calls is answered without a network in other tests."""


class House(Journey):
    """A deployment, and what became of what was thrown at it.

    Attributes:
        provider: what models' calls reach over HTTP, where they do.
    """

    provider: FakeProvider

    def write_recipe(self, name: str, text: str) -> None:
        self.put(layout.recipe_key(name), text.encode())

    def put(self, key: str, body: bytes) -> str:
        """Write an object, and return its version."""
        return str(self.stack.s3.put_object(Bucket=BUCKET, Key=key, Body=body)["VersionId"])

    def get(self, key: str) -> bytes:
        body: bytes = self.stack.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    def keys(self, prefix: str = "") -> list[str]:
        found = self.stack.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [item["Key"] for item in found]

    def file(self, name: str, of: str, recipe: str = "reviews") -> bytes:
        """Return one of the files that a dropped file came to: ``results``, ``errors``, ``status``, ``summary``."""
        (key,) = [key for key in self.keys(f"results/{recipe}/{name}/") if f"/{of}." in key]
        return self.get(key)

    def status(self, name: str, recipe: str = "reviews") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file(name, "status", recipe))
        return found

    def run_file(self, name: str, body: bytes, recipe: str = "reviews") -> dict[str, Any]:
        """Drop a file, let the handlers work until all is quiet, and return the status of its job, which has ended."""
        self.drop(name, body, recipe)
        self.run_all()
        status = self.status(name, recipe)
        assert status["state"] in ("DONE", "REJECTED", "STOPPED"), status
        return status

    def run_lines(self, name: str, lines: list[bytes], recipe: str = "reviews") -> list[dict[str, Any]]:
        """Drop a file of JSON lines, and return the outcome of each, in order."""
        status = self.run_file(name, b"\n".join(lines) + b"\n", recipe)
        assert status["state"] == "DONE", status
        outcomes = [json.loads(line) for line in self.file(name, "results", recipe).splitlines()]
        assert len(outcomes) == len(lines)
        return outcomes

    def publish(self, *bodies: str) -> dict[str, dict[str, Any]]:
        """Publish requests, let them be answered ten at a time, and return the replies by their id."""
        for start in range(0, len(bodies), 10):
            for body in bodies[start : start + 10]:
                self.send("requests", body)
            self.work_while_there("run_requests", "requests")
        return self.replies()

    def replies(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        while records := self.lose("replies"):
            found |= {reply["id"]: reply for reply in (json.loads(record["body"]) for record in records)}
        return found


@pytest.fixture
def house() -> Iterator[House]:
    """A deployment whose models answer in memory."""
    with deployed_stack() as stack:
        yield _settle_in(stack, "openai/gpt-6-luna")


@pytest.fixture
def wired() -> Iterator[House]:
    """A local stage whose models are called over HTTP, at a provider that holds each body to the official SDK's types."""
    with deployed_stack(runs_as="local") as stack, pytest.MonkeyPatch.context() as patch, _serve() as provider:
        patch.setattr(HttpCalls, "_exchange", OVER_HTTP)
        stack.secrets.create_secret(Name="promptmill/dev/model", SecretString=SECRET)
        found = _settle_in(stack, "compatible/m")
        found.over_http, found.provider = True, provider
        for name in ("reviews", "demo"):
            found.write_recipe(name, recipe_text(provider.url))
        yield found


def recipe_text(url: str) -> str:
    route = f'{{model: compatible/m, base_url: "{url}/v1", key: model, price: {{usd_per_request: "0.001"}}}}'
    return f"routes: [{route}]\nreplies: [{OWN_REPLIES}]\nattachments: pass\n"


def _settle_in(stack: Any, model: str) -> House:
    found = House(stack)
    found.put(layout.recipe_key(DOCUMENT), _LIMITS.format(model=model).encode())
    return found


@contextmanager
def _serve() -> Iterator[FakeProvider]:
    """Run a provider on loopback, in a thread and an event loop of its own."""
    provider, loop = FakeProvider(OpenAi("vllm", key=f"Bearer {SECRET}")), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(provider.__aenter__(), loop).result()
        yield provider
    finally:
        asyncio.run_coroutine_threadsafe(provider.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
