"""The demo: real reviews through the real stack, and what came of it."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from promptmill.cli.command import Invocation
from promptmill.cli.commands.costs import print_costs, spent
from promptmill.cli.commands.results import fetch
from promptmill.cli.local.cores import idle_cores
from promptmill.cli.local.paths import LocalPaths
from promptmill.cli.local.reviews import Snippet, as_csv, demo_snippets
from promptmill.cli.local.stack import LocalState, alone, down, up
from promptmill.cli.output import Output
from promptmill.cli.target import local_target
from promptmill.cli.watch import watch
from promptmill.domain import layout
from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun, JobState, Source, make_job_id

RECIPE = "demo"
REVIEWS = 100
_SHOWN = 6
_REPLY_WAIT_S = 60
_QUESTION = "The battery died after a week and nobody answers my mails. I want my money back."


class DemoReport(Struct, frozen=True):
    """``agreed``: of ``answered``, how many say what people said."""

    job_id: str
    answered: int
    agreed: int
    reply: dict[str, Any]
    seconds: float


def run_demo(paths: LocalPaths, out: Output, *, reviews: int = REVIEWS) -> DemoReport:
    """Starts a stack of its own, uses it, and stops it, whatever happens.

    Raises:
        UserError: something did not work; the stack is stopped.
    """
    began = time.monotonic()
    stack_paths = LocalPaths(paths.clone, paths.home / "demo")
    with _ended_by_signals(), alone(stack_paths, what="demo"):
        try:
            report = _run(stack_paths, out, reviews, began)
        finally:
            down(stack_paths)
            out.line("The stack is stopped; nothing of it runs any more.")
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
    _heading(out, "1. A stack on this machine: the real template, an emulator of AWS, an embedded model")
    snippets, published = demo_snippets(paths.clone, count=reviews)
    recipe = paths.clone / "recipes" / f"{RECIPE}.yaml"
    state = up(
        paths,
        recipes=[recipe],
        tied=True,
        model_threads=idle_cores(),
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
        _show_places(invocation, job, files)
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
    whose = "published snippets of product reviews" if published else "reviews of our own (no network, none fetched)"
    _heading(out, f"2. A file of prompts: {len(snippets)} {whose}, with ratings by people")
    file = paths.home / "reviews.csv"
    file.write_bytes(as_csv(snippets))
    key = f"{layout.INBOX}{RECIPE}/{file.name}"
    found = invocation.target.drop(file, key, on_bytes=lambda _: None)
    out.line(f"  {file.name} → s3://{invocation.target.settings.bucket}/{key}")
    job = watch(invocation, make_job_id(Source(found.key, found.version, found.size, found.modified_at)))
    if job.state is not JobState.DONE or not job.counts.answered:
        raise UserError(
            f"the demo's job ended as {job.state}: {job.reason}",
            code="demo_failed",
            remedy=f"see the logs in {paths.logs}",
        )
    return job


def read_rows(path: Path) -> list[dict[str, str]]:
    """Of a CSV result."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def agrees(row: dict[str, str]) -> bool:
    """Whether the answer says what the mean rating says."""
    return row["sentiment"] == ("positive" if float(row["rating"]) > 0 else "negative")


def _show_answers(out: Output, rows: Sequence[dict[str, str]], state: LocalState) -> int:
    _heading(out, "3. The answers, in the file's order and dialect, with what each cost")
    agreed = sum(agrees(row) for row in rows)
    columns = ("text", "rating", "sentiment", "cost_usd")
    shown = [(_cut(row["text"]), *(row[column] for column in columns[1:])) for row in rows[:_SHOWN]]
    out.table(columns, shown, right=("rating", "cost_usd"))
    out.line(f"  {agreed} of {len(rows)} agree with the human rating.")
    if state.is_stub:
        out.line("  A STUB answered, not a model: it always says the same.", style="bold yellow")
    else:
        out.line("  (SmolLM2 is a model of 135 million parameters: right more often than not, and no more.)")
    return agreed


def _show_costs(invocation: Invocation, job: JobRun) -> None:
    _heading(invocation.out, "4. What it cost (promptmill costs --job …; the prices are made up, the model is free)")
    services = invocation.target.services
    rows = services.run(spent("job", job.job_id, services=services))
    print_costs(invocation.out, "job", job.job_id, rows)


def _show_request(invocation: Invocation) -> dict[str, Any]:
    _heading(invocation.out, "5. A single request, by message, and its reply")
    sqs, settings = invocation.target.services.client("sqs"), invocation.target.settings
    replies = invocation.target.outputs["RepliesQueue"]
    request = {
        "recipe": RECIPE,
        "id": "demo-1",
        "prompt": _QUESTION,
        "reply_to": replies.rpartition("/")[2],
    }
    sqs.send_message(QueueUrl=settings.requests_queue, MessageBody=json.dumps(request))
    invocation.out.line(f"  sent to {settings.requests_queue}: {json.dumps(request)}")
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
    raise UserError("no reply came", code="demo_failed")


def _show_places(invocation: Invocation, job: JobRun, files: dict[str, Path]) -> None:
    out = invocation.out
    _heading(out, "6. Where everything is")
    out.line(f"  in the bucket: s3://{invocation.target.settings.bucket}/{job.results_prefix}")
    for name, path in files.items():
        out.line(f"  {name:<9} {os.path.relpath(path)}")


def _closing(agreed: int, count: int, state: LocalState, *, published: bool) -> str:
    who = "A STUB, not a model," if state.is_stub else "SmolLM2-135M"
    which = "" if published else " (reviews of our own: the published ones could not be fetched)"
    return f"{who} agreed with the human rating on {agreed} of {count} reviews{which}."


def _heading(out: Output, text: str) -> None:
    out.line()
    out.line(text, style="bold")


def _cut(text: str, width: int = 60) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A polite kill ends like Ctrl-C: the stack is stopped first."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
