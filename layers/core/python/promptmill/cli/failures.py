"""Errors that people can do something about, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from promptmill.aws.failures import aws_failures_in_words
from promptmill.cli.output import Output
from promptmill.domain.errors import MissingObjectError, ProviderError, UserError

EXIT_FAILED = 1


@contextmanager
def failures_in_words(out: Output) -> Iterator[None]:
    """Reports what a person can mend and ends with exit code 1; anything else is a defect and shows where."""
    try:
        with aws_failures_in_words():
            yield
    except UserError as error:
        out.failure(error)
    except ProviderError as error:
        out.failure(UserError(f"{error.code}: {error.detail}" if error.detail else error.code, code=error.code))
    except MissingObjectError as error:
        out.failure(UserError(f"{error} is not in the bucket", code="object_missing"))
    else:
        return
    raise click.exceptions.Exit(EXIT_FAILED)
