"""The number of calls in flight that brings the most answers, of a server that becomes slower instead of refusing."""

from __future__ import annotations

import pytest

from promptmill.domain.limit_group import InFlight
from promptmill.domain.limits import Limits
from promptmill.domain.recipe import Route
from promptmill.pacing.in_flight import FIRST, BestInFlight


class Server:
    """It answers one call a second for each in flight, up to ``most``; beyond, the more the fewer."""

    def __init__(self, most: int, *, slots: int = 500) -> None:
        self.most, self.search = most, BestInFlight(slots, 0.0)
        self._in_flight, self._due, self._now = 0, 0.0, 0.0

    def run(self, seconds: float, *, wants: int = 1_000) -> int:
        """Return the answers to a worker that wants so many calls in flight."""
        answers, end = 0, self._now + seconds
        while self._now < end:
            self._in_flight += self.search.room(self._in_flight, max(0, wants - self._in_flight), self._now)
            over = max(1.0, self._in_flight / self.most)
            self._due += self._in_flight / over / over * 0.05
            self._now += 0.05
            while self._due >= 1 and self._in_flight:
                self.search.answered(self._now, in_flight=self._in_flight)
                self._due, self._in_flight, answers = self._due - 1, self._in_flight - 1, answers + 1
        return answers


@pytest.mark.parametrize("most", [16, 50, 100, 300])
def test_it_is_found_within_thirty_seconds(most: int) -> None:
    server = Server(most)
    server.run(30)
    found = server.search.window
    assert min(found, most * most / found) >= 0.9 * most
    assert server.run(60) >= 0.85 * most * 60, "trying others costs something as well"
    assert server.search.found is not None


def test_it_is_found_again_where_the_server_has_changed() -> None:
    server = Server(50)
    server.run(60)
    server.most = 100
    server.run(200)
    assert server.run(60) >= 0.8 * 100 * 60


def test_too_little_to_do_says_nothing() -> None:
    server = Server(500)
    server.run(60, wants=8)
    assert (server.search.window, server.search.found) == (FIRST, None)


def test_a_worker_never_has_more_than_its_route_allows() -> None:
    server = Server(500, slots=40)
    server.run(60)
    assert server.search.window <= 40
    assert server.search.wants_more
    assert server.search.found is None, "more workers may bring more answers"


def test_each_worker_takes_an_equal_part_of_what_was_found_before() -> None:
    search = BestInFlight(500, 0.0)
    search.see(InFlight(0.0, 96), members=2, now=0.0)
    assert search.window == 48
    search.see(InFlight(0.0, 96), members=3, now=1.0)
    assert search.window == 32


@pytest.mark.parametrize(
    ("provider", "is_own"), [("compatible", True), ("local", True), ("openai", False), ("anthropic", False)]
)
def test_which_servers_are_one_s_own(provider: str, *, is_own: bool) -> None:
    assert Limits().group_of(Route(f"{provider}/m", provider, "m")).self_hosted == is_own
