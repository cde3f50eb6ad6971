"""The environment of a function as typed values. Names of environment variables stand here alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from promptmill.domain.errors import ForeignEventError, SettingsError
from promptmill.domain.job_file import FileLimits

SHARED_BODIES_UNTIL = "2026-11-28T00:00:00Z"
"""When bodies of requests got folders of their recipes: who published before could not know."""
Stage = Literal["local", "dev", "prod"]
QueueName = Literal["uploads", "chunks", "finish", "requests"]
QUEUES: tuple[QueueName, ...] = get_args(QueueName)
DEAD_LETTERS = "-dead-letters"
PREFIX = "PROMPTMILL_"
ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""For glibc: chunks that are read and dropped in several threads leave holes, and a worker of 500 MB grows; see
``python -m tests.bench.calls memory``."""


class SourceQueue(Struct, frozen=True):
    """A queue of this deployment that starts a function.

    Attributes:
        url: its address, by which messages are hidden and sent.
        kind: what its messages are about.
        recipe: the recipe whose own queue it is, "" for a queue of all recipes.
    """

    url: str
    kind: QueueName
    recipe: str = ""

    @property
    def dead_letters(self) -> SourceQueue:
        """The queue of what could not be worked on."""
        return SourceQueue(f"{self.url}{DEAD_LETTERS}", self.kind, self.recipe)

    def has_arn(self, arn: str, region: str) -> bool:
        """Return True if this is the queue's ARN. Its partition follows from its region."""
        *_, account, name = ("", *self.url.split("/"))
        return arn.split(":", 2)[0] == "arn" and arn.split(":")[2:] == ["sqs", region, account, name]


class Settings(Struct, frozen=True):
    """The settings, set by infra and read by wiring.

    Attributes:
        region: of the deployment; the only name that Lambda itself sets (``AWS_REGION``).
        replies_prefix: name of the stack's own reply queue; names of further ones that replies may go to start with it.
        local_model_url: base URL of the embedded model; local stage only.
        in_flight: most calls at once in one worker, whatever the routes say.
        private_ranges: CIDR blocks of private addresses that models may be called at, separated by commas.
        day_cap_usd: what the whole deployment may spend in a day (UTC); "" for no limit.
        engines: what looks for sensitive values besides the patterns that are always there, separated by commas.
        shared_bodies_until: requests published before (RFC 3339) may name a body anywhere under ``requests/``.
        secret_prefix: what the names of the deployment's secrets begin with, "" where that is not known.
        recipe_queues: recipes that have a requests queue of their own, separated by commas.
        common_queue_until: what was published before (RFC 3339) to the common requests queue is answered for them, too.
        max_records: the most records of one file.
        max_unpacked_gb: the most GiB of one file, once it is unpacked.
        max_expansion: the most bytes that a byte of gzip may become, where the whole is large.
        planning_minutes: the longest that one file may take to be read and cut.
        planners_per_recipe: the most large files of one recipe that are planned at once.
        lease_s: how long a message stays hidden after its worker's last sign of life.
    """

    stage: Stage
    region: str
    bucket: str
    jobs_table: str
    charges_table: str
    uploads_queue: str
    chunks_queue: str
    finish_queue: str
    requests_queue: str
    replies_prefix: str
    event_bus: str
    local_model_url: str = ""
    in_flight: int = 500
    private_ranges: str = ""
    lease_s: int = 120
    day_cap_usd: str = ""
    engines: str = ""
    shared_bodies_until: str = SHARED_BODIES_UNTIL
    max_records: int = 10_000_000
    max_unpacked_gb: int = 50
    max_expansion: int = 200
    planning_minutes: int = 10
    planners_per_recipe: int = 3
    secret_prefix: str = ""
    recipe_queues: str = ""
    common_queue_until: str = ""

    @property
    def file_limits(self) -> FileLimits:
        return FileLimits(
            records=self.max_records,
            unpacked_bytes=self.max_unpacked_gb << 30,
            expansion=self.max_expansion,
            planning_s=self.planning_minutes * 60,
            planners=self.planners_per_recipe,
        )

    @property
    def engine_names(self) -> tuple[str, ...]:
        return tuple(filter(None, self.engines.split(",")))

    @property
    def recipes_with_queues(self) -> frozenset[str]:
        return frozenset(filter(None, self.recipe_queues.split(",")))

    def requests_queue_for(self, recipe: str) -> str:
        """Return the address of the queue that takes the requests of a recipe: its own, or the common one."""
        if recipe not in self.recipes_with_queues:
            return self.requests_queue
        return f"{self.requests_queue.removesuffix('requests')}{recipe}-requests"

    def find_source(self, arn: str, kind: QueueName) -> SourceQueue:
        """Return the queue that an event came from, by the ARN that Lambda names.

        Raises:
            ForeignEventError: it is no queue of this kind, or not of this deployment.
        """
        return _find_source(arn, self._sources(kind), self.region)

    def find_dead_letters(self, arn: str) -> SourceQueue:
        """Return the queue of dead letters that an event came from. Raises ForeignEventError likewise."""
        dead = (source.dead_letters for kind in QUEUES for source in self._sources(kind))
        return _find_source(arn, dead, self.region)

    def _sources(self, kind: QueueName) -> Iterator[SourceQueue]:
        common: Mapping[QueueName, str] = {
            "uploads": self.uploads_queue,
            "chunks": self.chunks_queue,
            "finish": self.finish_queue,
            "requests": self.requests_queue,
        }
        yield SourceQueue(common[kind], kind)
        if kind == "requests":
            for recipe in self.recipes_with_queues:
                yield SourceQueue(self.requests_queue_for(recipe), kind, recipe)


def _find_source(arn: str, sources: Iterable[SourceQueue], region: str) -> SourceQueue:
    for source in sources:
        if source.has_arn(arn, region):
            return source
    raise ForeignEventError


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read the settings. Raises SettingsError, naming the variable."""
    named = {field: environment[name] for field, name in _names().items() if name in environment}
    missing = [_names()[f.name] for f in msgspec.structs.fields(Settings) if f.required and f.name not in named]
    if missing:
        raise SettingsError(
            f"not set: {', '.join(missing)}", code="setting_missing", remedy="the stack sets them: deploy it again"
        )
    try:
        return msgspec.convert(named, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(str(error), code="setting_malformed", where="environment") from error


def to_environment(settings: Settings) -> dict[str, str]:
    """Return the variables to set on a function, without the region, which Lambda sets itself."""
    return {
        name: str(getattr(settings, field))
        for field, name in _names().items()
        if field != "region" and str(getattr(settings, field))
    }


def _names() -> dict[str, str]:
    return {
        f.name: "AWS_REGION" if f.name == "region" else PREFIX + f.name.upper()
        for f in msgspec.structs.fields(Settings)
    }


STAGES: tuple[str, ...] = get_args(Stage)


def deployment_name(stage: str, name: str = "") -> str:
    """Return what a deployment is called in its account: its stage, after its own name if there are several of a stage."""
    return f"{name}-{stage}" if name else stage


def stack_name(stage: str, name: str = "") -> str:
    return f"promptmill-{deployment_name(stage, name)}"
