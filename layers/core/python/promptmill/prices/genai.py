"""A ``PriceBook`` on genai-prices, and what that package calls our providers and models. It is imported at the first use."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, localcontext
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from promptmill.domain.completion import Usage
from promptmill.domain.pricing import (
    FREE_TOOLS,
    UNKNOWN,
    Rates,
    cost_usd,
    costs_beside_tokens,
    countable,
    counts_time,
    counts_tokens,
    priced,
    rates_of,
    untold_tools,
    user_cost_usd,
)
from promptmill.domain.recipe import Route, UserPrice
from promptmill.domain.record import Price, PriceBasis
from promptmill.prices.own import VERSION, batch_factor, own_price
from promptmill.prices.places import place_factor

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, PriceCalculation, TieredPrices


_PROVIDER_IDS = {
    "openai": "openai",
    "azure": "azure",
    "anthropic": "anthropic",
    "anthropic-aws": "anthropic",
    "bedrock": "aws",
    "vertex": "google",
    "gemini": "google",
    "perplexity": "perplexity",
    "cloudflare": "cloudflare",
}
_ROUTER = "huggingface"
_FINE_TUNED = ("ft:", ".ft-")
_NO_SUCH = "no-such-value"


def provider_id_of(route: Route) -> str | None:
    """Return the table's name of the route's provider, or None if the table does not know it.

    At Hugging Face's router the model's suffix names the seller. ``price_as`` may name any provider of the table.
    """
    if route.provider == _ROUTER:
        return f"{_ROUTER}_{route.model.rpartition(':')[2]}" if ":" in route.model else None
    return _PROVIDER_IDS.get(route.provider, route.provider if route.price_as else None)


def names_of(route: Route, answered: str) -> Iterator[str]:
    """Return what the table may call the model, the likeliest name first.

    At Bedrock only the name that was asked for tells the region's price. A fine-tuned model never has its base model's.
    """
    asked = route.model.rpartition("/")[2] if route.model.startswith("arn:") else route.model
    if route.provider == _ROUTER:
        asked = answered = asked.rpartition(":")[0]
    if route.provider == "bedrock" or not answered:
        yield asked
        return
    yield answered
    if asked != answered and not any(mark in answered for mark in _FINE_TUNED):
        yield asked


def look_up(
    provider_id: str | None, base_url: str, model: str, at: datetime, context: Mapping[str, str]
) -> ModelPrice | None:
    """Return a price, or None for a model that the table does not know or a context that it has no price for.

    The package gives the standard price for a context that it has never heard of. A context that is priced like one
    that cannot exist is therefore taken as unknown.
    """
    found = _calculated(provider_id, base_url, model, at, context)
    if found is None or not context:
        return found.model_price if found else None
    nothing = _calculated(provider_id, base_url, model, at, dict.fromkeys(context, _NO_SUCH))
    return None if nothing is None or nothing.model_price == found.model_price else found.model_price


def context_window(provider_id: str | None, base_url: str, model: str, at: datetime) -> int | None:
    """Return the tokens that the model can read and write together, or None if the table does not say."""
    found = _calculated(provider_id, base_url, model, at, {})
    return found.model.context_window if found else None


def _calculated(
    provider_id: str | None, base_url: str, model: str, at: datetime, context: Mapping[str, str]
) -> PriceCalculation | None:
    from genai_prices import Usage, calc_price  # noqa: PLC0415 (0.15 s and 12 MB: only once a price is needed)

    nothing = Usage(input_tokens=0, output_tokens=0)
    told = dict(context) or None
    try:
        if provider_id is not None:
            return calc_price(nothing, model, provider_id=provider_id, genai_request_timestamp=at, price_context=told)
        if base_url:
            return calc_price(nothing, model, provider_api_url=base_url, genai_request_timestamp=at, price_context=told)
    except LookupError:
        pass
    return None


_MAX_REMEMBERED = 10_000
_DIGITS = 100
_STANDARD = frozenset(("", "default", "auto", "standard", "standard_only", "on_demand"))


class GenaiPriceBook:
    """The ``PriceBook`` port. A lookup takes 0.3 ms, so each is remembered for a minute, and no longer: prices change with time."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], ModelPrice | None] = {}

    @cached_property
    def version(self) -> str:
        """The versions of the package, of its table and of our own table."""
        spec = find_spec("genai_prices")
        table = Path(spec.origin).with_name("data.py") if spec and spec.origin else None
        digest = f"-{hashlib.sha256(table.read_bytes()).hexdigest()[:8]}" if table and table.is_file() else ""
        return f"genai-prices-{version('genai-prices')}{digest}+{VERSION}"

    def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        """Price one attempt: by the operator's price, else by what the provider reported, else by the tables."""
        counted = countable(usage)
        if counted is None:
            return UNKNOWN
        if route.price is not None and costs_beside_tokens(counted):
            return UNKNOWN
        if route.price is not None:
            rates = self._cache_rates(route, counted, model, at)
            return _by_user(route.price, counted, "user-set", fallback=rates)
        if counted.reported_nano_usd is not None:
            return Price(counted.reported_nano_usd, "provider-reported")
        factor = place_factor(route, counted, model)
        # Azure's rates for sound are told nowhere that we found, and LiteLLM's are above OpenAI's own.
        is_untold_sound = route.provider == "azure" and bool(counted.input_audio or counted.output_audio)
        if factor is None or untold_tools(route) or is_untold_sound:
            return UNKNOWN
        return self._listed_price(route, counted, model, at, factor)

    def price_in_batch(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        """Price one line of a batch by the table's own price of batches, or else by a factor that we have a source for."""
        counted = countable(usage)
        if counted is None:
            return UNKNOWN
        if route.price is not None or counted.reported_nano_usd is not None or _is_live_tier(route, counted):
            return self.price(route, usage, model=model, at=at)
        place = place_factor(route, counted, model)
        if place is None or untold_tools(route):
            return UNKNOWN
        untiered = msgspec.structs.replace(counted, service_tier="")
        table = self._table_price(route, untiered, model, at, context=_IN_BATCH)
        usd = _cost(table, untiered) if table else None
        if usd is not None:
            with localcontext(prec=_DIGITS):
                return priced(usd * place, counted, "bundled-batch")
        factor = batch_factor(route)
        return UNKNOWN if factor is None else self._discount(route, untiered, model, at, place * factor)

    def _discount(self, route: Route, usage: Usage, model: str, at: datetime, factor: Decimal) -> Price:
        found = self._listed_price(route, usage, model, at, factor)
        return found if found.nano_usd is None else msgspec.structs.replace(found, basis="own-multiplier")

    def _listed_price(self, route: Route, usage: Usage, model: str, at: datetime, factor: Decimal) -> Price:
        """Price by the tables: the package's, and ours where it does not know the model."""
        own = own_price(route.price_as or f"{route.provider}/{route.model}")
        table = None if own and own.instead else self._table_price(route, usage, model, at)
        if own is not None and table is None:
            sound = usage.input_audio or usage.output_audio
            beside = usage.hosted or usage.output_image or sound or _context(route, usage)
            return UNKNOWN if beside else _by_user(own.price, usage, "own-table", factor=factor)
        usd = _cost(table, usage) if table else None
        with localcontext(prec=_DIGITS):
            return UNKNOWN if usd is None else priced(usd * factor, usage, "bundled")

    def knows(self, route: Route, *, at: datetime) -> bool:
        written = 0 if route.endpoint in ("embeddings", "moderations") else 1
        return self.price(route, Usage(input_total=1, output_total=written, compute_us=1), model="", at=at) != UNKNOWN

    def rates(self, route: Route, *, model: str, at: datetime) -> Rates | None:
        """Return USD per million tokens of a short prompt, or None if the price is unknown or not by tokens."""
        if route.price is not None:
            return rates_of(route.price) if counts_tokens(route.price) else None
        factor, listed = place_factor(route, Usage(), model), own_price(f"{route.provider}/{route.model}")
        if factor is None:
            return None
        if listed is not None:
            return _scale(rates_of(listed.price), factor) if counts_tokens(listed.price) else None
        table = self._table_price(route, Usage(), model, at)
        return _scale(_rates(table, Usage()), factor) if table is not None and table.input_mtok is not None else None

    def context_window(self, route: Route, *, at: datetime) -> int | None:
        """Return the tokens that the model takes, or None if the table does not say."""
        priced_as = _priced_as(route)
        provider_id = provider_id_of(priced_as)
        found = (context_window(provider_id, priced_as.base_url, name, at) for name in names_of(priced_as, ""))
        return next((window for window in found if window), None)

    def _cache_rates(self, route: Route, usage: Usage, model: str, at: datetime) -> Rates | None:
        """Return the table's rates for what an operator's price leaves open, if a cache was used at all."""
        table = self._table_price(route, usage, model, at) if usage.cache_read or usage.cache_write else None
        return _rates(table, usage) if table else None

    def _table_price(
        self, route: Route, usage: Usage, model: str, at: datetime, *, context: Mapping[str, str] | None = None
    ) -> ModelPrice | None:
        """Price by the model that answered if the table has it, else by the one that was asked for."""
        context, minute = _context(route, usage) if context is None else context, f"{at:%Y%m%d%H%M}"
        priced_as = _priced_as(route)
        provider_id = provider_id_of(priced_as)
        if provider_id is None and not priced_as.base_url:
            return None
        for name in names_of(priced_as, "" if route.price_as else model):
            key = (provider_id or "", priced_as.base_url, name, minute, *(f"{k}={v}" for k, v in context.items()))
            if key not in self._found:
                if len(self._found) >= _MAX_REMEMBERED:
                    self._found.clear()
                self._found[key] = look_up(provider_id, priced_as.base_url, name, at, context)
            if (found := self._found[key]) is not None:
                return found
        return None


def _by_user(
    price: UserPrice, usage: Usage, basis: PriceBasis, *, fallback: Rates | None = None, factor: Decimal = Decimal(1)
) -> Price:
    """Price by the operator's own rates. Time that nobody measured is unknown, not free; tokens may be estimated where they cost nothing."""
    if counts_time(price) and not usage.compute_us:
        return UNKNOWN
    certain = usage if counts_tokens(price) else msgspec.structs.replace(usage, source="reported")
    return priced(user_cost_usd(price, usage, fallback=fallback) * factor, certain, basis)


def _priced_as(route: Route) -> Route:
    if not route.price_as:
        return route
    provider, _, model = route.price_as.partition("/")
    return msgspec.structs.replace(route, provider=provider, model=model, base_url="")


def _context(route: Route, usage: Usage) -> Mapping[str, str]:
    """Return what moves the price: the tier that the provider reported, else the one that the route's body asks for."""
    nested = route.body.get("serviceTier")
    asked = route.body.get("service_tier") or (nested.get("type") if isinstance(nested, dict) else None)
    performance = route.body.get("performanceConfig")
    latency = performance.get("latency") if isinstance(performance, dict) else None
    asked = latency if latency not in (None, "standard") else asked
    tier = usage.service_tier or (asked if isinstance(asked, str) else "")
    speed = route.body.get("speed")
    return {
        **({"service_tier": tier} if tier.lower() not in _STANDARD else {}),
        **({"speed": speed} if isinstance(speed, str) and speed not in _STANDARD else {}),
    }


_IN_BATCH = {"processing": "batch"}
_TELLING_TIERS = ("anthropic", "anthropic-aws")


def _is_live_tier(route: Route, usage: Usage) -> bool:
    """Return True if the reply says that a line of a batch was served, and is charged for, as a live call is."""
    tier = usage.service_tier.lower()
    # Others say "default" in their batches as well: there the batch itself proves the discount.
    return bool(tier) and tier != "batch" and (route.provider in _TELLING_TIERS or tier not in _STANDARD)


_HOSTED_UNITS = {
    "web_search": "web_searches",
    "google_search": "web_searches",
    "file_search": "storage_searches",
}
"""What the table calls the calls of tools that providers run. Others have no price in it."""


def _cost(price: ModelPrice, usage: Usage) -> Decimal | None:
    """Return the cost, or None if the table has no rate for something that was used."""
    if price.input_mtok is None or (price.output_mtok is None and usage.output_total):
        return None
    if usage.hosted or usage.input_audio or usage.output_audio or usage.output_image:
        return _cost_by_all_units(price, usage) if _has_rates(price, usage) else None
    if any(value is not None and _is_further_unit(name) for name, value in vars(price).items()):
        return _cost_by_all_units(price, usage)
    return cost_usd(_rates(price, usage), usage)


def _has_rates(price: ModelPrice, usage: Usage) -> bool:
    """Return True if the table has a rate for all that was used beside plain tokens."""
    used = {
        "input_audio_mtok": usage.input_audio,
        "output_audio_mtok": usage.output_audio,
        "output_image_mtok": usage.output_image,
    }
    rated = all(getattr(price, name, None) is not None for name, count in used.items() if count)
    units = (_HOSTED_UNITS.get(name, "no_such_unit") for name in usage.hosted if name not in FREE_TOOLS)
    return rated and all(getattr(price, f"{unit}_kcount", None) is not None for unit in units)


def _is_further_unit(name: str) -> bool:
    """Return True for a unit beside input, output and caches that ``Usage`` counts."""
    return name == "requests_kcount" or "reasoning" in name


def _cost_by_all_units(price: ModelPrice, usage: Usage) -> Decimal:
    from genai_prices import Usage as GenaiUsage  # noqa: PLC0415 (see above)

    calls = dict.fromkeys(_HOSTED_UNITS.values(), 0)
    for name, count in usage.hosted.items():
        if name in _HOSTED_UNITS:
            calls[_HOSTED_UNITS[name]] += count
    fresh = max(0, usage.input_total - usage.cache_read - usage.cache_write)
    counts = GenaiUsage(
        input_tokens=usage.input_total,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        cache_write_1h_tokens=min(usage.cache_write_1h, usage.cache_write),
        output_tokens=usage.output_total,
        output_reasoning_tokens=min(usage.reasoning, usage.output_total),
        input_audio_tokens=min(usage.input_audio, fresh) or None,
        output_audio_tokens=min(usage.output_audio, usage.output_total) or None,
        output_image_tokens=min(usage.output_image, usage.output_total) or None,
        **{name: count for name, count in calls.items() if count},
    )
    with localcontext(prec=_DIGITS):
        return price.calc_price(counts)["total_price"]


def _scale(rates: Rates, factor: Decimal) -> Rates:
    with localcontext(prec=_DIGITS):
        scaled = {name: rate * factor for name, rate in msgspec.structs.asdict(rates).items() if rate is not None}
    return msgspec.convert({**msgspec.structs.asdict(rates), **scaled}, Rates)


def _rates(price: ModelPrice, usage: Usage) -> Rates:
    """Return the rates for a prompt of this length. Above a tier's start, all of its tokens cost the tier's price."""
    return Rates(
        input=_rate(price.input_mtok, usage) or Decimal(0),
        output=_rate(price.output_mtok, usage) or Decimal(0),
        cache_read=_rate(price.cache_read_mtok, usage),
        cache_write=_rate(price.cache_write_mtok, usage),
        cache_write_1h=_rate(getattr(price, "cache_write_1h_mtok", None), usage),
    )


def _rate(value: Decimal | TieredPrices | None, usage: Usage) -> Decimal | None:
    if value is None or isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if usage.input_total > tier.start]
    return reached[-1] if reached else value.base
