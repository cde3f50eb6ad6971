"""Queues as SQS keeps its word: at least once, in any order, hidden for a while, dead after too many receives."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Mapping
from contextvars import copy_context

from msgspec import Struct

from tests.simulation.loop import RESOLUTION_S

MAX_DELAY_S = 900
_MAX_TRICKS = 20
"""Doublings and forgotten deletes: a message that is sent again for hours would else become thousands."""


class Habits(Struct, frozen=True):
    """How badly a queue behaves.

    Attributes:
        doubled: chance that a message sent once is there twice.
        late_s: the most that it comes late by.
        undeleted: chance that a delete is forgotten.
        unseen: chance that a message is received and no function gets it.
        unsent: chance that an entry of a batch is refused while the others are taken.
    """

    doubled: float = 0.0
    late_s: float = 0.0
    undeleted: float = 0.0
    unseen: float = 0.0
    unsent: float = 0.0


class Held(Struct):
    """A message in a queue. A doubled one shares its id, as identities of requests rest on it."""

    message_id: str
    body: str
    attributes: Mapping[str, str]
    visible_at: float
    sent_at: float
    receives: int = 0
    receipt: int = 0


class SimQueue:
    """One queue.

    Attributes:
        messages: by position; those that are hidden too.
        sent: the bodies of all messages.
        on_visible: called whenever something may be received.
    """

    def __init__(
        self,
        name: str,
        *,
        rng: random.Random,
        visibility_s: float = 960.0,
        max_receives: int = 5,
        dead_letters: SimQueue | None = None,
        habits: Habits | None = None,
    ) -> None:
        self.name, self.visibility_s = name, visibility_s
        self.messages: dict[int, Held] = {}
        self.sent: list[str] = []
        self.on_visible: Callable[[], None] = lambda: None
        self.habits = habits or Habits()
        self._rng, self._max_receives, self.dead_letters = rng, max_receives, dead_letters
        self._tricks = _MAX_TRICKS
        self._positions, self._receipts, self._ids = itertools.count(), itertools.count(1), itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # whoever is woken is no child of the process that sent

    def __len__(self) -> int:
        return len(self.messages)

    def send(self, body: str, *, attributes: Mapping[str, str] | None = None, delay_s: float = 0.0) -> None:
        if delay_s > MAX_DELAY_S:
            raise ValueError(f"SQS delays by {MAX_DELAY_S} s at most, not by {delay_s}")
        self.sent.append(body)
        name = f"{self.name}-{next(self._ids)}"
        doubled = self.misbehaves(self.habits.doubled)
        now = self._loop.time()
        for _ in range(1 + doubled):
            late = self._rng.random() * self.habits.late_s
            self._put(Held(name, body, dict(attributes or {}), now + delay_s + late, now))

    def receive(self) -> tuple[int, Held] | None:
        """Any of those that are visible; one that was received too often becomes a dead letter instead."""
        now = self._loop.time() + RESOLUTION_S  # a timer may ring that much too early
        visible = [position for position, held in self.messages.items() if held.visible_at <= now]
        self._rng.shuffle(visible)
        for position in visible:
            held = self.messages[position]
            if self.dead_letters is not None and held.receives >= self._max_receives:
                del self.messages[position]
                self.dead_letters._put(Held(held.message_id, held.body, held.attributes, now, held.sent_at))
                continue
            held.receives += 1
            held.receipt = next(self._receipts)
            self.hide(position, held.receipt, self.visibility_s)
            return position, held
        return None

    def hide(self, position: int, receipt: int, seconds: float) -> None:
        """Nothing happens with an old receipt, or once the message is gone."""
        held = self.messages.get(position)
        if held is not None and held.receipt == receipt:
            held.visible_at = self._loop.time() + seconds
            self._wake_at(held.visible_at)

    def delete(self, position: int, receipt: int) -> None:
        """With an old receipt it may work, or not."""
        held = self.messages.get(position)
        if held is None or self.misbehaves(self.habits.undeleted):
            return
        if held.receipt == receipt or self._rng.random() < 0.5:
            del self.messages[position]

    def refuses_entry(self) -> bool:
        """Draw whether an entry of a batch is refused."""
        return self.habits.unsent > 0 and self.misbehaves(self.habits.unsent)

    def overlooks(self) -> bool:
        """Draw whether a message is received for nobody."""
        return self.habits.unseen > 0 and self.misbehaves(self.habits.unseen)

    def misbehaves(self, chance: float) -> bool:
        if self._tricks == 0 or self._rng.random() >= chance:
            return False
        self._tricks -= 1
        return True

    def _put(self, held: Held) -> None:
        self.messages[next(self._positions)] = held
        self._wake_at(held.visible_at)

    def _wake_at(self, moment: float) -> None:
        self._loop.call_at(moment, self._wake, context=self._context)

    def _wake(self) -> None:
        self.on_visible()
