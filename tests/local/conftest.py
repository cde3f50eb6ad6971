"""One stack for all tests of a run: the real template, the emulator, the embedded model (or its stub)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from promptmill.cli.local.paths import CLONE
from promptmill.cli.target import local_target
from tests.local.deployment import Deployment
from tests.local.stack import LocalStack, started_stack


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """In a folder and on ports of its own: a demo or another test run is not disturbed."""
    missing = [path for path in (CLONE / ".local/emulator/bin/python",) if not path.exists()]
    if missing:
        pytest.skip("the emulator is not installed: run make test, or make emulator model")
    with started_stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="session")
def deployment(local_stack: LocalStack) -> Iterator[Deployment]:
    target = local_target(str(local_stack.paths.home))
    try:
        yield Deployment(target)
    finally:
        target.close()
