"""The stack that tests talk to."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import boto3

from promptmill.adapters.aws_sessions import local_session
from promptmill.cli.local.paths import LocalPaths
from promptmill.cli.local.stack import LocalState, down, up

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
