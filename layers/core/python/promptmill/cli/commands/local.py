"""``promptmill local``: the stack on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click

from promptmill.cli.command import offline
from promptmill.cli.local.demo import REVIEWS, run_demo
from promptmill.cli.local.paths import LocalPaths, local_paths
from promptmill.cli.local.stack import LocalState, down, running, up
from promptmill.cli.output import Output
from promptmill.domain.errors import UserError

_home = click.option("--home", envvar="PROMPTMILL_HOME", hidden=True, type=click.Path(file_okay=False))
EXIT_DOWN = 3


@click.group()
def local() -> None:
    """The whole stack on this machine: an emulator of AWS and an embedded model; no account, no key."""


@local.command("up")
@_home
@offline
def up_command(out: Output, *, home: str | None) -> None:
    """Start the stack and leave it running. What is missing is installed and built first (with make)."""
    paths = local_paths(home)
    out.target("local")
    build(paths)
    state = up(paths, recipes=local_recipes(paths), say=lambda text: out.line(f"  {text}"))
    _tell(out, state)


@local.command("down")
@_home
@offline
def down_command(out: Output, *, home: str | None) -> None:
    """Stop the stack, or what a crash left of it. Its jobs and results are gone with it."""
    out.target("local")
    was_up = down(local_paths(home))
    out.line("  stopped" if was_up else "  it was not up")
    out.document({"was_up": was_up})


@local.command("status")
@_home
@offline
def status_command(out: Output, *, home: str | None) -> None:
    """Say whether the stack is up, and where it listens. Exit code 3 if it is down."""
    state = running(local_paths(home))
    out.target("local")
    if state is None:
        out.line("  down: start it with promptmill local up")
        out.document({"up": False})
        raise click.exceptions.Exit(EXIT_DOWN)
    _tell(out, state)


@local.command("demo")
@click.option("--reviews", default=REVIEWS, hidden=True, type=click.IntRange(2, 150))
@_home
@offline
def demo_command(out: Output, *, home: str | None, reviews: int) -> None:
    """Run 100 rated reviews through the stack and stop it again. It has a stack of its own."""
    paths = local_paths(home)
    out.target("local")
    build(paths)
    run_demo(paths, out, reviews=reviews)


def build(paths: LocalPaths) -> None:
    """Environments, layers and template; make knows what is there already.

    Raises:
        UserError: make is missing or fails.
    """
    try:
        made = subprocess.run(
            ["make", "--no-print-directory", "emulator", "model", "synth", "STAGE=local", "CONTEXT="],  # noqa: S607
            cwd=paths.clone,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise UserError("make is not installed", code="no_make", remedy="install it: it builds the stack") from error
    if made.returncode:
        tail = " | ".join((made.stderr or made.stdout).strip().splitlines()[-4:])
        raise UserError(f"the stack could not be built: {tail}", code="build_failed")


def local_recipes(paths: LocalPaths) -> list[Path]:
    """The sample recipes."""
    return sorted((paths.clone / "recipes").glob("*.yaml"))


def _tell(out: Output, state: LocalState) -> None:
    endpoint = f"aws --endpoint-url {state.endpoint}"
    out.line(f"  emulator  {state.endpoint}   (for the AWS CLI: {endpoint}, with any keys)")
    out.line(f"  model     {'STUB, not a model' if state.is_stub else 'SmolLM2-135M'}  {state.model_url}")
    out.line(f"  bucket    s3://{state.outputs['Bucket']}")
    out.document(
        {
            "up": True,
            "endpoint": state.endpoint,
            "model_url": state.model_url,
            "is_stub": state.is_stub,
            "outputs": state.outputs,
        }
    )
