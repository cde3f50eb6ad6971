"""How a job is cut."""

from __future__ import annotations

from promptmill.domain.recipe import Recipe

MAX_RECORDS = 500
MAX_BYTES = 8 << 20
_ROUNDS = 5  # of calls in flight that one invocation has the time for


def records_per_chunk(recipe: Recipe) -> int:
    """At most 500; fewer where the first route lets few calls be in flight, so that a chunk ends in good time."""
    return max(1, min(MAX_RECORDS, _ROUNDS * recipe.routes[0].in_flight))
