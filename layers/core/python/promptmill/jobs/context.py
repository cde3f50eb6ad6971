"""The ports and values that the verbs on files share."""

from __future__ import annotations

import random

from msgspec import Struct

from promptmill.domain.job_file import FileLimits
from promptmill.jobs.manifests import ManifestCache
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.ledger import PriceBook
from promptmill.ports.message_queue import EventBus, WorkQueue
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.recipe_source import RecipeSource

CHUNKS_A_SEGMENT = 100
"""As a rule 50 MB, which are joined within seconds; where answers are huge, still within minutes."""


class JobContext(Struct, frozen=True):
    """The ports and values of every verb on files. ``wiring.py`` binds the real adapters, and tests bind fakes.

    Attributes:
        day_cap: nano-dollars that the whole deployment may spend in a day, None for no limit.
        limits: what one file may take.
        chunks_a_segment: how many chunk results one message joins, at least.
    """

    objects: ObjectStore
    jobs: Jobs
    queue: WorkQueue
    events: EventBus
    recipes: RecipeSource
    prices: PriceBook
    manifests: ManifestCache
    clock: Clock
    rng: random.Random
    day_cap: int | None = None
    limits: FileLimits = FileLimits()
    chunks_a_segment: int = CHUNKS_A_SEGMENT
