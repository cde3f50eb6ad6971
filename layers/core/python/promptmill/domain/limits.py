"""Limit groups: what a provider allows to one account and model, shared by every route that uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args
from urllib.parse import urlsplit

from msgspec import Struct

from promptmill.domain.recipe import Route

DOCUMENT = "_limits"
"""The name of the operator's document, which stands beside the recipes and is no recipe's name."""

_SECONDS = 60.0

Counted = Literal["requests", "tokens", "input_tokens", "output_tokens"]
"""What a limit counts. ``tokens`` are input and output together."""

COUNTED: tuple[Counted, ...] = get_args(Counted)

MAX_PACED_S = 600.0
"""The longest period whose limit is a pace. What a provider allows in a day may be used up at once."""


class ToldLimit(Struct, frozen=True):
    """One limit that a reply tells.

    Attributes:
        limit: how much a period allows.
        period_s: the seconds of that period.
        remaining: how much of it was left when the reply was made; None if the reply does not say.
        reset_s: the seconds until that is the whole limit again; None if the reply does not say.
    """

    counted: Counted
    limit: int
    period_s: float
    remaining: int | None = None
    reset_s: float | None = None

    @property
    def per_s(self) -> float:
        return self.limit / self.period_s

    @property
    def is_pace(self) -> bool:
        """True if calls may be spread evenly over the period."""
        return self.period_s <= MAX_PACED_S


Telling = Callable[[], tuple[ToldLimit, ...]]
"""Reads the limits that one reply tells. Reading costs time, and most replies tell what is known already."""


class Told(Struct, frozen=True, array_like=True):
    """What a provider's replies have told of one limit group, as its item keeps it.

    Attributes:
        at: when it was told, in seconds since 1970.
        requests, tokens, input_tokens, output_tokens: by the minute; 0 where nothing was told.
        doubted: the replies contradicted themselves, or what the provider let through; nothing is believed for a while.
    """

    at: float
    requests: float = 0.0
    tokens: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    doubted: bool = False


class CallTokens(Struct, frozen=True):
    """The tokens of one call, as it reserves them or as it used them. ``cached``: the part of its input read from a cache."""

    input: int
    output: int = 0
    cached: int = 0

    def of(self, counted: Counted) -> int:
        """Return as many as a limit of that kind counts."""
        return {"tokens": self.input + self.output, "input_tokens": self.input, "output_tokens": self.output}[counted]

    def counted_by(self, group: LimitGroup) -> CallTokens:
        """Return what counts against the group's limits."""
        return self if group.cached_input_counts else CallTokens(max(0, self.input - self.cached), self.output)


class LimitGroup(Struct, frozen=True):
    """The limits of a provider that routes share. None is unknown: it is then told by replies, or learnt from refusals.

    Attributes:
        name: the name of its item, which is the same for every worker.
        tokens_per_minute: input and output together.
        cached_input_counts: input that is read from a cache counts as well.
        self_hosted: it may be a server that becomes slower, instead of refusing calls.
    """

    name: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    cached_input_counts: bool = True
    self_hosted: bool = False

    @property
    def known(self) -> bool:
        return any(self.per_minute(counted) is not None for counted in COUNTED)

    def per_minute(self, counted: Counted) -> int | None:
        return {
            "requests": self.requests_per_minute,
            "tokens": self.tokens_per_minute,
            "input_tokens": self.input_tokens_per_minute,
            "output_tokens": self.output_tokens_per_minute,
        }[counted]

    def per_s(self, counted: Counted) -> float | None:
        limit = self.per_minute(counted)
        return None if limit is None else limit / _SECONDS


class LimitRule(Struct, frozen=True):
    """One entry of the operator's document; "" stands for any.

    Attributes:
        models: the ids of the routes that share the limits.
        cached_input_counts: None for what is usual at the provider.
    """

    models: tuple[str, ...]
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    key: str = ""
    account: str = ""
    region: str = ""
    base_url: str = ""
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    cached_input_counts: bool | None = None

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
        counts = cached_input_counts(route)
        if rule is None:
            return LimitGroup(name, cached_input_counts=counts, self_hosted=route.provider in _SELF_HOSTED)
        return LimitGroup(
            name,
            rule.requests_per_minute,
            rule.tokens_per_minute,
            rule.input_tokens_per_minute,
            rule.output_tokens_per_minute,
            counts if rule.cached_input_counts is None else rule.cached_input_counts,
        )


_SELF_HOSTED = frozenset({"ai21", "compatible", "huggingface-endpoint", "local"})
_CACHE_IS_FREE = frozenset({"anthropic", "anthropic-aws", "bedrock"})
_CACHE_IS_FREE_AT = ("groq.com", "fireworks.ai")


def cached_input_counts(route: Route) -> bool:
    """Return False where the provider's documents say that input from a cache counts against no limit."""
    host = urlsplit(route.base_url).hostname or ""
    return route.provider not in _CACHE_IS_FREE and not any(
        host == name or host.endswith("." + name) for name in _CACHE_IS_FREE_AT
    )
