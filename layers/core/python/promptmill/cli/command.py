"""The parts that all commands share: a target, ``--json``, and errors printed without a traceback."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from msgspec import Struct

from promptmill.aws.failures import aws_failures_in_words
from promptmill.cli.output import Output
from promptmill.cli.target import FindTarget, Target, find_target
from promptmill.domain.errors import MissingObjectError, ProviderError, RecipeError, UserError
from promptmill.domain.names import nearest
from promptmill.domain.recipe import Recipe
from promptmill.settings import STAGES

EXIT_FAILED = 1

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
stage_option = click.option(
    "--stage",
    type=click.Choice(STAGES),
    envvar="PROMPTMILL_STAGE",
    help="The deployment to use. Default: the local stack, if it is running.",
)

name_option = click.option(
    "--name",
    "deployment",
    default="",
    envvar="PROMPTMILL_NAME",
    help="The name of the deployment, if an account has several of a stage.",
)


class Invocation(Struct, frozen=True):
    """Where a command runs and where it writes."""

    target: Target
    out: Output


def on_target(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--stage``, ``--name`` and ``--json`` to a command, and pass it an ``Invocation`` first."""

    @stage_option
    @name_option
    @json_option
    @functools.wraps(command)
    def run(*, stage: Any, deployment: str, as_json: bool, **options: Any) -> None:
        out = Output(as_json=as_json)
        find: FindTarget = click.get_current_context().find_root().obj or find_target
        with report_failures(out):
            target = find(stage, deployment)
            try:
                out.target(target.name)
                command(Invocation(target, out), **options)
            finally:
                target.close()

    return run


def offline(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--json`` to a command that talks to no deployment, and pass it an ``Output`` first."""

    @json_option
    @functools.wraps(command)
    def run(*, as_json: bool, **options: Any) -> None:
        out = Output(as_json=as_json)
        with report_failures(out):
            command(out, **options)

    return run


async def load_recipe(name: str, services: Any) -> Recipe:
    """Return a recipe. Unlike those who drop files or publish requests, operators are told which other recipes there are.

    Raises:
        RecipeError: there is no such recipe, or it is not valid.
    """
    try:
        found: Recipe = await services.recipes.load(name)
    except RecipeError as error:
        if error.code != "unknown_recipe":
            raise
        names = await services.recipes.names()
        near = nearest(name, names)
        meant = f"the nearest are: {', '.join(near)}" if near else f"there are: {', '.join(names) or 'none'}"
        raise RecipeError(f"{error.reason}; {meant}", code=error.code, remedy=error.remedy) from error
    return found


@contextmanager
def report_failures(out: Output) -> Iterator[None]:
    """Print an error that the user can correct and exit with 1. Any other error is a defect and keeps its traceback."""
    try:
        with aws_failures_in_words():
            yield
    except UserError as error:
        out.failure(error)
    except ProviderError as error:
        out.failure(UserError(f"{error.code}: {error.detail}" if error.detail else error.code, code=error.code))
    except MissingObjectError as error:
        out.failure(UserError(f"the bucket has no object {error}", code="object_missing"))
    else:
        return
    raise click.exceptions.Exit(EXIT_FAILED)
