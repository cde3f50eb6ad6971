"""The real workflows on a deployment that crashes: 800 seeds. ``make soak`` runs more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.__main__ import told
from tests.simulation.run import simulate

SEEDS, BLOCK = 800, 100


@pytest.mark.parametrize("start", range(0, SEEDS, BLOCK))
def test_no_invariant_breaks(start: int) -> None:
    broken = [report for seed in range(start, start + BLOCK) if (report := simulate(seed)).broken]
    assert not broken, "".join(map(told, broken))


def test_these_seeds_are_not_harmless() -> None:
    """Else the test above shows nothing."""
    reports = [simulate(seed) for seed in range(BLOCK)]
    assert sum(report.crashes for report in reports) > BLOCK
    assert sum(report.calls for report in reports) > 5 * BLOCK
    kinds = {kind for report in reports for kind in report.faults}
    assert kinds >= {"refuse", "lose", "twice", "crash", "crash after", "freeze", "freeze after"}


def test_a_seed_replays_exactly() -> None:
    """In another process too, whatever order its sets of texts are in."""
    traces = {_trace(hash_seed) for hash_seed in ("0", "1")}
    assert len(traces) == 1
    assert len(traces.pop()) > 10_000


def _trace(hash_seed: str) -> str:
    code = "from tests.simulation.run import simulate; print(*simulate(8, traced=True).trace, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
