"""What the place of a call adds to its price, where the tables give one price for every place.

The factors are those of the entries of litellm 1.110.2, taken for all models of a family; no vendor's page was compared.
"""

from __future__ import annotations

import re
from decimal import Decimal
from urllib.parse import urlsplit

from promptmill.domain.completion import Usage
from promptmill.domain.recipe import Route

_PLAIN, _TENTH_MORE = Decimal(1), Decimal("1.1")

_CLAUDE_BY_REGION = re.compile(r"claude-(?:haiku|sonnet|opus|fable|mythos)-(?:4-[5-9]|[5-9])")
"""Since Claude 4.5, endpoints of regions and of multi-regions cost a tenth more than the global one."""
_GEMINI_BY_REGION = re.compile(r"gemini-(?:3\.[1-9]|[4-9])")
"""The same for Gemini since July 2026, from 3.1 on."""
_GPT_BY_REGION = re.compile(r"gpt-(?:5\.[4-9]|[6-9]|realtime-2)")
"""OpenAI's hosts of one region cost a tenth more for models since GPT-5.4 (data residency)."""


def place_factor(route: Route, usage: Usage, model: str) -> Decimal | None:
    """Return what a price of the tables is multiplied by, None where that is not known."""
    name = model or route.model
    match route.provider:
        case "bedrock":
            return _bedrock_factor(route)
        case "azure" if (urlsplit(route.base_url).hostname or "").endswith(_AZURE_GOVERNMENT):
            return None
        case "anthropic" | "anthropic-aws":
            return _anthropic_factor(route, usage)
        case "vertex" if route.region not in ("", "global"):
            dearer = _CLAUDE_BY_REGION.search(name) or _GEMINI_BY_REGION.search(name)
            return _TENTH_MORE if dearer else _PLAIN
        case "openai":
            host = urlsplit(route.base_url).hostname or ""
            is_regional = host.endswith(".api.openai.com")
            return _TENTH_MORE if is_regional and _GPT_BY_REGION.search(name) else _PLAIN
    return _PLAIN


_AZURE_GOVERNMENT = ".azure.us"
_CLAUDE = "anthropic."
_BEDROCK_BASE = frozenset(("us-east-1", "us-east-2", "us-west-2", ""))
_BEDROCK_PROFILES = {
    **dict.fromkeys(("us", "global"), _PLAIN),
    "eu": Decimal("1.32"),
    **dict.fromkeys(("apac", "jp", "au", "ca", "sa", "in"), Decimal("1.22")),
}
_BEDROCK_REGIONS = {
    "eu-west-2": Decimal("1.6"),
    "eu-west-3": Decimal("1.34"),
    "sa-east-1": Decimal("1.69"),
    "ap-northeast-1": Decimal("1.25"),
}
_BEDROCK_ELSEWHERE = Decimal("1.22")
"""The most that the models of other vendors than Anthropic cost on Bedrock more than in the US, by their profile or their
region: the tables know the US alone, and too much is better than too little."""


def _bedrock_factor(route: Route) -> Decimal | None:
    """Return the factor of a profile or a region. Claude's names tell its prices, which are those of the table."""
    name = route.model.rpartition("/")[2] if route.model.startswith("arn:") else route.model
    head, _, rest = name.partition(".")
    if route.region.startswith("us-gov") or head == "us-gov":
        return None
    if name.startswith(_CLAUDE) or rest.startswith(_CLAUDE):
        return _PLAIN
    if head in _BEDROCK_PROFILES:
        return _BEDROCK_PROFILES[head]
    return _PLAIN if route.region in _BEDROCK_BASE else _BEDROCK_REGIONS.get(route.region, _BEDROCK_ELSEWHERE)


def _anthropic_factor(route: Route, usage: Usage) -> Decimal | None:
    """Return 1.1 for answers that are made in the US only, which the answer or the route's body says."""
    asked = route.body.get("inference_geo")
    place = usage.place or (asked if isinstance(asked, str) and asked != "global" else "")
    return {"": _PLAIN, "us": _TENTH_MORE}.get(place)
