"""``promptmill redact``: redact a file on this machine, for audits and measurements."""

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

from promptmill.cli.command import EXIT_FAILED, offline
from promptmill.cli.output import Output, printable
from promptmill.domain.errors import RecordError, UserError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.ports.detectors import ExternalDetector
from promptmill.redaction.policy import DetectorMissingError, external_detectors, make_audit_line
from promptmill.redaction.redact_text import RedactedText, explain_span, redact_document, redact_text
from promptmill.redaction.spans import ALL_TYPES, KNOWN_TYPES, Detector, Span
from promptmill.reports.redaction_report import ReviewedText, redaction_report

_MAX_LINE_BYTES = 32 << 20
_BOM = b"\xef\xbb\xbf"
_LINE_REMEDY = 'write each line as one JSON object such as {"id": 1, "text": "…"} or {"id": 1, "body": {…}}'


class Line(Struct, frozen=True):
    """A line of the source. Its content is a text or the body of a request."""

    number: int
    id: str | int
    content: str | dict[str, Any]


class Fault(Struct, frozen=True):
    """A line that cannot be read, and a remedy. It quotes nothing of the line."""

    number: int
    code: str
    message: str
    remedy: str
    id: str | int | None = None


def read_lines(source: IO[bytes]) -> Iterator[Line | Fault]:
    """Yield each line or its fault. Blank lines and a byte order mark are skipped, and ids must differ."""
    seen: dict[str | int, int] = {}
    for number, raw in _raw_lines(source):
        read = _read(number, raw)
        if isinstance(read, Line):
            first = seen.setdefault(read.id, number)
            if first != number:
                read = Fault(
                    number, "id_repeated", f"line {first} has the same id", "give each line its own id", read.id
                )
        yield read


def _raw_lines(source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while raw := source.readline(_MAX_LINE_BYTES + 1):
        number += 1
        rest = raw
        while len(rest) > _MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = source.readline(_MAX_LINE_BYTES + 1)
        raw = raw.removeprefix(_BOM) if number == 1 else raw
        if raw.strip():
            yield number, raw


def _read(number: int, raw: bytes) -> Line | Fault:
    if len(raw) > _MAX_LINE_BYTES:
        return Fault(
            number,
            "line_too_long",
            f"the line is longer than {_MAX_LINE_BYTES >> 20} MB",
            "split it into several lines",
        )
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        place = str(error).partition("(byte ")[2].rstrip(")")
        at = f", from byte {place} on" if place.isdigit() else ""
        return Fault(
            number, "not_json", f"the line is not JSON in UTF-8{at}", f"{_LINE_REMEDY}; use --explain for plain text"
        )
    if not isinstance(found, dict):
        return Fault(number, "not_an_object", "the line is JSON, but not an object", _LINE_REMEDY)
    return _line(number, found)


def _line(number: int, found: dict[str, Any]) -> Line | Fault:
    name = found.get("id")
    if not isinstance(name, str | int) or isinstance(name, bool):
        return Fault(number, "id_missing", "the line needs an id that is a text or a number", _LINE_REMEDY)
    content, kind = (found["text"], str) if "text" in found else (found.get("body"), dict)
    if not isinstance(content, kind):
        return Fault(number, "text_missing", "the line needs a text, or a body that is an object", _LINE_REMEDY, name)
    return Line(number, name, content)


INSTALL = "python -m pip install --no-deps --require-hashes -r layers/ner/requirements.txt"
_NER_REMEDY = f"in a clone of Promptmill, run make ner; for another Python, run {INSTALL}"


@contextmanager
def open_external_detectors(policy: RedactionPolicy) -> Iterator[Detector | None]:
    """Open the detectors of the policy that are not built in, as one, or None if it has none.

    Raises:
        UserError: One of them is not available here (``engine_missing``).
    """
    from promptmill.wiring_offline import offline_detectors  # noqa: PLC0415 (most commands need no detector)

    if not external_detectors(policy):
        yield None
        return
    detectors = offline_detectors()
    with asyncio.Runner() as runner:
        try:
            found = [_load_detector(name, detectors.detector, policy, runner) for name in external_detectors(policy)]
            yield _ExternalDetectors(found, policy, runner)
        finally:
            runner.run(detectors.close())


def _load_detector(
    name: str, detector: Callable[[str], ExternalDetector], policy: RedactionPolicy, runner: asyncio.Runner
) -> ExternalDetector:
    """Load a detector at once, so that a missing one is one error and not an error on every line."""
    try:
        found = detector(name)
        runner.run(found.find("", policy))
    except DetectorMissingError as error:
        reason = f"the detector {name} calls AWS, and nothing leaves this machine"
        remedy = "remove it from redact.engines to try the others"
        if name == "ner":
            reason, remedy = "the detector ner is not installed here", _NER_REMEDY
        raise UserError(reason, code="engine_missing", remedy=remedy) from error
    return found


class _ExternalDetectors:
    """The external detectors of a policy as one ``Detector``, which is synchronous."""

    def __init__(self, detectors: list[ExternalDetector], policy: RedactionPolicy, runner: asyncio.Runner) -> None:
        self._detectors, self._policy, self._runner = detectors, policy, runner

    def find(self, text: str) -> list[Span]:
        return [
            span for detector in self._detectors for span in self._runner.run(detector.find(text, self._policy)).spans
        ]


_MAX_FAULTS_SHOWN, _MAX_VALUE_WIDTH = 20, 48
_COLOURS = ("red", "green", "yellow", "magenta", "cyan", "blue")


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.argument("target", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A recipe, or only its `redact:` part.",
)
@click.option("--explain", is_flag=True, help="Show in colour what was found in SOURCE, and why.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page for people: what would be masked, by type, and likely misses.",
)
@offline
def redact(
    out: Output, *, source: Path, target: Path | None, policy_file: Path | None, explain: bool, report: Path | None
) -> None:
    """Redact the lines of SOURCE into TARGET, as a recipe would. Nothing leaves this machine.

    A line is {"id", "text"} or {"id", "body"}, and becomes {"id", "redacted", "spans"} or {"id", "body"}. A line that
    cannot be read or redacted becomes {"id", "line", "error", "message", "remedy"}, and the other lines go on. With
    --explain or --report, SOURCE may be any text.

    The exit code is 0 if every line was redacted, 1 if a line failed or there was none, and 2 for wrong usage.
    """
    policy = _policy(policy_file)
    if target is None and not explain and report is None:
        raise click.UsageError("TARGET is missing; give SOURCE and TARGET, or --explain or --report and SOURCE")
    for name, written_to in (("TARGET", target), ("--report", report)):
        if written_to is not None and written_to.exists() and source.exists() and written_to.samefile(source):
            raise click.UsageError(f"{name} is the same file as SOURCE; write to another file")
    with open_external_detectors(policy) as others:
        if report is not None:
            _report(out, source, report, policy, others)
            if target is None and not explain:
                return
        if explain or target is None:
            _explain(out, source, policy, others)
            return
        written = _write(source, target, policy, others)
    _print_summary(out, written)
    out.document(
        {"failed": len(written.faults), "audit": make_audit_line(policy, written.counts, attachments="refuse")}
    )
    if written.faults or not written.lines:
        raise click.exceptions.Exit(EXIT_FAILED)


def _print_summary(out: Output, written: _Written) -> None:
    for fault in written.faults[:_MAX_FAULTS_SHOWN]:
        out.line(
            f"line {fault['line']}: {fault['message']} ({fault['error']}). {fault['remedy'][:1].upper()}{fault['remedy'][1:]}."
        )
    if len(written.faults) > _MAX_FAULTS_SHOWN:
        out.line(f"{len(written.faults) - _MAX_FAULTS_SHOWN} more lines failed. TARGET names all of them.")
    if not written.lines:
        out.line(f"SOURCE has no line to redact; {_LINE_REMEDY}.")
    out.line(
        f"{written.lines} lines, {sum(written.counts.values())} values redacted, {len(written.faults)} lines failed"
    )


def _policy(path: Path | None) -> RedactionPolicy:
    if path is None:
        return RedactionPolicy(types=ALL_TYPES)
    from promptmill.recipes.redact_document import read_policy  # noqa: PLC0415 (brings pydantic)

    return read_policy(path.read_bytes())


def _write(source: Path, target: Path, policy: RedactionPolicy, others: Detector | None) -> _Written:
    written = _Written()
    with click.open_file(str(source), "rb") as lines, target.open("wb") as answers:
        for line in read_lines(lines):
            answer, found = _fault_document(line) if isinstance(line, Fault) else _redact_line(line, policy, others)
            written.lines += 1
            written.counts.update(found)
            if "error" in answer:
                written.faults.append(answer)
            answers.write(msgspec.json.encode(answer) + b"\n")
    return written


class _Written:
    """The lines that were written, the replacements by type, and the lines that failed."""

    def __init__(self) -> None:
        self.lines = 0
        self.counts: Counter[str] = Counter()
        self.faults: list[dict[str, Any]] = []


def _fault_document(fault: Fault) -> tuple[dict[str, Any], dict[str, int]]:
    name = {} if fault.id is None else {"id": fault.id}
    document = {"line": fault.number, "error": fault.code, "message": fault.message, "remedy": fault.remedy}
    return {**name, **document}, {}


def _redact_line(line: Line, policy: RedactionPolicy, others: Detector | None) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the document to write for a line. An error fails the line, and never lets it through unredacted."""
    try:
        if isinstance(line.content, str):
            found = redact_text(line.content, policy, others)
            return {
                "id": line.id,
                "redacted": found.text,
                "spans": [_span_document(span) for span in found.spans],
            }, found.counts
        body, counts = redact_document(line.content, policy, others)
    except RecordError as error:
        return _fault_document(Fault(line.number, error.code, error.message, error.remedy, line.id))
    except Exception as error:  # noqa: BLE001 (whatever it is, the text must not be written; the error may quote it)
        reason = f"the search for sensitive data failed ({type(error).__name__})"
        return _fault_document(
            Fault(line.number, "redaction_failed", reason, "nothing of the line was written", line.id)
        )
    return {"id": line.id, "body": body}, counts


def _span_document(span: Span) -> dict[str, Any]:
    return {"start": span.start, "end": span.end, "type": span.type, "score": span.score}


def _explain(out: Output, source: Path, policy: RedactionPolicy, others: Detector | None) -> None:
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    explained, texts = [], list(_texts(source))
    for name, text in texts:
        found = redact_text(text, policy, others)
        explained.append({"id": name, "spans": [{**_span_document(s), "why": explain_span(s)} for s in found.spans]})
        if not out.as_json:
            if len(texts) > 1:
                console.print(Text(f"── {printable(str(name))}", style="bold"))
            console.print(_highlight_values(text, found))
            console.print(_reasons_table(text, found))
    out.document({"explained": explained})


def _report(out: Output, source: Path, report: Path, policy: RedactionPolicy, others: Detector | None) -> None:
    texts = [ReviewedText(str(name), text, redact_text(text, policy, others)) for name, text in _texts(source)]
    report.write_bytes(redaction_report(source.name, policy, texts))
    doubts = sum(len(one.found.doubts) for one in texts)
    out.line(
        f"{report}: {len(texts)} texts, {sum(len(one.found.spans) for one in texts)} values, {doubts} likely misses"
    )


def _reasons_table(text: str, found: RedactedText) -> Table | Text:
    if not found.spans:
        return Text("Nothing was found.", style="dim")
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("line", "type", "value", "score", "why"):
        table.add_column(column, no_wrap=column != "why", justify="right" if column in ("line", "score") else "left")
    for span in found.spans:
        value = printable(text[span.start : span.end]).replace("\n", " ")
        shown = value if len(value) <= _MAX_VALUE_WIDTH else f"{value[: _MAX_VALUE_WIDTH - 1]}…"
        place = str(text.count("\n", 0, span.start) + 1)
        table.add_row(
            place, Text(span.type, _colour(span)), Text(shown), f"{span.score:.2f}", Text(explain_span(span), "dim")
        )
    return table


def _colour(span: Span) -> str:
    """Return a colour for each type. Types that are often found together get different colours."""
    known = KNOWN_TYPES.index(span.type) if span.type in KNOWN_TYPES else sum(map(ord, span.type))
    return _COLOURS[known % len(_COLOURS)]


def _texts(source: Path) -> Iterator[tuple[Any, str]]:
    """Yield the text or the body of each line or, if the file has no such lines, the whole file as one text."""
    with click.open_file(str(source), "rb") as file:
        raw = file.read().removeprefix(_BOM)
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


def _highlight_values(text: str, found: RedactedText) -> Text:
    shown, done = Text(), 0
    for span in found.spans:
        shown.append(printable(text[done : span.start]))
        colour = _colour(span)
        shown.append(printable(text[span.start : span.end]), style=f"bold reverse {colour}")
        shown.append(f"«{span.type}»", style=f"{colour} italic")
        done = span.end
    shown.append(printable(text[done:]))
    return shown
