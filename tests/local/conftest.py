"""One stack for all tests of a run: the real template, the emulator, the embedded model (or its stub)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptmill.cli.local.paths import CLONE, LocalPaths
from promptmill.cli.local.processes import free_port
from promptmill.cli.target import local_target
from tests.local.deployment import Deployment
from tests.local.stack import LocalStack


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """In a folder and on ports of its own: a demo or another test run is not disturbed."""
    missing = [path for path in (CLONE / ".local/emulator/bin/python",) if not path.exists()]
    if missing:
        pytest.skip("the emulator is not installed: run make test, or make emulator model")
    _synthesise()
    stack = LocalStack(LocalPaths(CLONE, tmp_path_factory.mktemp("stack")), preferred_port=free_port(0))
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def deployment(local_stack: LocalStack) -> Iterator[Deployment]:
    target = local_target(str(local_stack.paths.home))
    try:
        yield Deployment(target)
    finally:
        target.close()


def _synthesise() -> None:
    """What is up to date is left alone."""
    command = ["make", "--no-print-directory", "synth", "STAGE=local", "CONTEXT="]
    made = subprocess.run(command, cwd=Path(CLONE), capture_output=True, text=True, check=False)
    if made.returncode:
        raise AssertionError(f"{' '.join(command)}: {made.stderr}")
