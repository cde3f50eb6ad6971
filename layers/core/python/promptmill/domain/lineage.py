"""Which run of a job ran a chunk last."""

from __future__ import annotations

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.job import Manifest


class Lineage(Struct, frozen=True):
    """``runs``: a run, the one that it goes on from, and so on to the first, which ran every chunk."""

    runs: tuple[Manifest, ...]

    def run_of(self, chunk: int) -> int:
        return next(run.run for run in self.runs if run.runs(chunk))

    def result_key(self, chunk: int) -> str:
        """Where its latest result is."""
        return layout.chunk_result_key(self.runs[0].job_id, self.run_of(chunk), chunk)
