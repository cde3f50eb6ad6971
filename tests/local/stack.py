"""The stack that tests talk to."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import msgspec

from promptmill.aws.cloudformation import CloudFormationStacks
from promptmill.aws.sessions import local_session
from promptmill.cli.local.paths import CLONE, LocalPaths
from promptmill.cli.local.processes import free_port, stop
from promptmill.cli.local.stack import STACK, LocalState, _start_emulator, _write, down, up
from promptmill.cli.target import AwsTarget, local_target
from tests.local.deployment import Deployment

RECIPES = ("demo",)


class LocalStack:
    """Started once, tied to the test run: it ends with it, however that ends."""

    def __init__(self, paths: LocalPaths, *, preferred_port: int) -> None:
        self.paths, self._preferred_port = paths, preferred_port
        self._state: LocalState | None = None

    def start(self) -> LocalState:
        recipes = [self.paths.clone / "recipes" / f"{name}.yaml" for name in RECIPES]
        self._state = up(self.paths, recipes=recipes, tied=True, preferred_port=self._preferred_port)
        return self._state

    def stop(self) -> None:
        down(self.paths)
        self._state = None

    @property
    def state(self) -> LocalState:
        if self._state is None:
            raise AssertionError("the stack is not up")
        return self._state

    @property
    def endpoint(self) -> str:
        return self.state.endpoint

    @property
    def model_url(self) -> str:
        """Base URL as OpenAI's clients want it."""
        return self.state.model_url

    @property
    def is_stub(self) -> bool:
        return self.state.is_stub

    @property
    def outputs(self) -> dict[str, str]:
        return self.state.outputs

    @property
    def logs(self) -> Path:
        return self.paths.logs

    @cached_property
    def session(self) -> boto3.Session:
        return local_session()

    def client(self, service: Any) -> Any:
        return self.session.client(service, endpoint_url=self.endpoint)

    def function_logs(self) -> str:
        """What the functions wrote, as the emulator's log holds it."""
        return (self.logs / "emulator.log").read_text(errors="replace")


@contextmanager
def started_stack(home: Path) -> Iterator[LocalStack]:
    """In a folder and on ports of its own: a demo or another test run is not disturbed."""
    synthesise()
    stack = LocalStack(LocalPaths(CLONE, home), preferred_port=free_port(0))
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


@contextmanager
def bare_emulator(home: Path) -> Iterator[LocalState]:
    """Yield an emulator with nothing in it, which stops at the end. Its state is written, without outputs."""
    paths = LocalPaths(CLONE, home)
    process, endpoint = _start_emulator(paths, tied=True, preferred_port=free_port(0))
    try:
        yield LocalState(endpoint, "", is_stub=True, processes=(process,))
    finally:
        stop(process)


def deployed_target(home: Path, state: LocalState) -> AwsTarget:
    """Return the stack that somebody else deployed into that emulator, as the commands find it."""
    client = local_session().client("cloudformation", endpoint_url=state.endpoint)
    outputs = CloudFormationStacks(client).outputs(STACK)
    assert outputs is not None
    _write(LocalPaths(CLONE, home), msgspec.structs.replace(state, outputs=outputs))
    return local_target(str(home))


@contextmanager
def deployed_stack() -> Iterator[Deployment]:
    """For commands: up while this is entered, and gone after it."""
    with tempfile.TemporaryDirectory() as home, started_stack(Path(home)) as stack:
        target = local_target(str(stack.paths.home))
        try:
            yield Deployment(target)
        finally:
            target.close()


def synthesise(clone: Path = CLONE) -> None:
    """Synthesise the local stage of a clone, unless it is up to date."""
    command = ["make", "--no-print-directory", "synth", "STAGE=local", "CONTEXT="]
    made = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    if made.returncode:
        raise AssertionError(f"{' '.join(command)}: {made.stderr}")
