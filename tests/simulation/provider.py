"""A provider with a bill of its own: every call that reached it, whoever still remembers making it."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, Text, Usage
from promptmill.domain.errors import (
    PromptmillError,
    ProviderError,
    RecordRefusedError,
    RetryLaterError,
    RouteClosedError,
)
from promptmill.domain.recipe import Route
from tests.simulation.faults import NO_OUTAGES
from tests.simulation.process import Process

LETHAL = "LETHAL"
"""In a prompt whose answer brings down whoever gets it."""

_FOR_EVER_S = 1e6

INPUT_NANO, OUTPUT_NANO = 10, 20
"""A token, as ``FlatPrices`` has it."""


class Billed(Struct, frozen=True):
    """One call that arrived. ``nano_usd`` is what the provider charges for it."""

    call_id: str
    route: str
    prompt: str
    nano_usd: int
    at: float
    answered: bool
    model: str = ""


class Temper(Struct, frozen=True):
    """The habits of a provider.

    Attributes:
        throttled, failed, cut: chances of a 429, of a 500, and of an answer that is paid for and never arrives.
        unreached: chance that the call does not get there.
        refused, closing: chances of a 400, and of a 403 that closes the route.
        latency_s: on average.
    """

    throttled: float = 0.0
    failed: float = 0.0
    cut: float = 0.0
    unreached: float = 0.0
    refused: float = 0.0
    closing: float = 0.0
    latency_s: float = 1.0


CALM = Temper()


def draw_temper(rng: random.Random) -> Temper:
    def maybe(*rates: float) -> float:
        return rng.choice(rates) if rng.random() < 0.5 else 0.0

    return Temper(
        throttled=maybe(0.05, 0.3),
        failed=maybe(0.02, 0.2),
        cut=maybe(0.02, 0.2),
        unreached=maybe(0.02, 0.1),
        refused=maybe(0.05),
        closing=0.02 if rng.random() < 0.05 else 0.0,
        latency_s=rng.choice((0.2, 1.0, 20.0)),
    )


def prompt_of(request: CompletionRequest) -> str:
    return "\n".join(part.text for message in request.messages for part in message.parts if isinstance(part, Text))


def answer_to(prompt: str) -> str:
    """The same at every call, so that an answer shows which record it belongs to."""
    return f"re {hashlib.sha256(prompt.encode()).hexdigest()[:12]}"


class Scripted(Struct, frozen=True):
    """The fate of the calls for one prompt. ``arrives`` is False if a call is refused before it is sent."""

    error: PromptmillError | None = None
    charged: bool = True
    latency_s: float = 1.0
    arrives: bool = True


class Provider:
    """Shared by all processes.

    Attributes:
        script: by prompt, where chance is not to decide.
        on_arrival: told of each call as it gets there.
        outages: times in which it answers nobody.
        unknown: ids of the calls whose cost nobody was told.
        errors: by prompt, the codes of the errors that it answered with.
    """

    def __init__(self, rng: random.Random, temper: Temper) -> None:
        self.bill: list[Billed] = []
        self.temper = temper
        self.script: dict[str, Scripted] = {}
        self.on_arrival: Callable[[str, Process], None] = lambda _call_id, _process: None
        self.outages = NO_OUTAGES
        self.unknown: set[str] = set()
        self.errors: dict[str, set[str]] = {}
        self._rng = rng

    def usage_of(self, prompt: str, request: CompletionRequest) -> Usage:
        """Well below the most that could be asked for, or just at it."""
        most = request.max_output_tokens or 50
        return Usage(input_total=max(1, len(prompt) // 4), output_total=self._rng.choice((1, max(1, most // 2), most)))

    async def complete(
        self, process: Process, route: Route, request: CompletionRequest, call_id: str, *, factor: int = 1
    ) -> Completion:
        """Answer a call, or raise an error. ``factor``: of the prices that hold for the caller."""
        try:
            return await self._complete(process, route, request, call_id, factor)
        except ProviderError as error:
            self.errors.setdefault(prompt_of(request), set()).add(error.code)
            if isinstance(error, RetryLaterError) and error.usage_unknown:
                self.unknown.add(call_id)
            raise
        except asyncio.CancelledError:
            self.unknown.add(call_id)
            raise

    async def _complete(
        self, process: Process, route: Route, request: CompletionRequest, call_id: str, factor: int
    ) -> Completion:
        rng, temper, prompt = self._rng, self.temper, prompt_of(request)
        latency = rng.expovariate(1.0) * temper.latency_s
        scripted = self.script.get(prompt)
        if scripted is not None:
            latency = scripted.latency_s
            if not scripted.arrives and scripted.error is not None:
                raise scripted.error
        elif rng.random() < temper.unreached:
            await process.wait(latency)
            raise RetryLaterError("connection", prompt)
        self.on_arrival(call_id, process)
        usage = self.usage_of(prompt, request)
        cost = (usage.input_total * INPUT_NANO + usage.output_total * OUTPUT_NANO) * factor
        error, charged = (scripted.error, scripted.charged) if scripted else self._mood(prompt)
        if (outage := self.outages.find("models.complete")) is not None:
            latency = _FOR_EVER_S if outage.hangs else latency
            error, charged = (
                (None, rng.random() < 0.5)
                if outage.hangs
                else (RetryLaterError("overloaded", "down", status=503), False)
            )
        self.bill.append(
            Billed(
                call_id,
                route.id,
                prompt,
                cost if charged else 0,
                asyncio.get_running_loop().time(),
                error is None,
                f"{route.provider}/{route.model}",
            )
        )
        await process.wait(min(latency, route.timeout_s))
        if error is None and latency > route.timeout_s:
            error = RetryLaterError("timeout", prompt, usage_unknown=True)
        if error is not None:
            raise error
        return Completion(
            answer_to(prompt), "stop", usage, raw_finish="stop", model=route.model, request_id=f"req-{len(self.bill)}"
        )

    def _mood(self, prompt: str) -> tuple[PromptmillError | None, bool]:
        """Draw what goes wrong with this call, and whether it is charged. Errors quote the prompt, as providers do."""
        at, temper = self._rng.random(), self.temper
        detail = f"could not process: {prompt}"
        moods: list[tuple[float, ProviderError, bool]] = [
            (temper.throttled, RetryLaterError("rate_limited", detail, status=429, retry_after_s=self._pause()), False),
            (temper.failed, RetryLaterError("overloaded", detail, status=500), False),
            (temper.cut, RetryLaterError("connection", detail, usage_unknown=True), self._rng.random() < 0.5),
            (temper.refused, RecordRefusedError("invalid_request", detail, status=400), False),
            (temper.closing, RouteClosedError("access_denied", detail, status=403), False),
        ]
        for chance, error, charged in moods:
            at -= chance
            if at < 0:
                return error, charged
        return None, True

    def _pause(self) -> float | None:
        return self._rng.choice((None, 1.0, 20.0))


class Models:
    """The ``ModelProviders`` port of one process; its ``complete`` is a step like any other."""

    def __init__(self, provider: Provider, process: Process, factor: int = 1) -> None:
        self._provider, self._process, self._factor = provider, process, factor

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        completion = await self._provider.complete(self._process, route, request, call_id, factor=self._factor)
        if LETHAL in prompt_of(request):
            self._process.doomed = True
            self._process.crash()
            self._process.check()
        return completion
