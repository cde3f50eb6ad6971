"""What genai-prices calls our providers and their models. The package is imported at the first look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from promptmill.domain.recipe import Route

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, PriceCalculation

_PROVIDER_IDS = {
    "openai": "openai",
    "azure": "azure",
    "anthropic": "anthropic",
    "anthropic-aws": "anthropic",
    "bedrock": "aws",
    "vertex": "google",
    "perplexity": "perplexity",
    "cloudflare": "cloudflare",
}
_ROUTER = "huggingface"
_FINE_TUNED = ("ft:", ".ft-")
_NO_SUCH = "no-such-value"


def provider_id_of(route: Route) -> str | None:
    """None for providers that the table does not know. At Hugging Face's router the model's suffix names the seller.

    ``price_as`` may name any provider of the table's.
    """
    if route.provider == _ROUTER:
        return f"{_ROUTER}_{route.model.rpartition(':')[2]}" if ":" in route.model else None
    return _PROVIDER_IDS.get(route.provider, route.provider if route.price_as else None)


def names_of(route: Route, answered: str) -> Iterator[str]:
    """What the table may call the model, the likeliest first.

    At Bedrock only the name that was asked tells the region's price. A fine-tuned model never has its base's.
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
    """None for a model that the table does not know, and for a context that it has no price for.

    The package gives the standard price for contexts that it has never heard of: what changes nothing against one
    that cannot exist is none that it knows.
    """
    found = _calculated(provider_id, base_url, model, at, context)
    if found is None or not context:
        return found.model_price if found else None
    nothing = _calculated(provider_id, base_url, model, at, dict.fromkeys(context, _NO_SUCH))
    return None if nothing is None or nothing.model_price == found.model_price else found.model_price


def context_window(provider_id: str | None, base_url: str, model: str, at: datetime) -> int | None:
    """Tokens that the model can read and write together; None where the table does not say."""
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
