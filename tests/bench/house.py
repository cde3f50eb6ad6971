"""The real ``run_chunk`` with the real HTTP adapters; its stores in memory, or what grows in other processes and on disk."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session

from promptmill.aws.garbage import pass_over_what_is_imported
from promptmill.domain.recipe import Recipe, RedactionPolicy, Route, UserPrice
from promptmill.pacing.pacing import JobPacing, Unpaced
from promptmill.providers.registry import HttpModelProviders
from promptmill.redaction import ALL_TYPES
from promptmill.settings import Settings
from promptmill.system_clock import SystemClock
from tests.bench.disk_units import DiskUnits
from tests.fakes.clock import START
from tests.fakes.mill import Mill
from tests.fakes.secret_store import FakeSecretStore

SETTINGS = Settings(
    stage="local",
    region="eu-central-1",
    bucket="b",
    jobs_table="j",
    charges_table="c",
    uploads_queue="u",
    chunks_queue="k",
    finish_queue="f",
    requests_queue="r",
    replies_prefix="p",
    event_bus="e",
    in_flight=900,
)


class BenchClock(SystemClock):
    """Real time, but on the day on which the jobs of a ``Mill`` begin: on any other day they would be given up."""

    def __init__(self) -> None:
        self._began = self.monotonic()

    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic() - self._began)


class OneWorker(Unpaced):
    """As fast as places allow, by an invocation that carries on with all chunks of its job."""

    def room(self, *, sent: int, drained: int, chunks: int, carrying_on: bool = False) -> int:
        del drained
        return int(sent < chunks and (carrying_on or not sent))


class Loopback(Mill):
    """A mill whose calls go to a server on this machine, in real time."""

    def __init__(self, recipe: Recipe, providers: HttpModelProviders, in_flight: int) -> None:
        super().__init__(recipe, models=providers)
        pass_over_what_is_imported()
        self.clock = BenchClock()  # type: ignore[assignment]
        self.slots = in_flight

    def stored(self, objects: Any, folder: Path) -> None:
        """Objects elsewhere, intents in files of ``folder``: what is left here is a worker's own."""
        self.objects, self.units = objects, DiskUnits(self.jobs.shut, folder)

    def pace(self, owner: str) -> JobPacing:
        del owner
        return OneWorker()


async def mill(
    port: int, lines: list[bytes], in_flight: int, *, redacting: bool = False, provider: str = "openai"
) -> int:
    recipe = recipe_at(port, in_flight, redacting=redacting, provider=provider)
    providers = real_providers()
    house = Loopback(recipe, providers, in_flight)
    try:
        job = await house.mill("inbox/r/file.jsonl", b"\n".join(lines) + b"\n")
    finally:
        await providers.close()
    if job.counts.failed or job.counts.stopped:
        raise ValueError(f"{job.counts}: {house.lines(job, 'results')[0]}")
    return job.counts.answered


def real_providers() -> HttpModelProviders:
    session = botocore.session.Session()
    session.set_credentials("AKIDEXAMPLE", "secret")
    return HttpModelProviders(
        settings=SETTINGS,
        secrets=FakeSecretStore({"k": "sk-loopback"}),
        clock=BenchClock(),
        make_aws_session=lambda: session,
    )


def recipe_at(port: int, in_flight: int, *, redacting: bool = False, provider: str = "openai") -> Recipe:
    model = "eu.amazon.nova-lite-v1:0" if provider == "bedrock" else "gpt-6-luna"
    base = f"http://127.0.0.1:{port}" + ("" if provider == "bedrock" else "/v1")
    route = Route(
        f"{provider}/{model}",
        provider,
        model,
        key="" if provider == "bedrock" else "k",
        base_url=base,
        region="eu-central-1" if provider == "bedrock" else "",
        in_flight=in_flight,
        price=UserPrice(input_usd_per_mtok="1", output_usd_per_mtok="2"),
    )
    policy = RedactionPolicy(types=tuple(ALL_TYPES) if redacting else ())
    return Recipe(name="r", version="0", routes=(route,), redact=policy)
