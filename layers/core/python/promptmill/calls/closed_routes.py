"""Routes that a worker calls no more: closed for good, or asked to rest for long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

OnClose = Callable[[str, str], Awaitable[None]]


class ClosedRoutes:
    """Shared by all records of one worker.

    Args:
        closed: route ids and codes, as known from earlier workers.
        on_close: told each route's id and code once, when it closes: the place to make it durable.
    """

    def __init__(self, closed: Mapping[str, str] | None = None, *, on_close: OnClose | None = None) -> None:
        self._codes = dict(closed or {})
        self._on_close = on_close
        self._resting: dict[str, tuple[float, str]] = {}

    @property
    def codes(self) -> Mapping[str, str]:
        """Why each closed route is closed, by its id."""
        return dict(self._codes)

    def code_of(self, route: str) -> str | None:
        """Why it is closed, None if it is not."""
        return self._codes.get(route)

    async def close(self, route: str, code: str) -> None:
        if route not in self._codes:
            self._codes[route] = code
            if self._on_close is not None:
                await self._on_close(route, code)

    def rest(self, route: str, code: str, *, until: float) -> None:
        """``until`` is monotonic."""
        self._resting[route] = (max(until, self._resting.get(route, (0.0, ""))[0]), code)

    def rest_of(self, route: str, *, now: float) -> tuple[float, str] | None:
        """Seconds of rest left and the code that asked for it, None if the route may be called."""
        until, code = self._resting.get(route, (0.0, ""))
        return (until - now, code) if until > now else None
