"""The situations that a stack is in when its code is replaced.

Each is written by the product's own functions, in two parts. ``begin`` leads to the moment of the update; what is there
then is a sample. ``carry_on`` goes on to the end: from the sample, by the code of today.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from tests.durable import half_run_job, jobs, requests
from tests.durable.deployment import Deployment
from tests.durable.models import ScriptedModels
from tests.durable.state import State


class Situation(Struct, frozen=True):
    """A situation, and how it ends.

    Attributes:
        begin: returns what is there at the moment of the update.
        again: how often ``carry_on`` asks about which record. What has its answer by then is not among them.
    """

    name: str
    begin: Callable[[Deployment], State]
    carry_on: Callable[[Deployment], ScriptedModels]
    again: dict[str, int]


SITUATIONS = (
    Situation("half-run job", half_run_job.begin, half_run_job.carry_on, half_run_job.AGAIN),
    Situation("half-run job that notes its budgets", half_run_job.begin, half_run_job.carry_on, half_run_job.AGAIN),
    Situation("job that is planned", jobs.begin_planning, jobs.carry_on, {"p1": 1, "p2": 1}),
    Situation("staged files", jobs.begin_staged, jobs.carry_on, {"g1": 1, "u1": 1, "d1": 1}),
    Situation("duplicate", jobs.begin_duplicate, jobs.carry_on, {"q1": 1}),
    Situation("rerun", jobs.begin_rerun, jobs.carry_on, {"w2": 1, "w6": 1}),
    Situation("cancelled job", jobs.begin_cancelled, jobs.carry_on, {}),
    Situation("job that is being joined", jobs.begin_joining, jobs.carry_on_joining, {}),
    Situation("requests", requests.begin, requests.carry_on, requests.AGAIN),
)
