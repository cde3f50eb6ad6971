"""A job in bad weather: ``python -m tests.local.chaos 5000``, or ``make chaos RECORDS=5000``.

30 % of the functions' calls to DynamoDB are throttled, 30 % of those to S3 answered with 503, all are delayed; the
provider throttles 5 % of its requests, fails 2 %, breaks off 1 % in mid-body, and lets 1 % drip until we hang up.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from msgspec import Struct

from tests.local.deployment import Deployment, unique
from tests.local.reconciled import Books, drop_job, recipe, reconciled, table
from tests.local.stack import deployed_stack
from tests.local.unruly_provider import Temper, UnrulyProvider
from tests.local.weather import STORM, weather

TEMPER = Temper(throttled=0.05, failing=0.02, reset=0.01, dripping=0.01)
IN_FLIGHT = 100
PATIENCE_S = 3_600.0


class Endured(Struct, frozen=True):
    """What a job went through.

    Attributes:
        struck: faults between the functions and the emulator, by service and kind.
        requests: of the functions to each service.
    """

    books: Books
    struck: dict[str, int]
    requests: dict[str, int]
    seconds: float


def endure(deployment: Deployment, folder: Path, *, records: int, seed: int) -> Endured:
    """Raises AssertionError where something was lost, doubled or miscounted."""
    with UnrulyProvider(TEMPER, seed=seed) as provider, weather(deployment, folder, seed=seed) as bad:
        bad.rules(STORM)
        started = time.monotonic()
        name = unique("chaos")
        job_id = drop_job(deployment, name, recipe(provider.url, in_flight=IN_FLIGHT), records)
        job = deployment.wait(job_id, patience_s=PATIENCE_S)
        seconds = time.monotonic() - started
        bad.rules(())
        books = reconciled(deployment, job, provider, records)
        return Endured(books, dict(bad.struck()), bad.requests(), seconds)


def main(records: int, seed: int) -> None:
    with deployed_stack() as deployment, tempfile.TemporaryDirectory() as folder:
        endured = endure(deployment, Path(folder), records=records, seed=seed)
    books = endured.books
    rows = [
        ("outcomes, in order", books.records),
        ("requests at provider", books.requests),
        ("calls in the ledger", books.calls),
        ("bill", f"{books.bill:,} nano-dollars, within {books.low:,} to {books.high:,}"),
        ("functions' requests", endured.requests),
        ("of which struck", endured.struck),
        ("seconds", round(endured.seconds, 1)),
    ]
    sys.stdout.write(f"{records} records, seed {seed}\n{table(rows)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1)
