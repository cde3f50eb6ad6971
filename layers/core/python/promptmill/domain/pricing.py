"""The cost of calls at given rates: exact, in Decimal, rounded once to nano-dollars."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, localcontext
from typing import Any

import msgspec
from msgspec import Struct

from promptmill.domain.completion import Usage
from promptmill.domain.money import to_nano
from promptmill.domain.recipe import Route, UserPrice
from promptmill.domain.record import Price, PriceBasis

_TOKENS_PER_RATE = Decimal(1_000_000)
_US_PER_SECOND = Decimal(1_000_000)
_SECONDS_PER_HOUR = Decimal(3_600)
_DIGITS = 100
UNKNOWN = Price(None, "unknown")


class Rates(Struct, frozen=True):
    """USD per million tokens, for a prompt of a known length. Cached tokens without a rate cost what others do."""

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None


def cost_usd(rates: Rates, usage: Usage) -> Decimal:
    """Exact. Reads and writes of a cache are part of ``usage.input_total``, and charged at rates of their own."""
    read = rates.input if rates.cache_read is None else rates.cache_read
    write = rates.input if rates.cache_write is None else rates.cache_write
    write_1h = write if rates.cache_write_1h is None else rates.cache_write_1h
    fresh = usage.input_total - usage.cache_read - usage.cache_write
    for_an_hour = min(usage.cache_write_1h, usage.cache_write)
    with localcontext(prec=_DIGITS):
        tokens = (
            fresh * rates.input
            + usage.cache_read * read
            + (usage.cache_write - for_an_hour) * write
            + for_an_hour * write_1h
            + usage.output_total * rates.output
        )
        return tokens / _TOKENS_PER_RATE


def user_cost_usd(price: UserPrice, usage: Usage, *, fallback: Rates | None = None) -> Decimal:
    """Price one call at an operator's price: by its tokens, by the request, by its time, or all of these."""
    beyond = max(0, usage.output_total - price.covered_output_tokens)
    by_tokens = cost_usd(rates_of(price, fallback=fallback), msgspec.structs.replace(usage, output_total=beyond))
    with localcontext(prec=_DIGITS):
        seconds = usage.compute_us / _US_PER_SECOND
        by_hour = Decimal(price.usd_per_hour) / _SECONDS_PER_HOUR / price.calls_at_once
        by_time = seconds * (Decimal(price.usd_per_second) + by_hour)
        return by_tokens + Decimal(price.usd_per_request) + by_time


FREE_TOOLS = frozenset(("web_fetch", "tool_search", "tool_search_tool"))
"""Tools of providers whose calls cost no more than the tokens that they bring."""


def costs_beside_tokens(usage: Usage) -> bool:
    """Return True if a call used something that an operator's price has no rate for."""
    return bool(usage.hosted.keys() - FREE_TOOLS or usage.output_audio or usage.output_image)


def counts_tokens(price: UserPrice) -> bool:
    """Return True if a call's cost depends on its tokens."""
    return any(Decimal(rate) for rate in (price.input_usd_per_mtok, price.output_usd_per_mtok))


def counts_time(price: UserPrice) -> bool:
    """Return True if a call's cost depends on how long it took."""
    return any(Decimal(rate) for rate in (price.usd_per_second, price.usd_per_hour))


def rates_of(price: UserPrice, *, fallback: Rates | None = None) -> Rates:
    """An operator's rates; what they leave open about caches is taken from ``fallback``."""
    return Rates(
        input=Decimal(price.input_usd_per_mtok),
        output=Decimal(price.output_usd_per_mtok),
        cache_read=_rate(price.cache_read_usd_per_mtok, fallback.cache_read if fallback else None),
        cache_write=_rate(price.cache_write_usd_per_mtok, fallback.cache_write if fallback else None),
        cache_write_1h=_rate(price.cache_write_1h_usd_per_mtok, fallback.cache_write_1h if fallback else None),
    )


def _rate(own: str | None, other: Decimal | None) -> Decimal | None:
    return other if own is None else Decimal(own)


def priced(usd: Decimal, usage: Usage, basis: PriceBasis) -> Price:
    """Rounded half-even, here and only here; ``estimated`` usage makes an estimated price, whatever the rates."""
    with localcontext(prec=_DIGITS):
        return Price(to_nano(usd), "estimated" if usage.source == "estimated" else basis)


_TELLING = ("anthropic", "anthropic-aws", "perplexity")
_OWN_TOOLS = ("function", "custom")
_OWN_HOLDERS = frozenset(("function", "functionDeclarations", "toolSpec", "cachePoint", "input_schema"))


def hosted_tools_in(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tools of a request's body that its provider runs or brings, whatever API the body is of."""
    config = body.get("toolConfig")
    tools = body.get("tools") or (config.get("tools") if isinstance(config, dict) else None)
    offered = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    return [tool for tool in offered if tool.get("type", "") not in _OWN_TOOLS and not _OWN_HOLDERS & tool.keys()]


def offers_hosted_tools(route: Route) -> bool:
    """Return True if the route's own body offers tools that the provider runs: they cost more than the tokens of a call."""
    return bool(hosted_tools_in(route.body)) or route.body.get("web_search_options") is not None


def untold_tools(route: Route) -> bool:
    """Return True if such tools may be called without an answer that tells how often."""
    return not _tells_tools(route) and offers_hosted_tools(route)


def _tells_tools(route: Route) -> bool:
    return route.provider in _TELLING or route.endpoint in ("responses", "messages")


TIERS = ("service_tier", "serviceTier", "speed", "performanceConfig")
"""The fields of all APIs that ask for another tier than the standard one."""
_TOLD_BY_TOKENS = frozenset(("n", "best_of", "generationConfig.candidateCount", "prediction"))
"""Fields that make an answer longer, or several: the tokens of all are told as one number."""
_DEARER = frozenset(("speed", "inference_geo"))
"""Fields by which a price is looked up that is never below the one of a call without them."""
_OTHER_MEDIA = frozenset(("audio", "modalities", "generationConfig.responseModalities"))


def tells_extra(name: str, route: Route, usage: Usage) -> bool:
    """Return True if the usage tells what the field of a line that costs extra has cost, so that the tables can price it."""
    is_looked_up = name in TIERS or name in _DEARER
    if is_looked_up and route.price is not None:  # an operator's price says nothing of tiers and places
        return False
    if name in TIERS and name not in _DEARER:
        return bool(usage.service_tier)
    if name in _OTHER_MEDIA:
        return bool(usage.output_audio or usage.output_image)
    return is_looked_up or name in _TOLD_BY_TOKENS or (name.startswith("tools.") and _tells_tools(route))


def countable(usage: Usage) -> Usage | None:
    """Usage that a price can be put on; None if the provider gave none, or nonsense.

    Where parts exceed their whole, the whole is raised to them: too much is counted rather than too little.
    """
    counts = (usage.input_total, usage.cache_read, usage.cache_write, usage.output_total)
    if usage.source == "none" or min(counts) < 0:
        return None
    if usage.cache_read + usage.cache_write <= usage.input_total:
        return usage
    return msgspec.structs.replace(usage, input_total=usage.cache_read + usage.cache_write)
