"""One price for everything."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from promptmill.domain.completion import Usage
from promptmill.domain.pricing import Rates
from promptmill.domain.recipe import Route
from promptmill.domain.record import Price


class FlatPrices:
    """Nano-dollars a token: 10 in, 20 out."""

    version = "flat"

    def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        del route, model, at
        if usage.source == "none":
            return Price(None, "unknown")
        nano = usage.input_total * 10 + usage.output_total * 20
        return Price(nano, "estimated" if usage.source == "estimated" else "user-set")

    def price_in_batch(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        """Half of it."""
        live = self.price(route, usage, model=model, at=at)
        return live if live.nano_usd is None else Price(live.nano_usd // 2, live.basis)

    def rates(self, route: Route, *, model: str, at: datetime) -> Rates | None:
        del route, model, at
        return Rates(Decimal("0.01"), Decimal("0.02"))

    def context_window(self, route: Route, *, at: datetime) -> int | None:
        del route, at
        return 128_000

    def knows(self, route: Route, *, at: datetime) -> bool:
        del route, at
        return True
