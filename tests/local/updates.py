"""A job that goes on while its deployment changes: ``python -m tests.local.updates 2000 COMMIT``, or ``make update``.

An earlier commit is deployed by the CDK's own command, a job and requests are started, then come: this commit with a cap
on the day's spending, a killed worker, another recipe under the same name, and a deployment without the cap.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from promptmill.cli.local.paths import CLONE
from promptmill.cli.local.stack import STACK
from promptmill.domain.charge import Spending
from tests.local.cdk_command import ENVIRONMENT, cdk
from tests.local.deployment import Deployment, unique
from tests.local.kills import kill_one
from tests.local.reconciled import INPUT_NANO, OUTPUT_NANO, Books, drop_job, recipe, reconciled, table
from tests.local.stack import bare_emulator, deployed_target, synthesise
from tests.local.unruly_provider import Temper, UnrulyProvider

TEMPER = Temper(latency_s=(0.5, 1.5))
IN_FLIGHT = 10
REQUESTS = 20
"""Sent before the update, and as many after it."""

PATIENCE_S = 900.0
SECRETS = "secret_prefix=promptmill/"
"""The stage value under which the key of the earlier commit may still be read."""

_SOURCES = ("layers", "functions", "infra")


class Updated(Struct, frozen=True):
    """What a job and its requests went through.

    Attributes:
        calls_at: calls of the job that the provider had seen as each change began.
        request_calls: calls of the requests, by model.
    """

    books: Books
    calls_at: dict[str, int]
    replies: int
    request_calls: dict[str, int]


def previous_commit() -> str:
    """Return the last commit before this one that changed what is deployed."""
    given = os.environ.get("PROMPTMILL_UPDATE_FROM")
    return given or _git("log", "-2", "--format=%H", "--", *_SOURCES).split()[-1]


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """Yield a folder with that commit, whose local stage is synthesised by its own code and requirements."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "before"
        _git("clone", "--quiet", "--shared", str(CLONE), str(clone))
        _git("-C", str(clone), "checkout", "--quiet", "--detach", commit)
        synthesise(clone)
        yield clone


def go_through(folder: Path, *, records: int, commit: str) -> Updated:
    """Raises AssertionError where a record or a reply was lost or doubled, or the ledger differs from the bill."""
    home = folder / "emulator"
    with checked_out(commit) as before, bare_emulator(home) as state:
        cdk(state.endpoint, "bootstrap", ENVIRONMENT, "--app", "build/cdk.out-local", cwd=before)
        _deploy(state.endpoint, before)
        target = deployed_target(home, state)
        try:
            return _change(Deployment(target), state.endpoint, records)
        finally:
            target.close()


def _change(deployment: Deployment, endpoint: str, records: int) -> Updated:
    job_name, request_name, calls_at = unique("update"), unique("asked"), dict[str, int]()
    with _provider(1) as of_job, _provider(2) as first, _provider(3) as second:
        job_id = drop_job(deployment, job_name, recipe(of_job.url, in_flight=IN_FLIGHT, timeout_s=30), records)
        deployment.push(request_name, _request_recipe(first.url, "one"))
        _ask(deployment, request_name, range(REQUESTS))
        steps: dict[str, Callable[[], object]] = {
            "this commit, with a cap": lambda: _deploy(endpoint, CLONE, "day_cap_usd=100", SECRETS),
            "a killed worker": lambda: _wait_until(lambda: kill_one(deployment, random.Random(1))),
            "another recipe": lambda: _push_others(deployment, job_name, request_name, second.url),
            "without the cap": lambda: _deploy(endpoint, CLONE, SECRETS),
        }
        for n, (step, change) in enumerate(steps.items(), start=1):
            _wait_until(lambda n=n: len(of_job.seen) >= records * n // (len(steps) + 2))  # type: ignore[misc]
            calls_at[step] = len(of_job.seen)
            change()
        job = deployment.wait(job_id, patience_s=PATIENCE_S)
        assert max(calls_at.values()) < records, "the job was over before all had changed"
        replies = _replies(deployment)
        return Updated(
            books=reconciled(deployment, job, of_job, records),
            calls_at=calls_at,
            replies=_check_replies(replies),
            request_calls=_check_charges(deployment, {"one": first, "two": second}),
        )


def _provider(seed: int) -> UnrulyProvider:
    return UnrulyProvider(TEMPER, seed=seed)


def _deploy(endpoint: str, clone: Path, *context: str) -> None:
    """Deploy the local stage of a clone by the CDK's own command."""
    flags = [word for pair in ("stage=local", *context) for word in ("-c", pair)]
    out = str(clone / "build" / "cdk.deployed")  # beside what make synth writes, which others use
    cdk(endpoint, "deploy", *flags, "--require-approval", "never", "--output", out, cwd=clone)


def _push_others(deployment: Deployment, job_name: str, request_name: str, url: str) -> None:
    """Push recipes that a job under way must not use, and that requests use from now on; then send the other requests."""
    deployment.push(job_name, _request_recipe(url, "two"))
    deployment.push(request_name, _request_recipe(url, "two"))
    _ask(deployment, request_name, range(REQUESTS, 2 * REQUESTS))


def _request_recipe(url: str, model: str) -> str:
    document = recipe(url, in_flight=IN_FLIGHT, timeout_s=30).replace("compatible/unruly", f"compatible/{model}")
    return f"{document}replies: [{STACK}-replies]\n"


def _ask(deployment: Deployment, name: str, numbers: range) -> None:
    for n in numbers:
        deployment.ask({"recipe": name, "id": f"r{n}", "prompt": f"Record {n}: who?", "reply_to": f"{STACK}-replies"})


def _wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.05)


def _replies(deployment: Deployment) -> dict[str, Any]:
    """Return the replies by id, once all are there. One that comes twice says the same."""
    queue, found = deployment.target.outputs["RepliesQueue"], dict[str, Any]()
    end = time.monotonic() + PATIENCE_S
    while len(found) < 2 * REQUESTS and time.monotonic() < end:
        for message in deployment.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
            reply = msgspec.json.decode(message["Body"])
            assert found.setdefault(reply["id"], reply)["status"] == reply["status"]
            deployment.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return found


def _check_replies(replies: dict[str, Any]) -> int:
    """Return how many there are: each with the answer to its own prompt."""
    assert sorted(replies) == sorted(f"r{n}" for n in range(2 * REQUESTS))
    for n in range(2 * REQUESTS):
        assert replies[f"r{n}"]["status"] == "answered", replies[f"r{n}"]
        assert f"Answer {n}." in msgspec.json.encode(replies[f"r{n}"]).decode()
    return len(replies)


def _check_charges(deployment: Deployment, providers: dict[str, UnrulyProvider]) -> dict[str, int]:
    """Return the calls by model: each is charged to the model that was called, at what its provider bills."""
    calls = {}
    for model, provider in providers.items():
        spent = deployment.services.run(_spending(deployment, f"compatible/{model}"))
        bill = sum(s.input_tokens * INPUT_NANO + s.output_tokens * OUTPUT_NANO for s in provider.seen)
        low, high = sum(s.nano_usd for s in spent), sum(s.high_nano_usd for s in spent)
        assert low <= bill <= high, (model, low, bill, high)
        calls[model] = len(provider.seen)
    assert sum(calls.values()) >= 2 * REQUESTS
    return calls


async def _spending(deployment: Deployment, model: str) -> list[Spending]:
    return [spending async for spending in deployment.services.ledger.spending("model", model)]


def _git(*words: str) -> str:
    ran = subprocess.run(["git", *words], cwd=CLONE, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def main(records: int, commit: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        updated = go_through(Path(folder), records=records, commit=commit)
    books = updated.books
    rows = [
        ("from commit", commit),
        ("outcomes, in order", books.records),
        ("calls at each change", updated.calls_at),
        ("requests at provider", sum(books.requests.values())),
        ("calls in the ledger", books.calls),
        ("bill", f"{books.bill:,} nano-dollars, within {books.low:,} to {books.high:,}"),
        ("replies", updated.replies),
        ("calls of requests", updated.request_calls),
    ]
    sys.stdout.write(f"{table(rows)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else previous_commit())
