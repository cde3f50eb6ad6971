"""The report of a run: what happened, what is true now, what to do next, and the figures in pictures and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from msgspec import Struct

from promptmill.domain.job import JobState, Manifest
from promptmill.domain.tally import RouteTotal, Tally
from promptmill.reports.amounts import NOTHING, amount, clock_time, count_of, day_and_time, dollars, duration, percent
from promptmill.reports.latencies import latency_section
from promptmill.reports.markup import Content, code, foreign, tag
from promptmill.reports.page import Fact, Page, Section, write_page
from promptmill.reports.pictures import Bar, Mark, bars, columns, figure
from promptmill.reports.run_figures import FailureKind, RunFigures
from promptmill.reports.tables import table
from promptmill.reports.what_helps import REFUSED_BY_RECIPE, WRONG_LINES, count_of_codes, what_helps

_MOST_ROWS = 12
_STOPPED = "stopped"


class ReportedRun(Struct, frozen=True):
    """A run that has ended.

    Attributes:
        reason: why it ended early, "" if it did not.
        kept: answers that it took over from earlier runs.
        files: the keys of its files by name.
    """

    manifest: Manifest
    state: JobState
    reason: str
    tally: Tally
    routes: dict[str, RouteTotal]
    kept: int
    figures: RunFigures
    files: dict[str, str]


def job_report(run: ReportedRun) -> bytes:
    """Return the report as an HTML document: a function of the run alone, so that whoever ends it writes the same."""
    manifest = run.manifest
    lead = tag("span", "Recipe ", code(manifest.recipe.name), " on ", code(_file_name(run)), ".")
    meta = tag(
        "span", "job ", code(manifest.job_id), f", run {manifest.run}{_times(run)} · state ", code(run.state.value)
    )
    return write_page(
        Page(
            kind="Job report",
            title=_title(run),
            lead=lead,
            meta=meta,
            glance=(
                ("What happened", list(_what_happened(run))),
                ("What is true now", list(_what_is_true(run))),
                ("What to do next", list(_what_to_do(run))),
            ),
            facts=_facts(run),
            sections=list(_sections(run)),
            footer=_footer(run),
        )
    )


def _file_name(run: ReportedRun) -> str:
    return run.manifest.source.key.rpartition("/")[2]


def _footer(run: ReportedRun) -> Element:
    names = [key.rpartition("/")[2] for name, key in run.files.items() if name != "report"]
    beside = [part for name in names for part in (code(name), ", ")][:-1]
    return tag("span", f"Promptmill {run.manifest.versions.code} · Beside this file: ", beside, ".")


def _title(run: ReportedRun) -> str:
    counts, records = run.tally.counts, run.manifest.records
    cost = f"for {dollars(counts.nano_usd)}" + (" and an unknown rest" if counts.unpriced else "")
    if counts.answered == records:
        return f"All {records:,} records answered {cost}"
    rest = [f"{n:,} {word}" for n, word in ((counts.failed, "failed"), (counts.stopped, "left out")) if n]
    return f"{counts.answered:,} of {records:,} records answered {cost}; {', '.join(rest)}"


def _times(run: ReportedRun) -> str:
    timeline = run.figures.timeline
    if not timeline.steps:
        return ""
    return f" · {day_and_time(timeline.steps[0] * timeline.step_s)} UTC"


def _span_s(run: ReportedRun) -> int:
    return len(run.figures.timeline.steps) * run.figures.timeline.step_s


def _what_happened(run: ReportedRun) -> Iterator[Content]:
    counts, records = run.tally.counts, run.manifest.records
    within = f" within {duration(_span_s(run))}" if run.figures.timeline.steps else ""
    yield f"{counts.answered:,} of {records:,} records were answered{within}, by {count_of(counts.attempts, 'call')}."
    if run.kept:
        yield f"{run.kept:,} of the answers are of earlier runs: they were kept, and not paid again."
    if run.reason:
        yield f"The job ended early: {run.reason}."
    for model, answers in _largest(run.tally.answered_by, 3):
        yield tag("span", code(model), f" answered {answers:,}.")
    for note in run.manifest.notes[:3]:
        yield tag("span", "Of the file: ", foreign(note), ".")


def _what_is_true(run: ReportedRun) -> Iterator[Content]:
    yield "Every record has one outcome, and the results are in the file's order."
    yield _cost_in_words(run)
    redacted = sum(run.tally.redacted.values())
    yield f"Before anything was sent, {count_of(redacted, 'value')} of {count_of(len(run.tally.redacted), 'type')} had been redacted."


def _cost_in_words(run: ReportedRun) -> str:
    counts = run.tally.counts
    most = sum(route.high_nano_usd for route in run.routes.values())
    unbounded = sum(route.unbounded for route in run.routes.values())
    known = dollars(counts.nano_usd, 4)
    if not counts.unpriced:
        return f"The calls of this run cost {known}; each has its price."
    if unbounded:
        return f"The calls of this run cost {known} and what {unbounded:,} without a price cost."
    return f"The calls of this run cost {known} at least, and {dollars(most, 4)} at most: the cost of {counts.unpriced:,} is unknown."


def _what_to_do(run: ReportedRun) -> Iterator[Content]:
    failures, left_out = run.tally.failures, run.tally.counts.stopped
    wrong, refused = (count_of_codes(failures, codes) for codes in (WRONG_LINES, REFUSED_BY_RECIPE))
    again = run.tally.counts.failed - wrong - refused
    errors = code(run.files["errors"].rpartition("/")[2])
    if left_out:
        yield f"Resume the job: {_lines(left_out, 'was', 'were')} left out. Answers are kept, and not paid again."
    if again > 0:
        yield f"Redrive the job: {_lines(again, 'was', 'were')} given up at the provider, and may succeed now."
    if wrong:
        yield tag("span", f"Mend {_lines(wrong, 'is', 'are')} wrong, in ", errors, ", and drop that file.")
    if refused:
        yield f"Look at {_lines(refused, 'asks', 'ask')} for what the recipe does not allow: change the one or the other."
    if not (left_out or failures):
        yield "Nothing: every record has its answer."


def _lines(number: int, one: str, many: str) -> str:
    return f"{count_of(number, 'record')} that {one if number == 1 else many}"


def _facts(run: ReportedRun) -> list[Fact]:
    counts, records = run.tally.counts, run.manifest.records
    own_answers = counts.answered - run.kept
    per_1000 = (
        dollars(round(counts.nano_usd * 1000 / own_answers), 3) if own_answers and not counts.unpriced else NOTHING
    )
    return [
        Fact("Answered", percent(counts.answered, records), f"{counts.answered:,} of {records:,}"),
        Fact(
            "Cost", dollars(counts.nano_usd), "of this run's calls" if run.kept else count_of(counts.attempts, "call")
        ),
        Fact("Cost of 1,000 answers", per_1000, "failed calls included"),
        Fact("Time", duration(_span_s(run)) if _span_s(run) else NOTHING, "from the first answer to the last"),
    ]


def _sections(run: ReportedRun) -> Iterator[Section]:
    if len(run.figures.timeline.steps) > 1:
        yield _progress(run)
    if run.routes:
        yield _cost(run)
    if any(found.n for found in run.figures.latencies.values()):
        yield latency_section(run.figures.latencies)
    if run.tally.failures:
        yield _failures(run)
    if run.tally.redacted:
        yield _redaction(run)
    yield _commands(run)
    yield _method(run)


def _progress(run: ReportedRun) -> Section:
    timeline = run.figures.timeline
    step, steps = timeline.step_s, timeline.steps
    came, cost = dict(timeline.answers), dict(timeline.nano_usd)
    answers = [came.get(n, 0) for n in steps]
    ends = [Mark(0, clock_time(steps[0] * step, step)), Mark(1, clock_time((steps[-1] + 1) * step, step))]
    fullest = max(answers)
    drawn = columns(
        "Answers over time",
        f"{sum(answers):,} answers in {len(steps)} steps of {duration(step)}; {fullest:,} in the fullest",
        answers,
        ticks=ends,
    )
    joined = -(-len(steps) // _MOST_ROWS)  # steps that share a row
    rows: list[list[Content]] = [
        [
            clock_time(steps[first] * step, step),
            f"{sum(answers[first : first + joined]):,}",
            amount(sum(cost.get(n, 0) for n in steps[first : first + joined])),
        ]
        for first in range(0, len(steps), joined)
    ]
    rows.append(["All", f"{sum(answers):,}", amount(sum(cost.values()))])
    beside = table("Calls that came back", ("From, UTC", "Answers", "US dollars"), rows, last_is_sum=True)
    caption = (
        f"Each column is {duration(step)}. A call counts when its answer is read; an answer that was kept is not here."
    )
    return Section("progress", "Progress", "How it went", [figure(drawn, beside, caption)])


def _cost(run: ReportedRun) -> Section:
    routes = sorted(run.routes.items(), key=lambda item: (-item[1].nano_usd, item[0]))
    shown, rest = routes[:_MOST_ROWS], routes[_MOST_ROWS:]
    if rest:
        total = RouteTotal()
        for _, one in rest:
            total = total.plus(one)
        shown.append((f"{len(rest)} others", total))
    drawn = bars("Cost by route", [Bar(route, total.nano_usd, dollars(total.nano_usd)) for route, total in shown])
    whole = RouteTotal()
    for _, one in routes:
        whole = whole.plus(one)
    names = ("Route", "Calls", "Failed", "Unpriced", "Input tokens", "Cached", "Output tokens", "US dollars")
    rows = [[code(route), *_route_cells(total)] for route, total in shown]
    wide = table("Calls of this run", names, [*rows, ["All", *_route_cells(whole)]], last_is_sum=True, wide=True)
    short = table(
        "US dollars, by route",
        ("Route", "Calls", "US dollars"),
        [[code(route), f"{total.attempts:,}", amount(total.nano_usd)] for route, total in shown],
    )
    caption = "What the calls cost, those that failed included. An unpriced call is not in the sum."
    return Section("cost", "Cost", "Where the money went", [figure(drawn, short, caption), tag("h3", "Routes"), wide])


def _route_cells(total: RouteTotal) -> list[Content]:
    numbers = (total.attempts, total.failed_attempts, total.unpriced, total.input_tokens, total.cache_read_tokens)
    return [*(f"{n:,}" for n in numbers), f"{total.output_tokens:,}", amount(total.nano_usd)]


def _failures(run: ReportedRun) -> Section:
    shown = _largest(run.tally.failures, _MOST_ROWS)
    failed = sum(run.tally.failures.values())
    drawn = bars("Failures by code", [Bar(name, count, f"{count:,}", "other") for name, count in shown])
    rows: list[list[Content]] = [
        [
            code(name),
            f"{count:,}",
            what_helps(
                name, stopped=run.figures.failed[name].kind == _STOPPED if name in run.figures.failed else False
            ),
        ]
        for name, count in shown
    ]
    rows.append(["All", f"{failed:,}", ""])
    beside = table("Records without an answer", ("Code", "Records", "What helps"), rows, text={2}, last_is_sum=True)
    caption = f"{failed:,} of {run.manifest.records:,} records, {percent(failed, run.manifest.records)}."
    parts: list[Content] = [figure(drawn, beside, caption)]
    examples = [[code(name), _examples(run.figures.failed[name])] for name, _ in shown if name in run.figures.failed]
    if examples:
        parts += [tag("h3", "Which records"), table("The first of each code", ("Code", "Records"), examples, text={1})]
    return Section("failures", "Failures", "What failed", parts)


def _examples(kind: FailureKind) -> Element:
    """Return the places of records in their file, with their ids where they have one."""
    parts: list[Content] = []
    for example in kind.examples:
        parts += [", " if parts else "", f"line {example.line:,}" if example.line else "a line"]
        parts += [" (", code(example.id), ")"] if example.id else []
    return tag("span", parts)


def _redaction(run: ReportedRun) -> Section:
    shown = _largest(run.tally.redacted, _MOST_ROWS)
    drawn = bars("Redacted before sending", [Bar(name, count, f"{count:,}") for name, count in shown])
    unrestored = run.tally.unrestored
    rows: list[list[Content]] = [[name, f"{count:,}", f"{unrestored.get(name, 0):,}"] for name, count in shown]
    rows.append(["All", f"{sum(run.tally.redacted.values()):,}", f"{sum(unrestored.values()):,}"])
    beside = table("Values, by type", ("Type", "Values", "Not put back"), rows, last_is_sum=True)
    doubts = sum(run.tally.labels_without_value.values())
    warning = f"In {count_of(doubts, 'place')}, a label stands before something that could be its value, and nothing was masked."
    caption = "“Not put back” counts placeholders of that type in answers that stand for no value of their record."
    return Section("redaction", "Redaction", "What was redacted", [figure(drawn, beside, caption), tag("p", warning)])


def _commands(run: ReportedRun) -> Section:
    job_id, counts = run.manifest.job_id, run.tally.counts
    lines = [f"promptmill status {job_id}", f"promptmill results {job_id}"]
    if counts.stopped:
        lines.append(f"promptmill resume {job_id}")
    elif counts.failed > sum(count_of_codes(run.tally.failures, codes) for codes in (WRONG_LINES, REFUSED_BY_RECIPE)):
        lines.append(f"promptmill redrive {job_id}")
    return Section("commands", "Commands", "Commands", [tag("pre", tag("code", "\n".join(lines)))])


def _method(run: ReportedRun) -> Section:
    manifest = run.manifest
    lines: Sequence[Content] = (
        "Counts, tokens and dollars are the sums over the job's chunk results: those of summary.json and the ledger.",
        "Latencies are counted in steps of 2%, so that a median or a percentile is at most 1% off.",
        tag("span", "Recipe ", code(manifest.recipe.name), ", version ", code(manifest.recipe.version), "."),
        f"Prices of {manifest.versions.prices}; code {manifest.versions.code}.",
    )
    return Section(
        "method",
        "Method",
        "Where these figures come from",
        [tag("ul", (tag("li", one) for one in lines), class_="method")],
    )


def _largest(counts: dict[str, int], most: int) -> list[tuple[str, int]]:
    """Return the largest counts, and the sum of the others as one."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = ordered[most:]
    return [*ordered[:most], *([(f"{len(rest)} others", sum(n for _, n in rest))] if rest else [])]
