"""Engines beside the patterns, for commands that keep everything on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from promptmill.domain.errors import UserError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.domain.redaction.policy import EngineMissingError, beside
from promptmill.domain.redaction.spans import Engine, Span
from promptmill.ports.entity_finder import EntityFinder

INSTALL = "python -m pip install --no-deps --require-hashes -r layers/ner/requirements.txt"
_REMEDIES = {"ner": f"in a clone of Promptmill run `make ner`, or for another Python: {INSTALL}"}
_STAYS = "it asks AWS, and nothing leaves this machine: leave it out of the policy's engines to try the others"


@contextmanager
def other_engines(policy: RedactionPolicy) -> Iterator[Engine | None]:
    """Those of the policy that are not built in, as one; None if it wants none.

    Raises:
        UserError: one of them can't be had here (``engine_missing``).
    """
    from promptmill.wiring import offline_finders  # noqa: PLC0415 (engines that are adapters)

    if not beside(policy):
        yield None
        return
    finders = offline_finders()
    with asyncio.Runner() as runner:
        try:
            found = [_tried(name, finders.finder, policy, runner) for name in beside(policy)]
            yield _Others(found, policy, runner)
        finally:
            runner.run(finders.close())


def _tried(
    name: str, finder: Callable[[str], EntityFinder], policy: RedactionPolicy, runner: asyncio.Runner
) -> EntityFinder:
    """It is loaded, so that what is missing is said once, and not for every line."""
    try:
        found = finder(name)
        runner.run(found.find("", policy))
    except EngineMissingError as error:
        reason = f"the engine {name} is not installed here"
        raise UserError(reason, code="engine_missing", remedy=_REMEDIES.get(name, _STAYS)) from error
    return found


class _Others:
    def __init__(self, finders: list[EntityFinder], policy: RedactionPolicy, runner: asyncio.Runner) -> None:
        self._finders, self._policy, self._runner = finders, policy, runner

    def find(self, text: str) -> list[Span]:
        return [span for finder in self._finders for span in self._runner.run(finder.find(text, self._policy)).spans]
