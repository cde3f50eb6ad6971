"""PriceBook by genai-prices and the recipe's own prices. The package is imported when the first price is asked for.

Its traps: a ``price_context`` that it has no price for silently gives the standard price, so none is passed, and the
basis says ``bundled``; a model that is priced by the hour or the page costs 0 by its tokens, so without rates for
tokens a price is unknown; its usage wants the whole input, cache reads and writes included, as ``Usage`` has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, localcontext
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from promptmill.domain.completion import Usage
from promptmill.domain.pricing import UNKNOWN, Rates, cost_usd, countable, priced, rates_of
from promptmill.domain.recipe import Route
from promptmill.domain.record import Price

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

_PROVIDER_IDS = {"openai": "openai", "anthropic": "anthropic", "bedrock": "aws"}
_MOST_REMEMBERED = 10_000
_DIGITS = 100


class GenaiPriceBook:
    """A ``PriceBook``. A lookup takes 0.3 ms, so each is remembered, for a minute: prices may depend on the time."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, str], ModelPrice | None] = {}

    @cached_property
    def version(self) -> str:
        """Of the package and, where its source is there, of its table."""
        spec = find_spec("genai_prices")
        table = Path(spec.origin).with_name("data.py") if spec and spec.origin else None
        digest = f"-{hashlib.sha256(table.read_bytes()).hexdigest()[:8]}" if table and table.is_file() else ""
        return f"genai-prices-{version('genai-prices')}{digest}"

    def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        """See ports/price_book.py. The operator's price goes before the table's."""
        counted = countable(usage)
        if counted is None:
            return UNKNOWN
        if route.price is not None:
            rates = rates_of(route.price, fallback=self._cache_rates(route, counted, model, at))
            return priced(cost_usd(rates, counted), counted, "user-set")
        table = self._table_price(route, model, at)
        usd = _cost(table, counted) if table else None
        return UNKNOWN if usd is None else priced(usd, counted, "bundled")

    def knows(self, route: Route, *, at: datetime) -> bool:
        return self.price(route, Usage(input_total=1, output_total=1), model="", at=at) != UNKNOWN

    def _cache_rates(self, route: Route, usage: Usage, model: str, at: datetime) -> Rates | None:
        """The table's, for what an operator's price leaves open, if a cache was used at all."""
        table = self._table_price(route, model, at) if usage.cache_read or usage.cache_write else None
        return _rates(table, usage) if table else None

    def _table_price(self, route: Route, model: str, at: datetime) -> ModelPrice | None:
        """Of the model that answered, if the table has it, else of the one that was asked."""
        for name in _names(route, model):
            key = (route.provider, route.base_url, name, f"{at:%Y%m%d%H%M}")
            if key not in self._found:
                if len(self._found) >= _MOST_REMEMBERED:
                    self._found.clear()
                self._found[key] = _look_up(route, name, at)
            if (found := self._found[key]) is not None:
                return found
        return None


def _names(route: Route, answered: str) -> Iterator[str]:
    """What the table may call the model. At Bedrock only the name that was asked tells the region's price."""
    asked = route.model.rpartition("/")[2] if route.model.startswith("arn:") else route.model
    yield from dict.fromkeys(name for name in ((asked,) if route.provider == "bedrock" else (answered, asked)) if name)


def _look_up(route: Route, model: str, at: datetime) -> ModelPrice | None:
    provider_id = _PROVIDER_IDS.get(route.provider)
    if provider_id is None and not route.base_url:
        return None
    from genai_prices import Usage as GenaiUsage  # noqa: PLC0415 (0.15 s and 12 MB: only once a price is needed)
    from genai_prices import calc_price  # noqa: PLC0415

    nothing = GenaiUsage(input_tokens=0, output_tokens=0)
    try:
        if provider_id is None:
            return calc_price(nothing, model, provider_api_url=route.base_url, genai_request_timestamp=at).model_price
        return calc_price(nothing, model, provider_id=provider_id, genai_request_timestamp=at).model_price
    except LookupError:
        return None


def _cost(price: ModelPrice, usage: Usage) -> Decimal | None:
    """None where the table has no rate for what was used."""
    if price.input_mtok is None or (price.output_mtok is None and usage.output_total):
        return None
    if any(value is not None and _is_further_unit(name) for name, value in vars(price).items()):
        return _cost_by_all_units(price, usage)
    return cost_usd(_rates(price, usage), usage)


def _is_further_unit(name: str) -> bool:
    """Units beside input, output and caches of which ``Usage`` knows the count."""
    return name == "requests_kcount" or "reasoning" in name


def _cost_by_all_units(price: ModelPrice, usage: Usage) -> Decimal:
    from genai_prices import Usage as GenaiUsage  # noqa: PLC0415 (see above)

    counts = GenaiUsage(
        input_tokens=usage.input_total,
        cache_read_tokens=usage.cache_read,
        cache_write_tokens=usage.cache_write,
        output_tokens=usage.output_total,
        output_reasoning_tokens=min(usage.reasoning, usage.output_total),
    )
    with localcontext(prec=_DIGITS):
        return price.calc_price(counts)["total_price"]


def _rates(price: ModelPrice, usage: Usage) -> Rates:
    """For a prompt of this length: above a tier's start, all of its tokens cost the tier's price."""
    return Rates(
        input=_rate(price.input_mtok, usage) or Decimal(0),
        output=_rate(price.output_mtok, usage) or Decimal(0),
        cache_read=_rate(price.cache_read_mtok, usage),
        cache_write=_rate(price.cache_write_mtok, usage),
    )


def _rate(value: Decimal | TieredPrices | None, usage: Usage) -> Decimal | None:
    if value is None or isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if usage.input_total > tier.start]
    return reached[-1] if reached else value.base
