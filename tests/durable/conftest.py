"""Each situation is carried on from its sample once, and written anew once, by the code of today."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from msgspec import Struct

from tests.durable.deployment import AN_HOUR_S, deployed
from tests.durable.samples import all_samples
from tests.durable.situations import SITUATIONS, Situation
from tests.durable.state import State, load_state, read_state


class Carried(Struct):
    """What was there at first, how often models were asked about each record, and what is there in the end."""

    begun: State
    asked: dict[str, int]
    ended: State


Carry = Callable[[Situation], Carried]


@pytest.fixture(scope="session")
def carry() -> Carry:
    """Carry a situation on from its sample."""

    @cache
    def by_name(name: str) -> Carried:
        situation = next(each for each in SITUATIONS if each.name == name)
        begun = all_samples()[name]
        with deployed() as stack:
            load_state(begun, stack)
            asked = situation.carry_on(stack).asked
            return Carried(begun, asked, read_state(stack))

    return lambda situation: by_name(situation.name)


@pytest.fixture(scope="session")
def rewritten() -> list[State]:
    """Return every situation at the moment of the update, and in the end, as today's code alone writes it."""
    found = []
    for situation in SITUATIONS:
        with deployed() as stack:
            found.append(situation.begin(stack))
            stack.clock.advance(AN_HOUR_S)
            situation.carry_on(stack)
            found.append(read_state(stack))
    return found
