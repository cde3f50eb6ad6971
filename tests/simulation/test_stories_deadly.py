"""Stories of bytes that bring down whoever reads them: one record is condemned, and the others are answered."""

from __future__ import annotations

import pytest
from msgspec import structs

from tests.simulation.scenario import Scenario
from tests.simulation.stories import codes, state, statuses, story, tell


def deadly(record: int, records: int = 8, **more: object) -> Scenario:
    scenario = story(records, in_flight=2, sweeps=True, **more)  # type: ignore[arg-type]
    return structs.replace(scenario, drops=tuple(structs.replace(drop, deadly=record) for drop in scenario.drops))


@pytest.mark.parametrize("record", [0, 3, 7])
def test_only_the_record_whose_bytes_kill_has_no_answer(record: int) -> None:
    world = tell(deadly(record))
    assert (state(world), codes(world)) == ("DONE", ["worker_crashed"])
    assert statuses(world)[record] == "failed"


def test_a_record_that_kills_when_it_is_read_and_one_that_kills_when_it_is_redacted_are_both_found() -> None:
    world = tell(deadly(2, poison=[5]))
    assert [n for n, status in enumerate(statuses(world)) if status == "failed"] == [2, 5]
    assert codes(world) == ["worker_crashed"] * 2
