"""Faults: what goes wrong at a durable step, and when."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from tests.simulation.changes import MAX_HANG_S, Outage

Kind = Literal["", "refuse", "lose", "twice", "crash", "crash after", "crash before", "freeze", "freeze after"]
"""``refuse``: an error, and nothing was done. ``lose``: it was done, and an error comes back. ``twice``: done, its
response lost, done again underneath. ``crash before``: the process ends while its request is under way, and it is done
``frozen_s`` later. ``freeze``: the whole process stands still."""

NEVER_TWICE = frozenset(
    {
        "models.complete",
        "objects.create_from",
        "objects.stream",
        "objects.under",
        "jobs.open_runs",
        "jobs.recent",
        "ledger.charges_of",
        "ledger.narrowings_of",
    }
)
"""Calls that nobody repeats underneath: it would cost money, or what they read is gone by then. Nor are they done once
whoever asked is gone."""


class Fate(Struct, frozen=True):
    """The faults of one step: it takes ``latency_s``, and then the process stands still for ``frozen_s``."""

    kind: Kind = ""
    latency_s: float = 0.0
    frozen_s: float = 0.0


FINE = Fate()


class Faults(Protocol):
    def fate(self, process: str, step: str, label: str) -> Fate:
        """Draw the faults of the step that a process is about to do. ``label`` names what it does it to."""
        ...


class Weather(Struct, frozen=True):
    """How likely each fault is at one step."""

    slow: float = 0.5
    slow_s: float = 0.02
    refuse: float = 0.0
    lose: float = 0.0
    twice: float = 0.0
    crash: float = 0.0
    freeze: float = 0.0


CALM = Weather()


def draw_weather(rng: random.Random) -> Weather:
    """The faults of one seed. Most seeds have a few kinds only, so that each kind is also seen alone."""

    def maybe(*rates: float) -> float:
        return rng.choice(rates) if rng.random() < 0.6 else 0.0

    return Weather(
        slow=rng.choice((0.2, 0.5, 1.0)),
        slow_s=rng.choice((0.005, 0.02, 0.3)),
        refuse=maybe(0.005, 0.03, 0.2),
        lose=maybe(0.005, 0.03, 0.1),
        twice=maybe(0.005, 0.03),
        crash=maybe(0.003, 0.01, 0.03),
        freeze=maybe(0.002, 0.01),
    )


_UNDER_WAY = 0.3
"""How often a process that ends at a step has sent its request already."""


class RandomFaults:
    """Drawn from a seed. After ``most`` of them, or once ``fair`` is set, nothing fails any more.

    Attributes:
        counts: faults so far, by kind.
    """

    def __init__(self, rng: random.Random, weather: Weather, *, most: int) -> None:
        self._rng, self._most = rng, most
        self.counts: dict[str, int] = {}
        self._weather = weather
        self._bands = _bands(weather)

    def be_fair(self) -> None:
        self._bands = []

    def fate(self, process: str, step: str, label: str) -> Fate:
        del process, label
        random_ = self._rng.random
        slow = self._rng.expovariate(1.0) * self._weather.slow_s if random_() < self._weather.slow else 0.0
        at = random_()
        for edge, kind in self._bands:
            if at < edge:
                return self._fault(kind, slow, step)
        return Fate("", slow) if slow else FINE

    def _fault(self, kind: Kind, slow: float, step: str) -> Fate:
        if kind == "twice" and step in NEVER_TWICE:
            kind = "lose"
        if kind == "crash" and step not in NEVER_TWICE and self._rng.random() < _UNDER_WAY:
            kind = "crash before"
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._most -= 1
        if self._most <= 0:
            self.be_fair()
        frozen = 10 ** self._rng.uniform(0.0, 3.3) if kind in ("freeze", "freeze after", "crash before") else 0.0
        return Fate(kind, slow, frozen)


class Outages:
    """Services that are down, or hang, for all processes at once."""

    def __init__(self, outages: Sequence[Outage], rng: random.Random) -> None:
        self.outages, self._rng = list(outages), rng

    def fate(self, step: str) -> Fate | None:
        """Return what an outage makes of a step; None if there is none of its service."""
        if not self.outages:
            return None
        found = self.find(step)
        if found is None or found.service == "provider":  # a provider has errors of its own, and a bill
            return None
        if not found.hangs:
            return Fate("refuse", self._rng.expovariate(1.0))
        left = found.until - asyncio.get_running_loop().time()
        if left < MAX_HANG_S:
            return Fate(self._rng.choice(("", "lose", "refuse")), left)
        return Fate(self._rng.choice(("lose", "refuse")), MAX_HANG_S)

    def find(self, step: str) -> Outage | None:
        now = asyncio.get_running_loop().time()
        return next((outage for outage in self.outages if outage.covers(step, now)), None)


NO_OUTAGES = Outages((), random.Random(0))


def _bands(weather: Weather) -> list[tuple[float, Kind]]:
    rates: list[tuple[Kind, float]] = [
        ("refuse", weather.refuse),
        ("lose", weather.lose),
        ("twice", weather.twice),
        ("crash", weather.crash / 2),
        ("crash after", weather.crash / 2),
        ("freeze", weather.freeze / 2),
        ("freeze after", weather.freeze / 2),
    ]
    bands, edge = [], 0.0
    for kind, rate in rates:
        if rate:
            edge += rate
            bands.append((edge, kind))
    return bands


class At(Struct):
    """A step of a script: the ``nth`` time (from 1) that a process whose name starts with ``process`` does ``step``.

    Attributes:
        label: a part of what it does it to.
        then: called at that moment, before the step.
    """

    process: str
    step: str
    fate: Fate = FINE
    label: str = ""
    nth: int = 1
    then: Callable[[], None] | None = None
    done: bool = False


class ScriptedFaults:
    """Nothing fails but what the script names.

    Raises, at the end, where a step of the script never came: a story that did not happen proves nothing.
    """

    def __init__(self, *script: At) -> None:
        self.script = list(script)

    def fate(self, process: str, step: str, label: str) -> Fate:
        for at in self.script:
            if not at.done and process.startswith(at.process) and step == at.step and at.label in label:
                at.nth -= 1
                if at.nth == 0:
                    at.done = True
                    if at.then is not None:
                        at.then()
                    return at.fate
        return FINE

    def check(self) -> None:
        missed = [f"{at.process} {at.step} {at.label}" for at in self.script if not at.done]
        assert not missed, f"never happened: {missed}"
