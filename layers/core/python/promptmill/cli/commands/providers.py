"""``promptmill providers``: what each provider offers."""

from __future__ import annotations

from typing import Any

import click

from promptmill.cli.command import offline
from promptmill.cli.output import Output
from promptmill.domain.provider_table import ABILITIES, PROVIDERS, Ability, Provider

_NOT_OFFERED = "not offered"
_HEADINGS: dict[Ability, str] = {
    "embeddings": "embed",
    "streaming": "stream",
    "system prompt": "system",
    "structured output": "schema",
    "auth error": "auth",
    "context too long": "too long",
    "filtered content": "filter",
    "malformed answer": "malformed",
}


@click.command()
@offline
def providers(out: Output) -> None:
    """The providers that a recipe's routes can name, and what each of them offers.

    `yes` is something that a test does with this provider's protocol; `estimated`: the provider reports no usage, so
    tokens are counted by the length of the texts; `-`: not offered by this provider, and refused by name.
    """
    named = [PROVIDERS[name] for name in sorted(PROVIDERS)]
    out.document({"abilities": list(ABILITIES), "providers": [described(provider) for provider in named]})
    columns = ("provider", *(_HEADINGS.get(ability, ability) for ability in ABILITIES))
    out.table(columns, [(provider.name, *_marks(provider)) for provider in named])
    out.line("- not offered by this provider; estimated: it reports no usage, so tokens are estimated")


def described(provider: Provider) -> dict[str, Any]:
    """One provider, for programs."""
    return {
        "name": provider.name,
        "label": provider.label,
        "dialects": [dialect for dialect in provider.endpoints if dialect],
        "key": provider.key,
        "base_url": provider.base_url,
        "region": provider.region,
        "account": provider.account,
        "local_only": provider.local_only,
        "abilities": cells(provider),
    }


def cells(provider: Provider) -> dict[Ability, str]:
    """``yes``, ``estimated`` or ``not offered``, by ability: each is what a test shows."""
    return {ability: _cell(provider, ability) for ability in ABILITIES}


def _cell(provider: Provider, ability: Ability) -> str:
    if ability in provider.lacks:
        return _NOT_OFFERED
    return "estimated" if (ability, provider.usage) == ("usage", "estimated") else "yes"


def _marks(provider: Provider) -> list[str]:
    return ["-" if cell == _NOT_OFFERED else cell for cell in cells(provider).values()]
