"""Compare our prices with LiteLLM's public table, entry by entry.

The table is not ours to ship: fetch it yourself (the package litellm holds it as
``model_prices_and_context_window_backup.json``) and run ``python -m tests.bench.price_tables TABLE``. Only what is lower
here than there can cost a customer money that no budget counted: each such entry is printed, with its reason if it has one.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from promptmill.domain.completion import Usage
from promptmill.domain.recipe import Route
from promptmill.prices.genai import GenaiPriceBook

AT = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
Verdict = Literal["equal", "higher here", "lower here", "unknown here"]

_MILLION = 1_000_000
_PARTS: Mapping[str, tuple[str, Usage]] = {
    "input": ("input_cost_per_token", Usage(input_total=1000)),
    "output": ("output_cost_per_token", Usage(output_total=1000)),
    "cache read": ("cache_read_input_token_cost", Usage(input_total=1000, cache_read=1000)),
    "cache write": ("cache_creation_input_token_cost", Usage(input_total=1000, cache_write=1000)),
    "audio input": ("input_cost_per_audio_token", Usage(input_total=1000, input_audio=1000)),
    "audio output": ("output_cost_per_audio_token", Usage(output_total=1000, output_audio=1000)),
    "image output": ("output_cost_per_image_token", Usage(output_total=1000, output_image=1000)),
}
_TOKENS = 1000
_PROVIDERS: Mapping[str, str] = {
    "openai": "openai",
    "text-completion-openai": "openai",
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "vertex_ai-language-models": "vertex",
    "vertex_ai-anthropic_models": "vertex",
    "vertex_ai-embedding-models": "vertex",
    "perplexity": "perplexity",
    "cloudflare": "cloudflare",
}
"""The providers whose prices Promptmill knows by itself, by the table's names."""
_MODES = ("chat", "completion", "responses", "embedding")


class Reason(Struct, frozen=True):
    """Why entries whose names match a pattern differ, and who says so."""

    pattern: str
    why: str
    source: str


_DEPLOYMENTS = "Microsoft Learn, Azure OpenAI deployment types; Directions on Microsoft, chart of 2024-12-28"
_CACHING = "Amazon Bedrock user guide, prompt caching, list of models"
_PLACES = "promptmill/prices/places.py"
_OURS = "genai-prices, the entry of the model"
REASONS: Mapping[Verdict, tuple[Reason, ...]] = {
    "lower here": (
        Reason(
            r"^azure/(?:eu|us|apac|us-gov)/",
            "Azure's API does not tell a Data Zone (a tenth more) from a global deployment: set `price`",
            _DEPLOYMENTS,
        ),
        Reason(
            r"^azure/(?:ada|gpt-4-turbo|text-embedding-)",
            "the price of a global deployment; LiteLLM has that of a regional one: set `price`",
            _DEPLOYMENTS,
        ),
        Reason(r"anthropic.claude-3-opus", "a retired model, which is not cached on Bedrock", _CACHING),
        Reason(
            r"^vertex_ai/claude-3-5-haiku",
            "a retired model, lowered from $1 and $5 to $0.80 and $4 a month after its release",
            "aiwiki.ai, Claude 3.5 Haiku, sources 2, 6, 8 and 13",
        ),
        Reason(
            r"^cloudflare/",
            "prices of single models since 2025-02-20; LiteLLM has those of 2024, and rounds others",
            "cloudflare-docs, pull requests 20118 and 20147, and workers-ai/platform/pricing.mdx",
        ),
    ),
    "higher here": (
        Reason(
            r"(?:^|/)(?:[a-z-]+\.)?anthropic\.claude|^claude-sonnet-4-5-20250929-v1|^openai\.",
            "names without `global.` are endpoints of a region, which cost a tenth more; caches that the table has no "
            "rate for cost what other input does",
            _OURS,
        ),
        Reason(
            r"^bedrock/|^(?:eu|apac|jp|au|ca|sa|in|us)\.|^amazon\.nova-2-pro",
            "one factor for all models of a place, which is the highest that any has",
            _PLACES,
        ),
        Reason(r"^perplexity/", "the fee of each request is in it, as if it were tokens", _OURS),
        Reason(r"search-preview|^azure/|tts", "no rate of its own for this part: it costs what other tokens do", _OURS),
        Reason(r"^cloudflare/", "LiteLLM rounds it, or has the price of 2024", "cloudflare-docs, pricing.mdx"),
    ),
    "unknown here": (
        Reason(
            r"us-gov|^bedrock/[a-z-]+-\d/",
            "regions that no factor is known for, and models that are not sold there in our table: set `price`",
            _PLACES,
        ),
        Reason(r"^perplexity/[a-z-]+/", "each reply tells its own cost, which counts", "Perplexity's API, usage.cost"),
        Reason(r"", "in no price table of ours: unknown is never too low, and a budget refuses it: set `price`", _OURS),
    ),
}


class Difference(Struct, frozen=True):
    """One price of one entry, in USD per million tokens."""

    name: str
    part: str
    theirs: Decimal
    ours: Decimal | None

    @property
    def verdict(self) -> Verdict:
        if self.ours is None:
            return "unknown here"
        if abs(self.ours - self.theirs) <= self.theirs / 1000:
            return "equal"
        return "higher here" if self.ours > self.theirs else "lower here"

    @property
    def reason(self) -> str:
        reasons = REASONS.get(self.verdict, ())
        return next((f"{r.why} ({r.source})" for r in reasons if re.search(r.pattern, self.name)), "")


def compare(table: Mapping[str, Any]) -> Iterator[Difference]:
    """Yield one comparison for each price that the table has for a model of our providers."""
    book = GenaiPriceBook()
    for name, entry in table.items():
        route = route_of(name, entry) if isinstance(entry, dict) else None
        if route is None:
            continue
        for part, (field, usage) in _PARTS.items():
            theirs = entry.get(field)
            if isinstance(theirs, int | float) and theirs > 0:
                nano = book.price(route, usage, model="", at=AT).nano_usd
                ours = None if nano is None else Decimal(nano) / _TOKENS * _MILLION / 1_000_000_000
                yield Difference(name, part, Decimal(str(theirs)) * _MILLION, ours)


def route_of(name: str, entry: Mapping[str, Any]) -> Route | None:
    """Return the route that would call this entry's model, or None for what is none of ours."""
    provider = _PROVIDERS.get(str(entry.get("litellm_provider")))
    if provider is None or entry.get("mode") not in _MODES or name.startswith("ft:"):
        return None
    parts = [
        part for part in name.split("/") if part not in ("bedrock", "vertex_ai", "azure", "perplexity", "cloudflare")
    ]
    if provider in ("perplexity", "cloudflare"):
        return Route(name, provider, "/".join(parts))
    region = parts[0] if len(parts) > 1 else ""
    if region and provider == "bedrock" and not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", region):
        return None
    region = region or ("global" if provider == "vertex" else "us-east-1" if provider == "bedrock" else "")
    return Route(name, provider, parts[-1], region=region)


def main(path: str) -> int:
    """Print the comparison. Return 1 if something differs and nobody says why."""
    found = list(compare(json.loads(Path(path).read_text())))
    counts = Counter(difference.verdict for difference in found)
    print(f"{len({d.name for d in found})} entries, {len(found)} prices: {dict(counts)}")
    kinds = Counter((d.verdict, d.reason or "NO REASON") for d in found if d.verdict != "equal")
    for (verdict, why), count in sorted(kinds.items()):
        print(f"{verdict}: {count}: {why}")
    unexplained = [difference for difference in found if difference.verdict != "equal" and not difference.reason]
    for difference in unexplained:
        print(f"{difference.verdict}: {difference.name} {difference.part}: {difference.ours} and {difference.theirs}")
    return int(bool(unexplained))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
