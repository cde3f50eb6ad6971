"""``promptmill redact``: what would be hidden, for audits and for measuring."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from promptmill.cli.command import offline
from promptmill.cli.engines import other_engines
from promptmill.cli.failures import EXIT_FAILED
from promptmill.cli.output import Output, printable
from promptmill.domain.errors import RecordError, UserError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.domain.redaction.audit import RedactedText, audit_line, redact_document, redact_text
from promptmill.domain.redaction.reasons import reason_of
from promptmill.domain.redaction.spans import ALL_TYPES, Engine

_COLOURS = ("red", "green", "yellow", "magenta", "cyan", "blue")


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.argument("target", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A recipe, or the `redact:` part of one.",
)
@click.option("--explain", is_flag=True, help="Show what was found in SOURCE and why, in colour, for a person to read.")
@offline
def redact(out: Output, *, source: Path, target: Path | None, policy_file: Path | None, explain: bool) -> None:
    """Redact the lines of SOURCE into TARGET, as a recipe would; nothing leaves this machine.

    Lines are {"id", "text"} or {"id", "body"}; what is written is {"id", "redacted", "spans"} or {"id", "body"}. A line
    that can't be redacted becomes {"id", "error"} and the exit code is 1. With --explain, SOURCE may be any text.
    """
    policy = _policy(policy_file)
    if target is None and not explain:
        raise click.UsageError("TARGET is missing: redact SOURCE TARGET, or redact --explain SOURCE")
    with other_engines(policy) as others:
        if explain or target is None:
            _explain(out, source, policy, others)
            return
        counts, failed = _write(source, target, policy, others)
    out.line(f"redacted {sum(counts.values())} values, {failed} lines failed")
    out.document({"failed": failed, "audit": audit_line(policy, counts, attachments="refuse")})
    if failed:
        raise click.exceptions.Exit(EXIT_FAILED)


def _policy(path: Path | None) -> RedactionPolicy:
    if path is None:
        return RedactionPolicy(types=ALL_TYPES)
    from promptmill.domain.recipe_redaction import read_policy  # noqa: PLC0415 (brings pydantic)

    return read_policy(path.read_bytes())


def _write(source: Path, target: Path, policy: RedactionPolicy, others: Engine | None) -> tuple[Counter[str], int]:
    counts: Counter[str] = Counter()
    failed = 0
    with target.open("wb") as written:
        for number, line in _lines(source):
            answer, found = _answer(number, line, policy, others)
            counts.update(found)
            failed += "error" in answer
            written.write(msgspec.json.encode(answer) + b"\n")
    return counts, failed


def _lines(source: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with click.open_file(str(source), "rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                decoded = msgspec.json.decode(line)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                raise _not_a_line(number) from error
            if not isinstance(decoded, dict) or not isinstance(decoded.get("text", decoded.get("body")), str | dict):
                raise _not_a_line(number)
            yield number, decoded


def _not_a_line(number: int) -> UserError:
    return UserError(
        'a line is wanted such as {"id": 1, "text": "…"} or {"id": 1, "body": {…}}',
        code="invalid_line",
        where=f"line {number}",
        remedy="correct the line, or use --explain for plain text",
    )


def _answer(
    number: int, line: dict[str, Any], policy: RedactionPolicy, others: Engine | None
) -> tuple[dict[str, Any], dict[str, int]]:
    """What is written for a line. An error fails the line, and never lets it through."""
    name = line.get("id", number)
    try:
        if isinstance(line.get("text"), str):
            found = redact_text(line["text"], policy, others)
            return {"id": name, "redacted": found.text, "spans": [_span(span) for span in found.spans]}, found.counts
        body, counts = redact_document(line["body"], policy, others)
    except RecordError as error:
        return {"id": name, "error": error.code}, {}
    except Exception:  # noqa: BLE001 (whatever it is, the text must not be written; the error may quote it)
        return {"id": name, "error": "redaction_failed"}, {}
    return {"id": name, "body": body}, counts


def _span(span: Any) -> dict[str, Any]:
    return {"start": span.start, "end": span.end, "type": span.type, "score": span.score}


def _explain(out: Output, source: Path, policy: RedactionPolicy, others: Engine | None) -> None:
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    explained = []
    for name, text in _texts(source):
        found = redact_text(text, policy, others)
        explained.append({"id": name, "spans": [{**_span(s), "why": reason_of(s)} for s in found.spans]})
        if not out.as_json:
            console.print(_coloured(text, found))
            for span in found.spans:
                value = printable(text[span.start : span.end]).replace("\n", " ")
                console.print(
                    f"  {span.type}  {value[:60]}  {span.score:.2f}  {reason_of(span)}", style="dim", markup=False
                )
    out.document({"explained": explained})


def _texts(source: Path) -> Iterator[tuple[Any, str]]:
    """The texts of lines, the bodies of lines as JSON, or the whole of a file that is neither."""
    with click.open_file(str(source), "rb") as file:
        raw = file.read()
    for number, line in enumerate(raw.splitlines(), 1):
        try:
            decoded = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            decoded = None
        if not isinstance(decoded, dict) or not ("text" in decoded or "body" in decoded):
            yield 1, raw.decode(errors="replace")
            return
        text = decoded.get("text")
        yield (
            decoded.get("id", number),
            text if isinstance(text, str) else msgspec.json.encode(decoded.get("body")).decode(),
        )


def _coloured(text: str, found: RedactedText) -> Text:
    shown, done = Text(), 0
    for span in found.spans:
        shown.append(printable(text[done : span.start]))
        colour = _COLOURS[sum(map(ord, span.type)) % len(_COLOURS)]
        shown.append(printable(text[span.start : span.end]), style=f"bold reverse {colour}")
        shown.append(f" {span.type}", style=f"{colour} italic")
        done = span.end
    shown.append(printable(text[done:]))
    return shown
