"""``promptmill local``: run the whole stack on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click

from promptmill.cli.command import offline
from promptmill.cli.local.demo import REVIEWS, run_demo
from promptmill.cli.local.paths import LocalPaths, local_paths
from promptmill.cli.local.stack import LocalState, down, find_running, up
from promptmill.cli.output import Output
from promptmill.domain.errors import UserError

_home = click.option("--home", envvar="PROMPTMILL_HOME", hidden=True, type=click.Path(file_okay=False))
EXIT_DOWN = 3


@click.group()
def local() -> None:
    """Run the whole stack on this machine.

    It uses an emulator of AWS and a small model, and needs no account and no key.
    """


@local.command("up")
@_home
@offline
def up_command(out: Output, *, home: str | None) -> None:
    """Start the stack and leave it running. Whatever is missing is first installed and built with make."""
    paths = local_paths(home)
    out.target("local")
    build(paths)
    state = up(paths, recipes=local_recipes(paths), say=lambda text: out.line(f"  {text}"))
    _print_state(out, state)


@local.command("down")
@_home
@offline
def down_command(out: Output, *, home: str | None) -> None:
    """Stop the stack, also after a crash. Its jobs and results are deleted."""
    out.target("local")
    was_up = down(local_paths(home))
    out.line("  The stack is stopped." if was_up else "  The stack was not running.")
    out.document({"was_up": was_up})


@local.command("status")
@_home
@offline
def status_command(out: Output, *, home: str | None) -> None:
    """Show whether the stack is running.

    If it is, its addresses are shown. If not, the exit code is 3.
    """
    state = find_running(local_paths(home))
    out.target("local")
    if state is None:
        out.line("  The stack is not running. To start it, run: promptmill local up")
        out.document({"up": False})
        raise click.exceptions.Exit(EXIT_DOWN)
    _print_state(out, state)


@local.command("demo")
@click.option("--reviews", default=REVIEWS, hidden=True, type=click.IntRange(2, 150))
@_home
@offline
def demo_command(out: Output, *, home: str | None, reviews: int) -> None:
    """Run 100 rated reviews through a new stack.

    The stack is stopped at the end.
    """
    paths = local_paths(home)
    out.target("local")
    build(paths)
    run_demo(paths, out, reviews=reviews)


def build(paths: LocalPaths) -> None:
    """Build whatever is missing of the environments, the layers and the template, with make.

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
        raise UserError(
            "make is not installed", code="no_make", remedy="install GNU make, which builds the stack"
        ) from error
    if made.returncode:
        tail = " | ".join((made.stderr or made.stdout).strip().splitlines()[-4:])
        raise UserError(f"the stack could not be built: {tail}", code="build_failed")


def local_recipes(paths: LocalPaths) -> list[Path]:
    """Return the paths of the sample recipes."""
    return sorted((paths.clone / "recipes").glob("*.yaml"))


def _print_state(out: Output, state: LocalState) -> None:
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
