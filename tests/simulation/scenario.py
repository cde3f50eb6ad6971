"""Scenarios: all that happens in one seed, drawn from it."""

from __future__ import annotations

import hashlib
import random
from typing import Literal

import msgspec
from msgspec import Struct

from tests.simulation.changes import Change, Outage, Window, draw_changes, draw_outages, draw_throttles
from tests.simulation.faults import Weather, draw_weather
from tests.simulation.provider import LETHAL, Temper, draw_temper
from tests.simulation.queues import Habits

CANARY = "CANARY"
"""In every prompt: where it turns up besides bucket and requests queue, something leaks."""

POISON = "POISON"
"""In a prompt that brings down whoever redacts it."""

DAY_S = 86_400.0
_COMMANDS = ("resume", "resume", "redrive", "again")
NOON_S = 43_200.0


class Money(Struct, frozen=True):
    """Limits in nano-dollars."""

    per_job: int | None = None
    per_day: int | None = None
    when_day_spent: Literal["stop", "wait"] = "wait"


class RecipeFacts(Struct, frozen=True):
    """The facts of a recipe; ``in_flight`` also decides how many records a chunk holds."""

    name: str
    in_flight: int = 1
    attempts: int = 3
    spare: bool = False
    timeout_s: float = 60.0
    max_output_tokens: int = 50
    money: Money = Money()
    give_up_after_h: int = 24


class Drop(Struct, frozen=True):
    """A file. ``deadly``: a record whose chunk cannot even be read."""

    at: float
    recipe: str
    name: str
    prompts: tuple[str, ...]
    deadly: int = -1

    @property
    def body(self) -> bytes:
        return b"".join(self._line(number, prompt) for number, prompt in enumerate(self.prompts)) or b"\n\n"

    def _line(self, number: int, prompt: str) -> bytes:
        text = f"{prompt} DEADLY" if number == self.deadly else prompt
        return msgspec.json.encode({"id": f"id-{number}", "prompt": text}) + b"\n"


class Ask(Struct, frozen=True):
    """A request, published. ``expires_s``: after the world's beginning. ``stored``: its body lies in the bucket."""

    at: float
    recipe: str
    prompt: str
    id: str = ""
    expires_s: float | None = None
    stored: bool = False

    @property
    def body_key(self) -> str:
        """Return where its body lies, if it is stored: one object for each body."""
        return f"requests/{self.recipe}/{hashlib.sha256(self.prompt.encode()).hexdigest()}.json"


class Command(Struct, frozen=True):
    """A command that a person types; ``drop`` is the job that it is for."""

    at: float
    kind: str
    drop: int


class Scenario(Struct, frozen=True):
    """One deployment and what is done to it.

    Attributes:
        clock_s: seconds of the day at which it begins.
        chaos_s: when things stop going wrong.
        day_cap: of the deployment, in nano-dollars.
        recut: the recipe changes between two deliveries of one drop.
        paced: workers share the provider's limits; ``per_minute`` is what is configured of them, None where nobody said.
        outages, throttles, changes: see there.
        page: how many keys a listing returns at once.
        side_by_side: the messages of a batch are worked on at once.
        overlooked: judges that keep silent: see ``UNMENDED``.
    """

    recipes: tuple[RecipeFacts, ...]
    drops: tuple[Drop, ...] = ()
    asks: tuple[Ask, ...] = ()
    commands: tuple[Command, ...] = ()
    clock_s: float = NOON_S
    chaos_s: float = 3_600.0
    weather: Weather = Weather()
    temper: Temper = Temper()
    habits: Habits = Habits()
    most_faults: int = 60
    workers: int = 3
    batch: int = 1
    limit_s: float = 900.0
    lease_s: int = 120
    max_receives: int = 5
    skewed: bool = True
    day_cap: int | None = None
    recut: bool = False
    sweep_s: float = 300.0
    chunks_a_segment: int = 250
    paced: bool = False
    per_minute: int | None = None
    outages: tuple[Outage, ...] = ()
    throttles: tuple[Window, ...] = ()
    changes: tuple[Change, ...] = ()
    page: int = 1_000
    side_by_side: bool = True
    overlooked: frozenset[str] = frozenset()


UNMENDED: frozenset[str] = frozenset()
"""What the engine does not survive yet: kinds of changes, or ``innocents`` and ``plans``, the judges of who is condemned and
of what is rejected. ``python -m tests.simulation --with NAME`` brings one of them in."""


def leave_out(scenario: Scenario, names: frozenset[str]) -> Scenario:
    """Return the scenario without changes of these kinds, and with these judges overlooking what they find."""
    changes = tuple(change for change in scenario.changes if change.kind not in names)
    return msgspec.structs.replace(scenario, changes=changes, overlooked=names)


def draw(rng: random.Random) -> Scenario:
    recipes = tuple(_recipe(rng, f"r{n}") for n in range(rng.choice((1, 1, 2))))
    drops = tuple(_drop(rng, n, rng.choice(recipes).name) for n in range(rng.choice((0, 1, 1, 1, 1, 2, 3))))
    if drops and rng.random() < 0.1:
        drops += (msgspec.structs.replace(drops[0], at=rng.uniform(0, 600), name="again.jsonl"),)
    asks = _asks(rng, recipes) if not drops or rng.random() < 0.3 else ()
    day_cap = rng.choice((50_000, 300_000)) if rng.random() < 0.1 else None
    may_wait = day_cap is not None or any(facts.money.per_day for facts in recipes)
    chaos_s = rng.choice((600.0, 3_600.0, 7_200.0))
    near_midnight = rng.random() < (0.8 if may_wait else 0.2)
    return Scenario(
        recipes=recipes,
        drops=drops,
        asks=asks,
        commands=_commands(rng, len(drops)),
        clock_s=DAY_S - rng.uniform(0, rng.choice((30, 1_200, 3_600))) if near_midnight else rng.uniform(0, DAY_S),
        chaos_s=chaos_s,
        weather=draw_weather(rng),
        temper=draw_temper(rng),
        habits=_habits(rng),
        most_faults=rng.choice((10, 30, 100)),
        workers=rng.choice((1, 2, 3, 8)),
        batch=rng.choice((1, 3, 10)),
        limit_s=rng.choice((900.0, 900.0, 300.0)),
        lease_s=rng.choice((10, 120)),
        max_receives=rng.choice((3, 5)),
        day_cap=day_cap,
        recut=rng.random() < 0.1,
        chunks_a_segment=rng.choice((1, 1, 2, 250)),
        paced=rng.random() < 0.4,
        per_minute=rng.choice((None, 6, 60, 1_000)),
        outages=draw_outages(rng, chaos_s),
        throttles=draw_throttles(rng, chaos_s),
        changes=draw_changes(rng, [facts.name for facts in recipes], len(drops), chaos_s),
        page=rng.choice((1, 2, 7, 1_000)),
    )


def prompt(of: str, number: int, *, poison: str = "", length: int = 0) -> str:
    """``poison``: the word that it holds, "" for none."""
    return " ".join([CANARY, of, str(number), *([poison] if poison else []), *["x"] * length])


def _recipe(rng: random.Random, name: str) -> RecipeFacts:
    return RecipeFacts(
        name,
        in_flight=rng.choice((1, 1, 2, 100)),
        attempts=rng.choice((1, 3)),
        spare=rng.random() < 0.3,
        timeout_s=rng.choice((20.0, 60.0)),
        money=_money(rng),
        give_up_after_h=rng.choice((2, 2, 24)),
    )


def _money(rng: random.Random) -> Money:
    if rng.random() < 0.5:
        return Money()
    per_job = rng.choice((9_000, 40_000, 200_000)) if rng.random() < 0.7 else None
    per_day = rng.choice((9_000, 40_000, 200_000)) if per_job is None or rng.random() < 0.4 else None
    return Money(per_job, per_day, rng.choice(("wait", "stop")))


def _drop(rng: random.Random, number: int, recipe: str) -> Drop:
    records = rng.choice((0, 1, 2, 3, 5, 6, 8, 11, 12, 17, 20, 40))
    poisoned = set(rng.sample(range(records), k=min(records, rng.choice((1, 1, 2))))) if rng.random() < 0.15 else set()
    word = rng.choice((POISON, LETHAL))
    prompts = tuple(
        prompt(f"f{number}", n, poison=word if n in poisoned else "", length=rng.choice((0, 20)))
        for n in range(records)
    )
    deadly = rng.randrange(records) if records and rng.random() < 0.04 else -1
    return Drop(rng.choice((0.0, 1.0, 400.0)), recipe, f"f{number}.jsonl", prompts, deadly)


def _asks(rng: random.Random, recipes: tuple[RecipeFacts, ...]) -> tuple[Ask, ...]:
    asks = []
    for number in range(rng.choice((1, 2, 4, 8, 25))):
        name = f"a{number}" if rng.random() < 0.8 else ""
        recipe, at = rng.choice(recipes).name, rng.uniform(0, 300)
        text = prompt("ask", number, poison=rng.choice((POISON, LETHAL)) if rng.random() < 0.08 else "")
        first = Ask(at, recipe, text, name, stored=rng.random() < 0.3)
        asks.append(first)
        if name and rng.random() < 0.4:
            asks.append(msgspec.structs.replace(first, at=at + rng.choice((0.0, 0.1, 200.0))))
        if name and rng.random() < 0.2:
            later = at + rng.choice((0.0, 0.1, 200.0))
            asks.append(msgspec.structs.replace(first, at=later, prompt=prompt("other", number)))
    return tuple(asks)


def _commands(rng: random.Random, drops: int) -> tuple[Command, ...]:
    commands = []
    for number in range(drops):
        if rng.random() < 0.3:
            at = rng.choice((rng.uniform(0, 3), rng.uniform(0, 60), rng.uniform(0, 1_500)))
            commands.append(Command(at, "cancel", number))
        moments = [rng.choice((rng.uniform(0, 100), rng.uniform(0, 5_000))) for _ in range(rng.choice((0, 0, 0, 1, 2)))]
        commands += [Command(at, rng.choice(_COMMANDS), number) for at in moments]
    return tuple(commands)


def _habits(rng: random.Random) -> Habits:
    return Habits(
        doubled=rng.choice((0.0, 0.0, 0.1, 0.5)),
        late_s=rng.choice((0.0, 0.5, 30.0)),
        undeleted=rng.choice((0.0, 0.0, 0.1)),
        unseen=rng.choice((0.0, 0.0, 0.0, 0.1)),
        unsent=rng.choice((0.0, 0.0, 0.3)),
    )
