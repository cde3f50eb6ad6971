"""What every command has in common: a target, ``--json``, errors in words."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
from msgspec import Struct

from promptmill.cli.failures import failures_in_words
from promptmill.cli.output import Output
from promptmill.cli.target import FindTarget, Target, find_target
from promptmill.settings import STAGES

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
stage_option = click.option(
    "--stage",
    type=click.Choice(STAGES),
    envvar="PROMPTMILL_STAGE",
    help="Which deployment; the local stack if it is up and nothing else is said.",
)


class Invocation(Struct, frozen=True):
    """Where a command runs and where it writes."""

    target: Target
    out: Output


def on_target(command: Callable[..., None]) -> Callable[..., None]:
    """Adds ``--stage`` and ``--json``; the command gets an ``Invocation`` first."""

    @stage_option
    @json_option
    @functools.wraps(command)
    def run(*, stage: Any, as_json: bool, **options: Any) -> None:
        out = Output(as_json=as_json)
        find: FindTarget = click.get_current_context().find_root().obj or find_target
        with failures_in_words(out):
            target = find(stage)
            try:
                out.target(target.name)
                command(Invocation(target, out), **options)
            finally:
                target.close()

    return run


def offline(command: Callable[..., None]) -> Callable[..., None]:
    """Adds ``--json``; the command gets an ``Output`` first, and talks to no deployment."""

    @json_option
    @functools.wraps(command)
    def run(*, as_json: bool, **options: Any) -> None:
        out = Output(as_json=as_json)
        with failures_in_words(out):
            command(out, **options)

    return run
