"""Say what holds a run up."""

from __future__ import annotations

from datetime import datetime, timedelta

from promptmill.domain.job import JobRun
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.object_store import ObjectWriter
from promptmill.workflows.publish_status import publish_status_in_turn

_SLACK = timedelta(seconds=60)
"""A message that comes back is not worked on at once."""


async def note_waiting(
    job: JobRun, waiting_for: str, delay_s: int, *, jobs: Jobs, objects: ObjectWriter, clock: Clock
) -> None:
    """One of its chunks looks again after ``delay_s``. Not written where the note that is there says it already."""
    back = clock.now() + timedelta(seconds=delay_s)
    if job.waiting_for == waiting_for and job.waiting_until and datetime.fromisoformat(job.waiting_until) >= back:
        return
    await jobs.note_waiting(job.job_id, job.run, waiting_for=waiting_for, until=rfc3339(back + _SLACK))
    await publish_status_in_turn(job.job_id, job.run, jobs=jobs, objects=objects, clock=clock)
