"""Refuse the calls of a boto3 session as AWS would, and note those that were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tests.iam.calls import World, missing_object, requests_for
from tests.iam.deployed import DeployedPolicies
from tests.iam.policies import Request

_CODES = {"s3": "AccessDenied", "sqs": "AccessDenied"}
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion"})


Params = dict[str, Any]


class BrokenCallError(Exception):
    """Stands for a call whose connection breaks, or whose process ends."""


class Enforcement:
    """The gate in front of a session.

    Attributes:
        policies: what decides.
        calls: how many calls were judged.
        made: what was asked for and how often, by who asked: a function, or a managed policy's holder.
        denied: what was refused.
        is_dead: the process is gone, and all of its calls fail.
        hidden: who was told "access denied" for an object that is not there.
    """

    def __init__(self, policies: DeployedPolicies, world: World) -> None:
        self.policies, self.world = policies, world
        self.calls = 0
        self.made: Counter[tuple[str, Request]] = Counter()
        self.denied: set[tuple[str, Request]] = set()
        self.hidden: set[tuple[str, Request]] = set()
        self._breaks: list[tuple[str, str, bool]] = []
        self.is_dead = False
        self._holder = ""
        self._taken: Callable[[Request], bool] | None = None

    def guard(self, session: boto3.Session) -> None:
        """Check every call of clients that the session makes from now on."""
        session.events.register("before-parameter-build", self._before)
        session.events.register("after-call.s3", self._after)

    @contextmanager
    def acting_as(self, holder: str) -> Iterator[None]:
        """Make calls with what ``holder`` may do; outside of it, calls are the test's own and are not checked."""
        before, self._holder = self._holder, holder
        try:
            yield
        finally:
            self._holder = before

    def add(self, other: Enforcement) -> None:
        """Add what another gate saw of the same policies."""
        self.calls += other.calls
        self.made += other.made
        self.denied |= other.denied
        self.hidden |= other.hidden

    def break_at(self, operation: str, key: str = "", *, dies: bool = False) -> None:
        """Let the next call of an operation fail, on an object whose key holds ``key``.

        Args:
            dies: the process is gone from then on, until ``revive``: all of its calls fail.
        """
        self._breaks.append((operation, key, dies))

    def revive(self) -> None:
        """Begin another process."""
        self.is_dead = False

    @contextmanager
    def taking_away(self, taken: Callable[[Request], bool]) -> Iterator[None]:
        """Refuse what ``taken`` is true of as well, without noting it as denied."""
        self._taken = taken
        try:
            yield
        finally:
            self._taken = None

    def allows(self, requests: list[Request]) -> bool:
        """Note a call that asks for all of these, and return True if the holder may make it."""
        self.calls += 1
        good = True
        for request in requests:
            if self._taken is not None and self._taken(request):
                good = False
                continue
            self.made[self._holder, request] += 1
            if not self.policies.allow(self._holder, request):
                self.denied.add((self._holder, request))
                good = False
        return good

    def _before(self, params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        context["asked_for"] = params
        if not self._holder:
            return
        service, operation = model.service_model.service_name, model.name
        self._break(operation, params.get("Key", ""))
        _send_at_once(params)
        if not self.allows(requests_for(service, operation, params, self.world)):
            raise _denied(service, operation)

    def _break(self, operation: str, key: str) -> None:
        if self.is_dead:
            raise BrokenCallError(operation)
        for place in self._breaks:
            if place[0] == operation and place[1] in key:
                self._breaks.remove(place)
                self.is_dead = place[2]
                raise BrokenCallError(operation)

    def _after(self, parsed: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        """Answer "access denied" instead of "not there" to whoever may not list the bucket."""
        error = parsed.get("Error", {})
        if not self._holder or error.get("Code") not in _MISSING:
            return
        request = missing_object(context["asked_for"], self.world)
        self.made[self._holder, request] += 1
        if not self.policies.allow(self._holder, request):
            self.hidden.add((self._holder, request))
            error["Code"] = "403" if model.name == "HeadObject" else "AccessDenied"


def _send_at_once(params: Params) -> None:
    """Leave delays of messages out: the queue in memory counts them by the real clock."""
    for message in (params, *params.get("Entries", ())):
        if "MessageBody" in message:
            message.pop("DelaySeconds", None)


def _denied(service: str, operation: str) -> ClientError:
    code = "403" if operation == "HeadObject" else _CODES.get(service, "AccessDeniedException")
    return ClientError({"Error": {"Code": code, "Message": "not authorized"}}, operation)
