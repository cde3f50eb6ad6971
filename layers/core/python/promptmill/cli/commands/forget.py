"""``promptmill forget``: erase what is stored about one record or request."""

from __future__ import annotations

from typing import Any

import click

from promptmill.cli.command import Invocation, on_target
from promptmill.jobs.forget import ALWAYS_REMAINS, Findings, find
from promptmill.jobs.forget import forget as erase_found


@click.command()
@click.argument("subject", metavar="ID")
@click.option("--recipe", required=True, help="The recipe that the record or the request belongs to.")
@click.option("--yes", is_flag=True, help="Do it. Without this, the command only shows what it would do.")
@click.option("--drops", is_flag=True, help="Erase the dropped files that hold ID as well, with all of their records.")
@on_target
def forget(invocation: Invocation, *, subject: str, recipe: str, yes: bool, drops: bool) -> None:
    """Erase what is stored about the record or request with this ID, old versions included.

    Answers, bodies and journals of the request are erased. In results files, the lines of the record are blanked. The
    working files of the jobs that ran it are erased, so these jobs can no longer be resumed. A dropped file cannot be
    edited: it stays, unless you say --drops. Everything under the recipe is read, which can take a while.
    """
    services = invocation.target.services
    found = services.run(find(subject, recipe, store=services.objects, jobs=services.jobs))
    if yes and not found.nothing:
        services.run(erase_found(found, subject, store=services.objects, drops=drops))
    _print(invocation, found, done=yes, drops=drops)
    invocation.out.document(_document(found, done=yes, drops=drops))


def _document(found: Findings, *, done: bool, drops: bool) -> dict[str, Any]:
    erased = found.erased + (found.dropped if drops else [])
    return {
        "done": done,
        "erased": [{"key": version.key, "version": version.version} for version in erased],
        "blanked": [{"key": key, "lines": lines} for key, lines in sorted(found.blanked.items())],
        "jobs": found.jobs,
        "remains": [{"what": what, "why": why} for what, why in _remains(found, drops=drops).items()],
    }


def _remains(found: Findings, *, drops: bool) -> dict[str, str]:
    files = (
        {}
        if drops
        else {
            version.key: "a dropped file holds other records, and cannot be edited: --drops erases it"
            for version in found.dropped
        }
    )
    mentioned = dict.fromkeys(
        found.mentioned, "the id is in it, but in no line that could be blanked: look at it yourself"
    )
    return files | mentioned | dict.fromkeys(found.unsearched, "a workbook or archive is not searched") | ALWAYS_REMAINS


def _print(invocation: Invocation, found: Findings, *, done: bool, drops: bool) -> None:
    out = invocation.out
    if found.nothing:
        out.line("Nothing that can be searched holds this ID.")
    erased = found.erased + (found.dropped if drops else [])
    for key in dict.fromkeys(version.key for version in erased):
        versions = sum(version.key == key for version in erased)
        out.line(f"  {'erased' if done else 'would erase'} {key} ({versions} versions)")
    for key, lines in sorted(found.blanked.items()):
        out.line(f"  {'blanked' if done else 'would blank'} {lines} lines of {key}")
    for job in found.jobs:
        out.line(f"  job {job} {'can' if done else 'could then'} no longer be resumed")
    out.line("What remains, and why:")
    for what, why in _remains(found, drops=drops).items():
        out.line(f"  {what}: {why}")
    if not done and not found.nothing:
        out.line("Nothing was changed. To do it, add --yes.")
