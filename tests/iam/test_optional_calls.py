"""What is optional fails softly: a job ends as it should, whatever AWS says to its status, limits, events or tags."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.iam.functions import deployed_stack
from tests.iam.journeys import Journey
from tests.iam.policies import Request

OPTIONAL = {
    "status": ("s3:PutObject", "/status.json"),
    "limits": ("s3:GetObject", "/recipes/_limits.yaml"),
    "events": ("events:PutEvents", ""),
}


@pytest.fixture(scope="module")
def journey() -> Iterator[Journey]:
    with deployed_stack() as stack:
        yield Journey(stack)


@pytest.mark.parametrize("optional", OPTIONAL)
def test_a_job_ends_without(journey: Journey, optional: str) -> None:
    action, end = OPTIONAL[optional]
    refused: set[Request] = set()

    def taken(request: Request) -> bool:
        found = request.action == action and request.resource.endswith(end)
        refused.update({request} if found else ())
        return found

    journey.drop(f"{optional}.csv", f"text\r\nwithout {optional}\r\n".encode())
    with journey.gate.taking_away(taken):
        journey.run_all()
    assert refused
    assert journey.state_of(f"{optional}.csv") == "DONE"
