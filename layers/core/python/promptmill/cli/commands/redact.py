"""``promptmill redact``: what would be hidden, for audits and for measuring."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text

from promptmill.cli.command import offline
from promptmill.cli.failures import EXIT_FAILED
from promptmill.cli.output import Output, printable
from promptmill.domain.errors import RecordError, UserError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.ports.detectors import ExternalDetector
from promptmill.redaction.audit import RedactedText, audit_line, redact_document, redact_text
from promptmill.redaction.policy import DetectorMissingError, external_detectors
from promptmill.redaction.reasons import reason_of
from promptmill.redaction.spans import ALL_TYPES, KNOWN_TYPES, Detector, Span

_LONGEST = 32 << 20
_BOM = b"\xef\xbb\xbf"
_WANTED = 'a line is one JSON object such as {"id": 1, "text": "…"} or {"id": 1, "body": {…}}'


class Line(Struct, frozen=True):
    """``content`` is the text, or the body of a request."""

    number: int
    id: str | int
    content: str | dict[str, Any]


class Fault(Struct, frozen=True):
    """A line that can't be read, and what to do about it. Says nothing of what the line holds."""

    number: int
    code: str
    message: str
    remedy: str
    id: str | int | None = None


def read_lines(source: IO[bytes]) -> Iterator[Line | Fault]:
    """Blank lines, a byte order mark and carriage returns are passed over. Ids must differ."""
    seen: dict[str | int, int] = {}
    for number, raw in _raw_lines(source):
        read = _read(number, raw)
        if isinstance(read, Line):
            first = seen.setdefault(read.id, number)
            if first != number:
                read = Fault(
                    number, "id_repeated", f"line {first} has this id", "give each line an id of its own", read.id
                )
        yield read


def _raw_lines(source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while raw := source.readline(_LONGEST + 1):
        number += 1
        rest = raw
        while len(rest) > _LONGEST and not rest.endswith(b"\n"):
            rest = source.readline(_LONGEST + 1)
        raw = raw.removeprefix(_BOM) if number == 1 else raw
        if raw.strip():
            yield number, raw


def _read(number: int, raw: bytes) -> Line | Fault:
    if len(raw) > _LONGEST:
        return Fault(number, "line_too_long", f"a line has at most {_LONGEST >> 20} MB", "split it into several lines")
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        place = str(error).partition("(byte ")[2].rstrip(")")
        at = f" from byte {place} on" if place.isdigit() else ""
        return Fault(
            number, "not_json", f"the line is no JSON in UTF-8{at}", f"{_WANTED}; for plain text use --explain"
        )
    if not isinstance(found, dict):
        return Fault(number, "not_an_object", "the line is JSON, but no object", _WANTED)
    return _line(number, found)


def _line(number: int, found: dict[str, Any]) -> Line | Fault:
    name = found.get("id")
    if not isinstance(name, str | int) or isinstance(name, bool):
        return Fault(number, "id_missing", "the line has no id that is a text or a number", _WANTED)
    content, kind = (found["text"], str) if "text" in found else (found.get("body"), dict)
    if not isinstance(content, kind):
        return Fault(number, "text_missing", "the line has neither a text nor a body that is an object", _WANTED, name)
    return Line(number, name, content)


INSTALL = "python -m pip install --no-deps --require-hashes -r layers/ner/requirements.txt"
_REMEDIES = {"ner": f"in a clone of Promptmill run `make ner`, or for another Python: {INSTALL}"}
_STAYS = "it asks AWS, and nothing leaves this machine: leave it out of the policy's engines to try the others"


@contextmanager
def open_external_detectors(policy: RedactionPolicy) -> Iterator[Detector | None]:
    """Those of the policy that are not built in, as one; None if it wants none.

    Raises:
        UserError: one of them can't be had here (``engine_missing``).
    """
    from promptmill.wiring import offline_detectors  # noqa: PLC0415 (detectors that are adapters)

    if not external_detectors(policy):
        yield None
        return
    detectors = offline_detectors()
    with asyncio.Runner() as runner:
        try:
            found = [_tried(name, detectors.detector, policy, runner) for name in external_detectors(policy)]
            yield _Others(found, policy, runner)
        finally:
            runner.run(detectors.close())


def _tried(
    name: str, detector: Callable[[str], ExternalDetector], policy: RedactionPolicy, runner: asyncio.Runner
) -> ExternalDetector:
    """It is loaded, so that what is missing is said once, and not for every line."""
    try:
        found = detector(name)
        runner.run(found.find("", policy))
    except DetectorMissingError as error:
        reason = f"the detector {name} is not installed here"
        raise UserError(reason, code="engine_missing", remedy=_REMEDIES.get(name, _STAYS)) from error
    return found


class _Others:
    def __init__(self, detectors: list[ExternalDetector], policy: RedactionPolicy, runner: asyncio.Runner) -> None:
        self._detectors, self._policy, self._runner = detectors, policy, runner

    def find(self, text: str) -> list[Span]:
        return [
            span for detector in self._detectors for span in self._runner.run(detector.find(text, self._policy)).spans
        ]


_MAX_TOLD, _WIDEST = 20, 48
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
    that can't be read or redacted becomes {"id", "line", "error", "message", "remedy"}, and the rest goes on. With --explain,
    SOURCE may be any text.

    The exit status is 0 if every line was redacted, 1 if any failed or there was none, 2 if the command was wrong.
    """
    policy = _policy(policy_file)
    if target is None and not explain:
        raise click.UsageError("TARGET is missing: redact SOURCE TARGET, or redact --explain SOURCE")
    if target is not None and target.exists() and source.exists() and target.samefile(source):
        raise click.UsageError("TARGET is SOURCE: write to another file")
    with open_external_detectors(policy) as others:
        if explain or target is None:
            _explain(out, source, policy, others)
            return
        written = _write(source, target, policy, others)
    _tell(out, written)
    out.document({"failed": len(written.faults), "audit": audit_line(policy, written.counts, attachments="refuse")})
    if written.faults or not written.lines:
        raise click.exceptions.Exit(EXIT_FAILED)


def _tell(out: Output, written: _Written) -> None:
    for fault in written.faults[:_MAX_TOLD]:
        out.line(
            f"line {fault['line']}: {fault['message']} ({fault['error']}). {fault['remedy'][:1].upper()}{fault['remedy'][1:]}."
        )
    if len(written.faults) > _MAX_TOLD:
        out.line(f"and {len(written.faults) - _MAX_TOLD} more, all of them in the target")
    if not written.lines:
        out.line('there is no line to redact: a line is {"id": 1, "text": "…"} or {"id": 1, "body": {…}}')
    out.line(
        f"{written.lines} lines, {sum(written.counts.values())} values redacted, {len(written.faults)} lines failed"
    )


def _policy(path: Path | None) -> RedactionPolicy:
    if path is None:
        return RedactionPolicy(types=ALL_TYPES)
    from promptmill.recipes.redaction_policy import read_policy  # noqa: PLC0415 (brings pydantic)

    return read_policy(path.read_bytes())


def _write(source: Path, target: Path, policy: RedactionPolicy, others: Detector | None) -> _Written:
    written = _Written()
    with click.open_file(str(source), "rb") as lines, target.open("wb") as answers:
        for line in read_lines(lines):
            answer, found = _fault(line) if isinstance(line, Fault) else _answer(line, policy, others)
            written.lines += 1
            written.counts.update(found)
            if "error" in answer:
                written.faults.append(answer)
            answers.write(msgspec.json.encode(answer) + b"\n")
    return written


class _Written:
    """What has been written: lines, replacements by type, lines that failed."""

    def __init__(self) -> None:
        self.lines = 0
        self.counts: Counter[str] = Counter()
        self.faults: list[dict[str, Any]] = []


def _fault(fault: Fault) -> tuple[dict[str, Any], dict[str, int]]:
    name = {} if fault.id is None else {"id": fault.id}
    told = {"line": fault.number, "error": fault.code, "message": fault.message, "remedy": fault.remedy}
    return {**name, **told}, {}


def _answer(line: Line, policy: RedactionPolicy, others: Detector | None) -> tuple[dict[str, Any], dict[str, int]]:
    """What is written for a line. An error fails the line, and never lets it through."""
    try:
        if isinstance(line.content, str):
            found = redact_text(line.content, policy, others)
            return {"id": line.id, "redacted": found.text, "spans": [_span(span) for span in found.spans]}, found.counts
        body, counts = redact_document(line.content, policy, others)
    except RecordError as error:
        return _fault(Fault(line.number, error.code, error.message, error.remedy, line.id))
    except Exception as error:  # noqa: BLE001 (whatever it is, the text must not be written; the error may quote it)
        reason = f"the search for sensitive data ended in {type(error).__name__}"
        return _fault(Fault(line.number, "redaction_failed", reason, "nothing of the line was written", line.id))
    return {"id": line.id, "body": body}, counts


def _span(span: Span) -> dict[str, Any]:
    return {"start": span.start, "end": span.end, "type": span.type, "score": span.score}


def _explain(out: Output, source: Path, policy: RedactionPolicy, others: Detector | None) -> None:
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    explained, texts = [], list(_texts(source))
    for name, text in texts:
        found = redact_text(text, policy, others)
        explained.append({"id": name, "spans": [{**_span(s), "why": reason_of(s)} for s in found.spans]})
        if not out.as_json:
            if len(texts) > 1:
                console.print(Text(f"── {printable(str(name))}", style="bold"))
            console.print(_coloured(text, found))
            console.print(_reasons(text, found))
    out.document({"explained": explained})


def _reasons(text: str, found: RedactedText) -> Table | Text:
    if not found.spans:
        return Text("nothing was found", style="dim")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("line", "type", "value", "score", "why"):
        table.add_column(column, no_wrap=column != "why", justify="right" if column in ("line", "score") else "left")
    for span in found.spans:
        value = printable(text[span.start : span.end]).replace("\n", " ")
        shown = value if len(value) <= _WIDEST else f"{value[: _WIDEST - 1]}…"
        place = str(text.count("\n", 0, span.start) + 1)
        table.add_row(
            place, Text(span.type, _colour(span)), Text(shown), f"{span.score:.2f}", Text(reason_of(span), "dim")
        )
    return table


def _colour(span: Span) -> str:
    """The same for the same type, and different ones for the types that often stand together."""
    known = KNOWN_TYPES.index(span.type) if span.type in KNOWN_TYPES else sum(map(ord, span.type))
    return _COLOURS[known % len(_COLOURS)]


def _texts(source: Path) -> Iterator[tuple[Any, str]]:
    """The texts of lines, the bodies of lines as JSON, or the whole of a file that is neither."""
    with click.open_file(str(source), "rb") as file:
        raw = file.read().removeprefix(b"\xef\xbb\xbf")
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
        colour = _colour(span)
        shown.append(printable(text[span.start : span.end]), style=f"bold reverse {colour}")
        shown.append(f"«{span.type}»", style=f"{colour} italic")
        done = span.end
    shown.append(printable(text[done:]))
    return shown
