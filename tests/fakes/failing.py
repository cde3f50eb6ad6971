"""Fakes that fail, or let something else happen first, when a test asks them to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

ALWAYS = 10**9


class FailsOnRequest:
    """A base of the fakes of ports. Operations that no test has asked for are untouched."""

    def fail_next(
        self,
        operation: str,
        error: Exception | None = None,
        *,
        times: int = 1,
        when: Callable[..., bool] = lambda *_, **__: True,
        done: bool = False,
    ) -> None:
        """Let the next calls of an operation fail, as a connection that breaks does.

        Args:
            operation: name of a method.
            error: what is raised.
            times: how many calls fail.
            when: tells by the arguments of a call whether it may fail.
            done: the operation takes place, and only its answer is lost.
        """
        whole, left = getattr(self, operation), times

        async def fail(*args: Any, **more: Any) -> Any:
            nonlocal left
            if left == 0 or not when(*args, **more):
                return await whole(*args, **more)
            left -= 1
            if done:
                await whole(*args, **more)
            raise error or ConnectionAbortedError

        setattr(self, operation, fail)

    def answer_next(self, operation: str, answer: object) -> None:
        """Let the next call of an operation take place, and give another answer."""
        whole, left = getattr(self, operation), [answer]

        async def call(*args: Any, **more: Any) -> Any:
            found = await whole(*args, **more)
            return left.pop() if left else found

        setattr(self, operation, call)

    def before(self, operation: str, act: Callable[..., Awaitable[object]]) -> None:
        """Let something happen before each call of an operation. It gets the arguments of the call."""
        whole = getattr(self, operation)

        async def call(*args: Any, **more: Any) -> Any:
            await act(*args, **more)
            return await whole(*args, **more)

        setattr(self, operation, call)

    def mend(self, operation: str) -> None:
        """Forget what was asked for an operation."""
        delattr(self, operation)
