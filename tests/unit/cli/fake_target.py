"""A deployment in memory, and a way to type commands at it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from click.testing import CliRunner, Result

from promptmill.cli.main import cli
from promptmill.domain.recipe import Recipe
from promptmill.jobs.context import JobContext
from promptmill.ports.object_store import ObjectInfo
from promptmill.settings import Settings, Stage
from tests.fakes.limit_groups import FakeLimitGroups
from tests.fakes.mill import Mill
from tests.fakes.recipes import recipe
from tests.fakes.secret_store import FakeSecretStore
from tests.fakes.submissions import FakeSubmissions
from tests.unit.cli.fake_account import FakeAccount

T = TypeVar("T")
SETTINGS = Settings(
    stage="dev",
    region="eu-central-1",
    bucket="mill-bucket",
    jobs_table="jobs",
    charges_table="charges",
    uploads_queue="uploads",
    chunks_queue="chunks",
    finish_queue="finish",
    requests_queue="requests",
    replies_prefix="promptmill-dev-replies",
    event_bus="bus",
)
NAME = "123456789012/eu-central-1/dev"


class FakeServices:
    """Ports of a ``Mill``, as ``wiring.Services`` offers them."""

    def __init__(self, mill: Mill, secrets: Mapping[str, str]) -> None:
        self.objects, self.jobs, self.ledger = mill.objects, mill.jobs, mill.ledger
        self.recipes, self.providers, self.prices = mill.recipes, mill.models, mill.prices
        self.clock, self.secrets = mill.clock, FakeSecretStore(secrets)
        self.account, self.limit_groups = FakeAccount(), FakeLimitGroups()
        self.submissions = FakeSubmissions(mill.jobs, mill.units)
        self._mill, self.switches, self.queue = mill, mill.switches, mill.queue

    def client(self, service: str, region: str = "") -> FakeAccount:
        del service, region
        return self.account

    @property
    def job_context(self) -> JobContext:
        return self._mill.context()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(work)


class FakeTarget:
    """A deployment that runs each dropped file at once, unless it is ``idle``."""

    def __init__(
        self,
        *recipes: Recipe,
        mill: Mill | None = None,
        secrets: Mapping[str, str] | None = None,
        idle: bool = False,
    ) -> None:
        self.mill = mill or Mill(*recipes)
        self.name, self.settings = NAME, SETTINGS
        self.outputs = {"Version": "0.1.0"}
        self.services = FakeServices(self.mill, secrets or {})
        self.stages: list[Stage | None] = []
        self._idle = idle

    def __call__(self, stage: Stage | None, _name: str = "") -> FakeTarget:
        """As ``find_target``."""
        self.stages.append(stage)
        return self

    def drop(self, path: Path, key: str, *, on_bytes: Callable[[int], None]) -> ObjectInfo:
        message = self.mill.drop(key, path.read_bytes())
        on_bytes(path.stat().st_size)
        if not self._idle:
            self.services.run(self.mill.plan(message))
            self.services.run(self.mill.pump())
        found = self.services.run(self.mill.objects.head(key))
        if found is None:
            raise AssertionError(key)
        return found

    def close(self) -> None:
        """Kept open: a test may type several commands."""


def text_recipe(**changes: object) -> Recipe:
    return recipe("reviews", prompt="{{ text }}", **changes)


def typed(target: object, *words: str, **environment: str) -> Result:
    return CliRunner(env={"PROMPTMILL_STAGE": None, **environment}).invoke(cli, list(words), obj=target)


def typed_json(target: object, *words: str) -> tuple[dict[str, Any], int]:
    """The document and the exit code."""
    result = typed(target, *words, "--json")
    document: dict[str, Any] = json.loads(result.stdout)
    return document, result.exit_code
