"""Refuse the calls of a boto3 session as AWS would, and note those that were made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tests.iam.calls import World, requests_for
from tests.iam.deployed import DeployedPolicies
from tests.iam.policies import Request


class Enforcement:
    """The gate in front of a session.

    Attributes:
        policies: what decides.
        made: what was asked for, by function.
        denied: what was refused, by function.
    """

    def __init__(self, policies: DeployedPolicies, world: World) -> None:
        self.policies, self._world = policies, world
        self._function = ""
        self.made: set[tuple[str, Request]] = set()
        self.denied: set[tuple[str, Request]] = set()

    def guard(self, session: boto3.Session) -> None:
        """Check every call of clients that the session makes from now on."""
        session.events.register("before-parameter-build", self._check)

    @contextmanager
    def acting_as(self, function: str) -> Iterator[None]:
        """Make calls with that function's role; outside of it, calls are the test's own and are not checked."""
        before, self._function = self._function, function
        try:
            yield
        finally:
            self._function = before

    def _check(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if not self._function:
            return
        service, operation = model.service_model.service_name, model.name
        for request in requests_for(service, operation, params, self._world):
            self.made.add((self._function, request))
            if not self.policies.allow(self._function, request):
                self.denied.add((self._function, request))
                raise ClientError({"Error": {"Code": "AccessDenied", "Message": str(request)}}, operation)
