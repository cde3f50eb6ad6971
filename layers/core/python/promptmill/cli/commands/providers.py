"""``promptmill providers``: the providers of models, and the abilities of each."""

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
    """List the providers and what each of them offers.

    `yes`: a test uses this ability with the API of this provider. `estimated`: the provider reports no usage, so
    tokens are estimated from the length of the texts. `-`: the provider does not offer this, and a record that needs
    it fails with the name of the field.
    """
    named = [PROVIDERS[name] for name in sorted(PROVIDERS)]
    out.document({"abilities": list(ABILITIES), "providers": [provider_document(provider) for provider in named]})
    columns = ("provider", *(_HEADINGS.get(ability, ability) for ability in ABILITIES))
    out.table(columns, [(provider.name, *_marks(provider)) for provider in named])
    out.line("- not offered by this provider; estimated: it reports no usage, so tokens are estimated")


def provider_document(provider: Provider) -> dict[str, Any]:
    """Return one provider as it stands in the JSON."""
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
    """Return ``yes``, ``estimated`` or ``not offered`` for each ability. A test shows that each cell is true."""
    return {ability: _cell(provider, ability) for ability in ABILITIES}


def _cell(provider: Provider, ability: Ability) -> str:
    if ability in provider.lacks:
        return _NOT_OFFERED
    return "estimated" if (ability, provider.usage) == ("usage", "estimated") else "yes"


def _marks(provider: Provider) -> list[str]:
    return ["-" if cell == _NOT_OFFERED else cell for cell in cells(provider).values()]
