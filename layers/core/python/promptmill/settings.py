"""The environment of a function as typed values. Names of environment variables stand here alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from promptmill.domain.errors import SettingsError
from promptmill.domain.job_file import FileLimits

SHARED_BODIES_UNTIL = "2026-11-28T00:00:00Z"
"""When bodies of requests got folders of their recipes: who published before could not know."""
Stage = Literal["local", "dev", "prod"]
PREFIX = "PROMPTMILL_"
ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""For glibc: chunks that are read and dropped in several threads leave holes, and a worker of 500 MB grows; see
``python -m tests.bench.calls memory``."""


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
