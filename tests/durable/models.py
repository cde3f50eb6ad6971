"""Models that do what a test says when they are asked about a certain record."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from tests.durable.product import Completion, Usage

_RECORD = re.compile(rb"case (\w+)")
_PLACEHOLDER = re.compile(rb"<[A-Z_]+_\d+>")
_LATENCY_S = 0.003
_FIRST_TOKEN_MS = 1


class Killed(BaseException):
    """The worker is gone: no handler of exceptions runs on."""


class Call(Struct, frozen=True):
    """One call. ``record`` is the name in the prompt."""

    record: str
    route: str


Step = Callable[[Call], Awaitable[None]]


class ScriptedModels:
    """Answer every prompt that says ``case NAME``, after the steps that the script has for NAME, one step a call.

    Attributes:
        calls: every call, in order.
    """

    def __init__(self, script: Mapping[str, Sequence[Step]] | None = None) -> None:
        self.calls: list[Call] = []
        self._script = {name: list(steps) for name, steps in (script or {}).items()}

    def provider_for(self, route: Any) -> ScriptedModels:
        del route
        return self

    async def complete(self, route: Any, request: Any, *, call_id: str) -> Completion:
        del call_id
        prompt = msgspec.json.encode(request)
        found = _RECORD.search(prompt)
        assert found is not None, "every prompt of these tests names its record"
        call = Call(found[1].decode(), route.id)
        self.calls.append(call)
        steps = self._script.get(call.record)
        if steps:
            await steps.pop(0)(call)
        await asyncio.sleep(_LATENCY_S)
        return _answer(call, prompt)

    async def close(self) -> None:
        """There is nothing to close."""

    @property
    def asked(self) -> dict[str, int]:
        """Return how often each record was asked about."""
        return dict(sorted(Counter(call.record for call in self.calls).items()))


def _answer(call: Call, prompt: bytes) -> Completion:
    """Return an answer that repeats placeholders, so that there is something to restore, and invents one if told to."""
    said = b" ".join([b"Answer to", call.record.encode(), *_PLACEHOLDER.findall(prompt)]).decode()
    invented = " <EMAIL_77>" if b"invents" in prompt else ""
    size = len(call.record) * 100
    usage = Usage(input_total=size, cache_read=20, cache_write=10, output_total=40, reasoning=5)
    return Completion(
        "x" * 210_000 if b"at length" in prompt else said + invented + ".",
        "stop",
        usage,
        raw_finish="stop",
        model=route_model(call.route),
        request_id=f"request-{call.record}",
        first_token_ms=_FIRST_TOKEN_MS,
    )


def route_model(route: str) -> str:
    return route.partition("/")[2]


def raises(error: Exception) -> Step:
    async def step(call: Call) -> None:
        del call
        raise error

    return step


async def dies(call: Call) -> None:
    """The worker vanishes in the middle of this call."""
    del call
    raise Killed
