"""Write the samples of situations that have none yet: ``python -m tests.durable.write_samples``.

Whoever stores something new adds a situation that has it, and runs this before the release.
"""

from __future__ import annotations

from tests.durable.deployment import deployed
from tests.durable.samples import add_samples, all_samples
from tests.durable.situations import SITUATIONS, Situation
from tests.durable.state import load_state, read_state


def write_samples(situation: Situation) -> None:
    """Write what is there at the moment of the update, and what the rest of the way adds to it."""
    with deployed() as stack:
        begun = situation.begin(stack)
    with deployed() as stack:
        load_state(begun, stack)
        asked = situation.carry_on(stack).asked
        ended = read_state(stack)
    if asked != situation.again:
        raise AssertionError(f"{situation.name}: asked about {asked}")
    add_samples(situation.name, begun, ended)


if __name__ == "__main__":
    for each in SITUATIONS:
        if each.name not in all_samples():
            write_samples(each)
