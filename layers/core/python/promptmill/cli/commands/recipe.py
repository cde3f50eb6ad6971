"""``promptmill recipe``: check, push and list recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from promptmill.cli.command import Invocation, json_option, on_target, stage_option
from promptmill.cli.failures import EXIT_FAILED, failures_in_words
from promptmill.cli.output import Output
from promptmill.domain import layout
from promptmill.domain.errors import UserError
from promptmill.domain.limits import DOCUMENT

_files = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group()
def recipe() -> None:
    """What happens to the files of each inbox."""


@recipe.command()
@_files
@stage_option
@json_option
def check(*, files: tuple[Path, ...], stage: str | None, as_json: bool) -> None:
    """Say everything that is wrong in the recipes FILES, without talking to any deployment.

    Without --stage they are checked as for an account; models of the local stack are for --stage local.
    """
    out = Output(as_json=as_json)
    stage = stage or "dev"
    with failures_in_words(out):
        out.line(f"checked for stage {stage}, offline", style="bold cyan")
        found = {str(path): problems(path, stage) for path in files}
        _tell(out, found)
        out.document({"stage": stage, "recipes": found})
    if any(found.values()):
        raise click.exceptions.Exit(EXIT_FAILED)


@recipe.command()
@_files
@on_target
def push(invocation: Invocation, *, files: tuple[Path, ...]) -> None:
    """Put the recipes FILES in place; none of them if one is wrong. The name of a recipe is its file's.

    _limits.yaml holds no recipe, but what the providers allow.

    Jobs that run keep the recipe they were planned with; functions see a new one within 30 seconds.
    """
    out, settings = invocation.out, invocation.target.settings
    found = {str(path): problems(path, settings.stage) for path in files}
    if any(found.values()):
        _tell(out, found)
        out.document({"pushed": [], "recipes": found})
        raise click.exceptions.Exit(EXIT_FAILED)
    services = invocation.target.services
    keys = [services.run(_push(path.stem, path.read_bytes(), services.objects)) for path in files]
    for path, key in zip(files, keys, strict=True):
        out.line(f"{path} → s3://{settings.bucket}/{key}")
    out.document({"pushed": keys})


@recipe.command("list")
@on_target
def list_recipes(invocation: Invocation) -> None:
    """Name the recipes that are in place."""
    services = invocation.target.services
    found = services.run(_listed(services.objects))
    invocation.out.document({"recipes": [{"name": name, "modified_at": at} for name, at in found]})
    if found:
        invocation.out.table(("recipe", "last pushed"), found)
    else:
        invocation.out.line("no recipes yet: promptmill recipe push recipes/*.yaml")


def problems(path: Path, stage: str) -> list[str]:
    """Everything that is wrong with a recipe, each with its path and line in the document."""
    from promptmill.recipes.limits_document import check_limits  # noqa: PLC0415 - brings pydantic
    from promptmill.recipes.recipe_document import check_recipe  # noqa: PLC0415 - brings pydantic

    if path.suffix not in (".yaml", ".yml"):
        raise UserError("a recipe's file ends in .yaml", code="not_a_recipe", where=str(path))
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(error.strerror or "not readable", code="not_readable", where=str(path)) from error
    if path.stem == DOCUMENT:
        return [str(problem) for problem in check_limits(text)[1]]
    _, found = check_recipe(path.stem, text, stage=stage)
    return [str(problem) for problem in found]


def _tell(out: Output, found: dict[str, list[str]]) -> None:
    for path, faults in found.items():
        out.line(f"{path}: {'good' if not faults else f'{len(faults)} to mend'}", style="red" if faults else "green")
        for fault in faults:
            out.line(f"  {fault}")


async def _push(name: str, document: bytes, objects: Any) -> str:
    key = layout.recipe_key(name)
    await objects.replace(key, document, content_type="application/yaml")
    return key


async def _listed(objects: Any) -> list[tuple[str, str]]:
    return [
        (info.key.removeprefix(layout.RECIPES).removesuffix(".yaml"), info.modified_at)
        async for info in objects.under(layout.RECIPES)
        if info.key.endswith(".yaml") and info.key != layout.recipe_key(DOCUMENT)
    ]
