"""Records that go through the real adapters, the loop over routes and the price book to a scripted server, and back."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from promptmill.calls.call_gate import ClosedRoutes
from promptmill.calls.call_routes import CallContext
from promptmill.calls.complete_record import complete_record
from promptmill.domain.completion import Completion, Usage
from promptmill.domain.job_file import FileFacts, FileFormatName
from promptmill.domain.recipe import Recipe, Route
from promptmill.domain.record import Outcome, Price, RawRecord
from promptmill.formats.file_format import format_named
from promptmill.prices.genai import GenaiPriceBook
from tests.contract.providers.conftest import local_settings, make_providers
from tests.fakes.clock import FakeClock
from tests.fakes.providers.scripted import Script, ScriptedServer
from tests.fakes.sending import OpenSending

_PATHS: Mapping[str, str] = {"azure": "", "bedrock": "", "vertex": ""}
_KEYS: Mapping[str, str] = {"bedrock": "", "vertex": "google-express", "anthropic": "anthropic-key"}


class Exchange(Struct):
    """What became of the records, in order."""

    outcomes: list[Outcome]
    lines: list[bytes]
    sent: list[Any]
    closed: ClosedRoutes

    @property
    def answers(self) -> list[str | None]:
        return [outcome.completion.text if outcome.completion else None for outcome in self.outcomes]

    @property
    def codes(self) -> list[str]:
        return [outcome.failure.code if outcome.failure else "" for outcome in self.outcomes]

    @property
    def completion(self) -> Completion:
        assert self.outcomes[0].completion is not None, self.outcomes[0].failure
        return self.outcomes[0].completion

    @property
    def usage(self) -> Usage:
        return self.completion.usage

    @property
    def prices(self) -> list[Price]:
        return [attempt.price for outcome in self.outcomes for attempt in outcome.attempts]


class _BookOfHosts(GenaiPriceBook):
    """Prices a route on a loopback address as if it were on the provider's own."""

    def __init__(self, hosts: Mapping[str, str]) -> None:
        super().__init__()
        self._hosts = hosts

    def price(self, route: Route, usage: Usage, **told: Any) -> Price:
        return super().price(msgspec.structs.replace(route, base_url=self._hosts[route.id]), usage, **told)


def chat_line(content: str = "hi", **fields: Any) -> dict[str, Any]:
    body = {"model": "x", "messages": [{"role": "user", "content": content}], **fields}
    return {"custom_id": "r", "method": "POST", "url": "/v1/chat/completions", "body": body}


async def exchange(
    script: Script,
    *,
    lines: Sequence[Mapping[str, Any]] = (chat_line(),),
    provider: str = "compatible",
    model: str = "m",
    host: str = "",
    file_format: FileFormatName = "openai",
    recipe: Mapping[str, Any] = {},
    facts: Mapping[str, Any] = {},
    **route: Any,
) -> Exchange:
    """Answer the lines one after the other, over one route. ``host`` is the address that the price is looked up for."""
    clock, closed = FakeClock(), ClosedRoutes()
    async with ScriptedServer(script) as server:
        providers = make_providers(local_settings(in_flight=10), clock, url=server.url)
        url = server.url + _PATHS.get(provider, "/v1")
        names = {"id": f"{provider}/{model}", "provider": provider, "model": model, "base_url": url}
        asked = msgspec.convert({**names, "key": _KEYS.get(provider, "openai-key"), **route}, Route)
        caller = CallContext(
            call_gate=OpenSending(clock),
            closed=closed,
            providers=providers,
            prices=_BookOfHosts({asked.id: host}),
            clock=clock,
            rng=random.Random(1),
        )
        frozen = msgspec.convert({"name": "t", "version": "v", "routes": [], **recipe}, Recipe)
        frozen = msgspec.structs.replace(frozen, routes=(asked,))
        dialect, told = format_named(file_format), FileFacts(format=file_format, **facts)
        outcomes = []
        for place, line in enumerate(lines):
            data = line["raw"] if "raw" in line else json.dumps(line).encode()
            record = RawRecord(place, place + 1, data)
            outcomes.append(
                await complete_record(record, file_format=dialect, facts=told, recipe=frozen, caller=caller)
            )
        await providers.close()
        rendered = [dialect.render(outcome, told, frozen, "job") for outcome in outcomes]
        return Exchange(outcomes, rendered, server.bodies, closed)
