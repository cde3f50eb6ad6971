"""Under a budget every call has a price."""

from __future__ import annotations

from promptmill.domain.errors import RecipeError
from promptmill.domain.recipe import Recipe
from promptmill.ports.clock import Clock
from promptmill.ports.price_book import PriceBook


def check_prices(recipe: Recipe, *, prices: PriceBook, day_cap: int | None, clock: Clock) -> None:
    """``day_cap``: of the deployment, in nano-dollars, None for none.

    Raises:
        RecipeError: a budget holds, and a route has no price (code ``unpriced_route``).
    """
    own = recipe.budget.per_job is not None or recipe.budget.per_day is not None
    if not own and day_cap is None:
        return
    for place, route in enumerate(recipe.routes):
        if not prices.knows(route, at=clock.now()):
            whose = "the recipe's budget" if own else "the deployment's daily cap"
            raise RecipeError(
                f"nobody knows what {route.id} costs, so {whose} could not hold",
                code="unpriced_route",
                where=f"routes[{place}]",
                remedy="give the route a price (price, or price_as), then drop the file again",
            )
