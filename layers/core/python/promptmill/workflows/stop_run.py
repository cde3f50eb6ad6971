"""End a run early: nothing more is sent, what is answered is kept."""

from __future__ import annotations

from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs


async def stop_run(job_id: str, run: int, code: str, *, jobs: Jobs, clock: Clock) -> bool:
    """Once this returns, no new intent of the run is written. False: it is over, or was stopped for another reason.

    The stop comes before the gates: whoever finds a gate shut finds the reason. A sweep shuts what a crash left open.
    """
    stopped = await jobs.stop(job_id, run, code=code, at=rfc3339(clock.now()))
    job = await jobs.read(job_id, run)
    if job is None or not job.stop:
        return False
    await jobs.shut_gates(job_id, run)
    return stopped or job.stop == code
