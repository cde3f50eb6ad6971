"""The scenarios of the flow control, made smaller: the same every time, and each with targets that can be missed.

``python -m tests.bench.flow`` runs them in full.
"""

from __future__ import annotations

import pytest

from tests.bench.flow_scenarios import SCENARIOS

SCALES = (0.1, 0.3, 0.3, 0.1, 0.25, 0.1, 0.2, 0.1, 0.3, 0.1, 0.3, 0.1, 1.0, 0.3)


@pytest.mark.parametrize("number", range(1, len(SCENARIOS) + 1))
def test_its_targets_are_reached(number: int) -> None:
    figures = list(SCENARIOS[number - 1](1, SCALES[number - 1]))
    missed = [f"{figure.name}: {figure.value:.3g}, target {figure.target:g}" for figure in figures if not figure.good]
    assert figures
    assert not missed
