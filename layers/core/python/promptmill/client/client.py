"""Submit jobs, wait for them and read their results, from a notebook or a script."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO, TypeVar

import msgspec

from promptmill.aws.failures import aws_failures_in_words
from promptmill.cli.command import load_recipe
from promptmill.cli.commands.results import fetch
from promptmill.cli.commands.submit import inbox_key, readable_size
from promptmill.cli.target import FindTarget, find_target
from promptmill.cli.watch import LOCAL_POLL_S, POLL_S, Snapshot, describe
from promptmill.client.results import Results, read_results
from promptmill.domain import layout
from promptmill.domain.job import Counts, JobRun, JobState, Manifest, Source, make_job_id
from promptmill.domain.messages import PlanMessage
from promptmill.domain.money import to_usd
from promptmill.domain.times import rfc3339
from promptmill.jobs.find_run import find_run, latest_run
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.status import counts_so_far, waiting_for
from promptmill.settings import Stage
from promptmill.submissions.plan import cancel_with_batches

T = TypeVar("T")
Rows = Iterable[Mapping[str, Any]]


class Client:
    """A deployment: the local stack, or a stage in the account of the usual AWS credentials.

    What the command line can do to a job, it does in the same words and with the same errors. All methods raise
    UserError where the caller can help it: its ``code`` is stable, and its ``remedy`` says what to do.
    """

    def __init__(self, stage: Stage | None = None, *, name: str = "", find: FindTarget = find_target) -> None:
        """Find a deployment. ``name`` tells several of a stage apart."""
        # A notebook has an event loop in this thread already: everything that waits runs in a thread of its own.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="promptmill")
        self._target = self._call(lambda: find(stage, name))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<promptmill.Client of {self._target.name}>"

    def close(self) -> None:
        """Close what is open. The client cannot be used afterwards."""
        self._call(self._target.close)
        self._thread.shutdown()

    def submit(
        self, file: str | Path | Rows, *, recipe: str = layout.DEFAULT_RECIPE, name: str = "", again: bool = False
    ) -> Job:
        """Drop a file into the inbox of a recipe, and return its job.

        Args:
            file: a path; or rows, which become a file of JSON lines, called ``name`` or else ``rows.jsonl``.
            recipe: says what happens to the file.
            name: what the file is called in the inbox. Default: its own name.
            again: run the file even if the same file was run in the last 7 days.
        """
        if isinstance(file, str | Path):
            return self._drop(Path(file), recipe, name or Path(file).name, again=again)
        with tempfile.TemporaryDirectory(prefix="promptmill-") as folder:
            path = Path(folder) / "rows.jsonl"
            path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in file))
            return self._drop(path, recipe, name or path.name, again=again)

    def job(self, job_id: str) -> Job:
        """Return a job that was dropped before. Raises UserError: there is none (code ``unknown_job``)."""
        services = self._target.services
        return Job(self, self.run(find_run(job_id, jobs=services.jobs)).job_id)

    def jobs(self, *, limit: int = 20) -> list[Job]:
        """Return the jobs that were dropped last, the latest first."""

        async def recent() -> list[Job]:
            return [Job(self, job.job_id) async for job in self._target.services.jobs.recent(limit=limit)]

        return self.run(recent())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work of the deployment's ports, and wait for it."""
        done: T = self._call(lambda: self._target.services.run(work))
        return done

    @property
    def services(self) -> Any:
        """Return the ports of the deployment."""
        return self._target.services

    @property
    def poll_s(self) -> float:
        """Return how often a job is looked at while somebody waits for it."""
        return LOCAL_POLL_S if self._target.settings.stage == "local" else POLL_S

    def _call(self, work: Callable[[], T]) -> T:
        with aws_failures_in_words():
            return self._thread.submit(work).result()

    def _drop(self, path: Path, recipe: str, name: str, *, again: bool) -> Job:
        key = inbox_key(recipe, name)
        readable_size(path)
        self.run(load_recipe(recipe, self.services))
        found = self._call(lambda: self._target.drop(path, key, on_bytes=lambda _: None))
        job_id = make_job_id(Source(found.key, found.version, found.size, found.modified_at))
        if again:
            self.run(self.services.queue.send([PlanMessage(key, found.version, job_id, again=True)]))
        return Job(self, job_id, again=again)


class Job:
    """A job, as it is now: each property looks."""

    def __init__(self, client: Client, job_id: str, *, again: bool = False) -> None:
        self.id = job_id
        self._client, self._again = client, again

    def __repr__(self) -> str:
        return f"<promptmill.Job {self.id}>"

    @property
    def state(self) -> str:
        """Return its state, such as ``DONE``, or ``WAITING`` until AWS has noticed the file."""
        job = self._look()
        return job.state.value if job else "WAITING"

    @property
    def counts(self) -> Counts:
        """Return how many records of its latest run have an outcome, and what they cost."""
        job = self._look()
        return self._client.run(counts_so_far(job, jobs=self._client.services.jobs)) if job else Counts()

    @property
    def cost_usd(self) -> Decimal:
        """Return the known cost of its latest run. What is unknown, ``counts.unpriced`` says."""
        return to_usd(self.counts.nano_usd)

    @property
    def reason(self) -> str:
        """Return why it was rejected or ended early, and what to do about it, or "" if it did not."""
        job = self._look()
        return " ".join(part for part in (job.reason, job.remedy) if part) if job else ""

    def wait(self, *, timeout_s: float | None = None, progress: bool = True, file: TextIO | None = None) -> Self:
        """Wait until it has ended. An interrupt ends the waiting, not the job.

        Args:
            timeout_s: raise TimeoutError if it takes longer; the job goes on.
            progress: say how it is doing.
            file: where to say so. Default: standard error.
        """
        out, clock = file or sys.stderr, self._client.services.clock
        began, said = clock.monotonic(), ""
        while True:
            snapshot = self._snapshot(clock.monotonic() - began)
            text = describe(snapshot)
            if progress and text != said:
                out.write(f"{self.id} {snapshot.state:<9} {text}\n")
                said = text
            if snapshot.job is not None and self._has_ended(snapshot.job):
                return self
            if timeout_s is not None and snapshot.seconds > timeout_s:
                raise TimeoutError(f"job {self.id} has not ended after {timeout_s:g} s; it goes on")
            self._client.run(clock.sleep(self._client.poll_s))

    def results(self) -> Results:
        """Return the outcome of each record. Raises UserError: it has no results yet (code ``no_results``)."""
        services = self._client.services

        async def read() -> Results:
            with tempfile.TemporaryDirectory(prefix="promptmill-") as folder:
                files = await fetch(self.id, Path(folder), services=services)
                run = msgspec.json.decode(files["summary"].read_bytes())["run"]
                manifest: Manifest = await services.job_context.manifests(self.id, run)
                return read_results(files["results"], manifest)

        return self._client.run(read())

    def download(self, folder: str | Path) -> dict[str, Path]:
        """Write its files to a folder, and return their paths by name: ``results``, ``errors``, ``report`` and others."""
        return self._client.run(fetch(self.id, Path(folder), services=self._client.services))

    def cancel(self) -> Self:
        """End it early. No new call begins, and the answers so far are in its results."""
        services = self._client.services
        self._client.run(cancel_with_batches(self.id, services.job_context, services.submissions))
        return self

    def resume(self, *, route: str = "") -> Self:
        """Run every record that has no answer. Answers are kept, and not paid for again."""
        return self._rerun("resume", route)

    def redrive(self, *, route: str = "") -> Self:
        """Run only the records that failed. Answers are kept, and not paid for again."""
        return self._rerun("redrive", route)

    def _rerun(self, how: Literal["resume", "redrive"], route: str) -> Self:
        self._client.run(rerun_job(self.id, how, self._client.services.job_context, route=route))
        self._again = True
        return self

    def _look(self) -> JobRun | None:
        return self._client.run(latest_run(self.id, jobs=self._client.services.jobs))

    def _snapshot(self, seconds: float) -> Snapshot:
        services = self._client.services

        async def take() -> Snapshot:
            job = await latest_run(self.id, jobs=services.jobs)
            if job is None:
                return Snapshot(None, Counts(), seconds)
            counts = await counts_so_far(job, jobs=services.jobs)
            return Snapshot(job, counts, seconds, None, waiting_for(job, at=rfc3339(services.clock.now())))

        return self._client.run(take())

    def _has_ended(self, job: JobRun) -> bool:
        # Somebody who asked for it again does not take the state DUPLICATE for its end.
        return job.state.terminal or (job.state is JobState.DUPLICATE and not self._again)
