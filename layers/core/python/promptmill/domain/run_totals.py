"""What a run came to: a fold over the headers of its chunk results."""

from __future__ import annotations

from msgspec import Struct, structs

from promptmill.domain.chunk_result import ChunkHeader
from promptmill.domain.tally import RouteCost, Tally


class RouteTotal(Struct, frozen=True):
    attempts: int = 0
    failed_attempts: int = 0
    unpriced: int = 0
    nano_usd: int = 0

    def plus(self, cost: RouteCost | RouteTotal) -> RouteTotal:
        return RouteTotal(*(getattr(self, name) + getattr(cost, name) for name in self.__struct_fields__))


class RunTotals(Struct, frozen=True):
    """The size of it does not grow with the number of chunks.

    Attributes:
        routes: what the run's own calls came to.
        kept: answers that it took over from earlier runs.
    """

    tally: Tally = Tally()
    routes: dict[str, RouteTotal] = {}
    kept: int = 0

    def plus(self, header: ChunkHeader, *, own: bool) -> RunTotals:
        """``own``: this run ran the chunk; else it only counts by its outcomes."""
        counts = header.tally.counts
        if not own:
            tally = structs.replace(header.tally, counts=counts.outcomes)
            return RunTotals(self.tally.plus(tally), self.routes, self.kept + counts.answered)
        routes = dict(self.routes)
        for cost in header.costs:
            routes[cost.route] = routes.get(cost.route, RouteTotal()).plus(cost)
        return RunTotals(self.tally.plus(header.tally), routes, self.kept + header.kept)

    def joined(self, later: RunTotals) -> RunTotals:
        """With those of chunks that come after these."""
        routes = dict(self.routes)
        for route, total in later.routes.items():
            routes[route] = routes.get(route, RouteTotal()).plus(total)
        return RunTotals(self.tally.plus(later.tally), routes, self.kept + later.kept)
