"""``promptmill``: what a person types."""

from __future__ import annotations

import sys

import click

from promptmill import __version__
from promptmill.cli.commands.cancel import cancel
from promptmill.cli.commands.costs import costs
from promptmill.cli.commands.doctor import doctor
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

EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="promptmill")
def cli() -> None:
    """Batch inference in your own AWS account: files of prompts in, answers and exact costs out.

    Every command says which target it talks to: the local stack, or account/region/stage. Exit codes: 0 done,
    1 failed (the reason and a remedy are printed), 2 wrong usage, 130 interrupted; `submit --wait` has two more.
    """


STEERING = (cancel, resume, redrive, again, pause, unpause)
for command in (submit, status, *STEERING, costs, models, results, redact, providers, recipe, doctor, local):
    cli.add_command(command)


def main() -> None:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
