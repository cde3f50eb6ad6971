"""What importing a handler must not import: an invocation pays only for what it uses. Times: tests/bench/cold_start.py."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.bench.cold_start import FUNCTIONS, ROOT

UNTIL_USED = {"pydantic", "yaml", "genai_prices", "aiohttp", "re2", "tenacity", "boto3", "moto"}
ADAPTERS_AND_WORKFLOWS = tuple(
    f"promptmill.{name}" for name in ("aws", "providers", "detectors", "prices", "jobs", "requests", "engine", "calls")
)
PRINT_MODULES = "import sys; sys.path.insert(0, sys.argv[1]); import handler; print(*sys.modules)"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_is_imported_before_it_is_used(function: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_MODULES, str(ROOT / "functions" / function)],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": "", "POWERTOOLS_SERVICE_NAME": function, "POWERTOOLS_METRICS_NAMESPACE": "Promptmill"},
    )
    modules = done.stdout.split()
    assert "promptmill.wiring" in modules
    assert {name.partition(".")[0] for name in modules} & UNTIL_USED == set()
    assert [name for name in modules if name.startswith(ADAPTERS_AND_WORKFLOWS)] == []
