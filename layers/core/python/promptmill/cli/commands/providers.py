"""``promptmill providers``: the providers of models, and the abilities of each."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click
import msgspec

from promptmill.cli.command import offline
from promptmill.cli.field_table import apis_of, field_table
from promptmill.cli.output import Output
from promptmill.domain.errors import UserError
from promptmill.domain.names import did_you_mean
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
@click.option("--fields", metavar="PROVIDER", help="Tell what becomes of every field of a line for this provider.")
@offline
def providers(out: Output, fields: str | None) -> None:
    """List the providers and what each of them offers.

    `yes`: a test uses this ability with the API of this provider. `estimated`: the provider reports no usage, so
    tokens are estimated from the length of the texts. `-`: the provider does not offer this, and a record that needs
    it fails with the name of the field.
    """
    if fields is not None:
        _show_fields(out, fields)
        return
    named = [PROVIDERS[name] for name in sorted(PROVIDERS)]
    out.document({"abilities": list(ABILITIES), "providers": [provider_document(provider) for provider in named]})
    columns = ("provider", *(_HEADINGS.get(ability, ability) for ability in ABILITIES))
    out.table(columns, [(provider.name, *_marks(provider)) for provider in named])
    out.line("- not offered by this provider; estimated: it reports no usage, so tokens are estimated")


def _show_fields(out: Output, name: str) -> None:
    if name not in PROVIDERS:
        raise UserError(f"there is no provider {name}", code="unknown_provider", remedy=did_you_mean(name, PROVIDERS))
    tables = {api: field_table(api) for api in apis_of(PROVIDERS[name])}
    counts = {api: Counter(word.own for word in words) for api, words in tables.items()}
    apis = [
        {"api": api, "counts": dict(counts[api]), "fields": [msgspec.to_builtins(word) for word in words]}
        for api, words in tables.items()
    ]
    out.document({"provider": name, "apis": apis})
    for api, words in tables.items():
        out.line(f"{api}: {', '.join(f'{count} {verdict}' for verdict, count in sorted(counts[api].items()))}")
        out.table(
            ("field", "own API", "other APIs", "why"),
            [(word.name, word.own, word.elsewhere, word.why) for word in words],
        )


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
