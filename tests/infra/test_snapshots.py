"""Every change of a template is seen in review: ``make snapshots`` accepts it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.infra.templates import STAGES, StageTemplate

FOLDER = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("PROMPTMILL_SNAPSHOTS") == "write"


@pytest.mark.parametrize("stage", STAGES)
def test_template_is_as_accepted(stage: str, templates: dict[str, StageTemplate]) -> None:
    path, now = FOLDER / f"{stage}.json", _normalised(templates[stage].body)
    if WRITE:
        path.write_text(json.dumps(now, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    assert json.loads(path.read_text()) == now, "if this is meant: make snapshots"


def test_no_snapshot_is_left_over() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(STAGES)


def _normalised(body: dict[str, Any]) -> Any:
    """Without the hashes of code, which change with every line of it."""
    return json.loads(re.sub(r"[0-9a-f]{64}", "<asset>", json.dumps(body)))
