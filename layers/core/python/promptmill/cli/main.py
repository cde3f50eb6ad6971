"""The command line ``promptmill``: every command in one place."""

from __future__ import annotations

import io
import sys

import click

from promptmill import __version__
from promptmill.cli.commands.batches import batches
from promptmill.cli.commands.cancel import cancel
from promptmill.cli.commands.compare import compare_jobs
from promptmill.cli.commands.costs import costs
from promptmill.cli.commands.doctor import doctor
from promptmill.cli.commands.errors import errors
from promptmill.cli.commands.estimate import estimate
from promptmill.cli.commands.forget import forget
from promptmill.cli.commands.limits import limits
from promptmill.cli.commands.local import local
from promptmill.cli.commands.models import models
from promptmill.cli.commands.pause import pause, unpause
from promptmill.cli.commands.providers import providers
from promptmill.cli.commands.recipe import recipe
from promptmill.cli.commands.redact import redact
from promptmill.cli.commands.rerun import again, redrive, resume
from promptmill.cli.commands.results import results
from promptmill.cli.commands.status import status
from promptmill.cli.commands.submit import submit
from promptmill.cli.output import printable

EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="promptmill")
def cli() -> None:
    """Run batches of prompts in your own AWS account, and know exactly what they cost.

    Every command first prints the deployment that it talks to: the local stack, or account/region/stage.
    Exit codes: 0 success, 1 failure (the reason and a remedy are printed), 2 wrong usage, 130 interrupted.
    `submit --wait` has two more: see its help.
    """


_JOB_CONTROL = (cancel, resume, redrive, again, pause, unpause)
for command in (
    estimate,
    submit,
    status,
    *_JOB_CONTROL,
    costs,
    models,
    compare_jobs,
    batches,
    results,
    errors,
    redact,
    providers,
    limits,
    recipe,
    doctor,
    forget,
    local,
):
    cli.add_command(command)


def main() -> None:
    """Run the command that was typed, and exit with its code."""
    # A file name may hold characters that the terminal's encoding lacks; printing it must not fail.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(file=shown)
        click.echo(printable(shown.getvalue()), err=True, nl=False)  # it may quote what was typed: the name of a file
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
