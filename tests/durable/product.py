"""All that these tests know of the product. Its modules may move; then only this file follows them.

Spellings of what is stored are never taken from here: the tests have their own.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
from msgspec import structs

from promptmill.aws.dynamodb.limit_groups import DynamoDbLimitGroups
from promptmill.domain import messages
from promptmill.domain.completion import Completion, Usage
from promptmill.domain.errors import RecordRefusedError, RetryLaterError, RouteClosedError
from promptmill.domain.limit_group import Circuit, Estimate, Learnt, Member
from promptmill.domain.messages import FinishMessage
from promptmill.jobs.finish_job import finish_job
from promptmill.jobs.plan_job import release_duplicate
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.stop_run import cancel_job
from promptmill.settings import Settings
from promptmill.wiring import Services
from tests.fakes.price_book import FlatPrices

__all__ = ["Completion", "RecordRefusedError", "RetryLaterError", "RouteClosedError", "Services", "Usage"]

ROOT = Path(__file__).parents[2]


def settings(*, bucket: str, queues: Mapping[str, str]) -> Settings:
    """Return the settings of a stage that may spend 5 dollars a day. ``queues`` holds addresses by name."""
    return Settings(
        stage="dev",
        region="eu-central-1",
        bucket=bucket,
        jobs_table="jobs",
        charges_table="charges",
        uploads_queue=queues["uploads"],
        chunks_queue=queues["chunks"],
        finish_queue=queues["finish"],
        requests_queue=queues["requests"],
        replies_prefix="promptmill-dev-replies",
        event_bus="default",
        day_cap_usd="5",
    )


def services(of: Settings, *, session: Callable[[], boto3.Session], name: str, clock: Any, models: Any) -> Services:
    """Return the services of one process, with the tests' own clock, models, prices and randomness."""
    found = Services(of, make_session=session)
    found.rng = random.Random(name)  # type: ignore[assignment]
    found.__dict__ |= {"clock": clock, "providers": models, "prices": FlatPrices()}
    return found


def handler(function: str, of: Services) -> Callable[[dict[str, Any], Any], Any]:
    """Return the handler of a function, in a process with these services."""
    module = _module(ROOT / "functions" / function / "handler.py")
    module.__dict__["services_of_process"] = lambda: of
    found: Callable[[dict[str, Any], Any], Any] = module.handler
    return found


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"durable_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finish_in_segments(body: str, of: Services, *, chunks: int) -> None:
    """Do what the function finish_job does, with segments of so few chunks that a small job has some."""
    context = structs.replace(of.job_context, chunks_a_segment=chunks)
    of.run(finish_job(messages.decode(body, FinishMessage), context))


def cancel(job_id: str, of: Services) -> None:
    of.run(cancel_job(job_id, of.job_context))


def resume(job_id: str, of: Services, *, route: str) -> None:
    of.run(rerun_job(job_id, "resume", of.job_context, route=route))


def again(job_id: str, of: Services) -> None:
    of.run(release_duplicate(job_id, of.job_context))


def limit_groups(of: Services) -> DynamoDbLimitGroups:
    return DynamoDbLimitGroups(of.client("dynamodb"), "jobs", of.rng, of.clock)


def fill_limit_group(group: str, of: Services, *, now: float) -> None:
    """Write down all that workers note of a limit: a member, a job that waits, what was learnt, an outage."""
    groups = limit_groups(of)
    member = Member("another.1", now + 25.0, 1.25, 300.0, 0.5, braked=True, used_of_share=0.75)
    of.run(groups.show(group, "worker-y", member))
    of.run(groups.wait(group, "another.2", until=now + 25.0))
    of.run(groups.leave(group, "worker-z", learnt=Learnt(1.5, 240.0, 0.25, 0.7)))
    of.run(groups.set_estimate(group, seen=None, to=Estimate(5.0, now + 1.0, reached=True)))
    of.run(groups.set_circuit(group, seen=None, to=Circuit(now - 800.25, now + 20.0, 2)))
