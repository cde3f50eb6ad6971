"""Limit groups: what a provider allows to one account and model, shared by every route that uses them."""

from __future__ import annotations

from msgspec import Struct

from promptmill.domain.recipe import Route

DOCUMENT = "_limits"
"""The name of the operator's document, which stands beside the recipes and is no recipe's name."""

_SECONDS = 60.0


class LimitGroup(Struct, frozen=True):
    """The limits of a provider that routes share. None is unknown: requests are then learnt from refusals.

    Attributes:
        name: the name of its item, which is the same for every worker.
    """

    name: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def known(self) -> bool:
        return self.requests_per_minute is not None or self.tokens_per_minute is not None

    @property
    def requests_per_s(self) -> float | None:
        return None if self.requests_per_minute is None else self.requests_per_minute / _SECONDS

    @property
    def tokens_per_s(self) -> float | None:
        return None if self.tokens_per_minute is None else self.tokens_per_minute / _SECONDS


class LimitRule(Struct, frozen=True):
    """One entry of the operator's document; "" stands for any.

    Attributes:
        models: the ids of the routes that share the limits.
    """

    models: tuple[str, ...]
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    key: str = ""
    account: str = ""
    region: str = ""
    base_url: str = ""

    def fits(self, route: Route) -> bool:
        return route.id in self.models and all(
            not wanted or wanted == given
            for wanted, given in (
                (self.key, route.key),
                (self.account, route.account),
                (self.region, route.region),
                (self.base_url, route.base_url),
            )
        )

    @property
    def precision(self) -> int:
        """Return how many places are given. The rule with the most of them holds."""
        return sum(map(bool, (self.key, self.account, self.region, self.base_url)))


class Limits(Struct, frozen=True):
    """All limits that the operator has configured."""

    rules: tuple[LimitRule, ...] = ()

    def group_of(self, route: Route) -> LimitGroup:
        """Return the group of a route: provider, model and account. A rule without an account limits each account by itself."""
        fitting = [rule for rule in self.rules if rule.fits(route)]
        rule = max(fitting, key=lambda rule: rule.precision, default=None)
        models = "+".join(rule.models) if rule else route.id
        places = (route.account, route.key, route.region, route.base_url)
        name = "@".join((models, *filter(None, places)))
        return LimitGroup(name, rule.requests_per_minute, rule.tokens_per_minute) if rule else LimitGroup(name)
