"""``promptmill recipe``: check, push and list recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from promptmill.cli.command import EXIT_FAILED, Invocation, json_option, on_target, report_failures
from promptmill.cli.output import Output
from promptmill.domain import layout
from promptmill.domain.errors import UserError
from promptmill.domain.limits import DOCUMENT
from promptmill.settings import STAGES

_files = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group()
def recipe() -> None:
    """Check, push and list recipes.

    A recipe says what happens to the files of its inbox.
    """


@recipe.command()
@_files
@click.option(
    "--stage",
    type=click.Choice(STAGES),
    envvar="PROMPTMILL_STAGE",
    default="dev",
    show_default=True,
    help="The stage to check for.",
)
@json_option
def check(*, files: tuple[Path, ...], stage: str, as_json: bool) -> None:
    """Print everything that is wrong in the recipes FILES.

    This command talks to no deployment. Only --stage local allows the local model.
    """
    out = Output(as_json=as_json)
    with report_failures(out):
        out.line(f"checked offline for the stage {stage}", style="bold cyan")
        found = {str(path): find_problems(path, stage) for path in files}
        _print_problems(out, found)
        out.document({"stage": stage, "recipes": found})
    if any(found.values()):
        raise click.exceptions.Exit(EXIT_FAILED)


@recipe.command()
@_files
@on_target
def push(invocation: Invocation, *, files: tuple[Path, ...]) -> None:
    """Upload the recipes FILES to the deployment.

    If one of them has an error, none is uploaded. The name of a file is the name of its recipe. Running jobs keep the
    recipe they were planned with, and new jobs see a new recipe within 30 seconds. The file _limits.yaml is special:
    it says what providers allow.
    """
    out, settings = invocation.out, invocation.target.settings
    prefix = settings.secret_prefix
    found = {str(path): find_problems(path, settings.stage, secret_prefix=prefix) for path in files}
    if any(found.values()):
        _print_problems(out, found)
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
    """List the recipes of the deployment."""
    services = invocation.target.services
    found = services.run(_list_recipes(services.objects))
    invocation.out.document({"recipes": [{"name": name, "modified_at": at} for name, at in found]})
    if found:
        invocation.out.table(("recipe", "last pushed"), found)
    else:
        invocation.out.line("There are no recipes yet. To push some, run: promptmill recipe push recipes/*.yaml")


def find_problems(path: Path, stage: str, *, secret_prefix: str = "") -> list[str]:
    """Return everything that is wrong with a recipe, each with its path and line in the document.

    ``secret_prefix`` is what the names of the deployment's secrets begin with, "" where there is no deployment to ask.
    """
    from promptmill.recipes.limits_document import check_limits  # noqa: PLC0415 - brings pydantic
    from promptmill.recipes.recipe_document import check_recipe  # noqa: PLC0415 - brings pydantic

    if path.suffix not in (".yaml", ".yml"):
        raise UserError("the name of a recipe file must end in .yaml", code="not_a_recipe", where=str(path))
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(error.strerror or "this file cannot be read", code="not_readable", where=str(path)) from error
    if path.stem == DOCUMENT:
        return [str(problem) for problem in check_limits(text, secret_prefix=secret_prefix)[1]]
    _, found = check_recipe(path.stem, text, stage=stage, secret_prefix=secret_prefix)
    return [str(problem) for problem in found]


def _print_problems(out: Output, found: dict[str, list[str]]) -> None:
    for path, faults in found.items():
        out.line(f"{path}: {f'{len(faults)} errors' if faults else 'no errors'}", style="red" if faults else "green")
        for fault in faults:
            out.line(f"  {fault}")


async def _push(name: str, document: bytes, objects: Any) -> str:
    key = layout.recipe_key(name)
    await objects.replace(key, document, content_type="application/yaml")
    return key


async def _list_recipes(objects: Any) -> list[tuple[str, str]]:
    return [
        (info.key.removeprefix(layout.RECIPES).removesuffix(".yaml"), info.modified_at)
        async for info in objects.under(layout.RECIPES)
        if info.key.endswith(".yaml") and info.key != layout.recipe_key(DOCUMENT)
    ]
