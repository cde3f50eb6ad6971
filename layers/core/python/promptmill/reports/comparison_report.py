"""The report of a comparison: is B better than A, does it matter, and what does it cost?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from xml.etree.ElementTree import Element

from msgspec import Struct

from promptmill.comparisons.compare import Comparison, Quality, VariantFigures
from promptmill.comparisons.rates import Interval, Pairs
from promptmill.comparisons.verdict import Difference
from promptmill.reports.amounts import NOTHING, dollars, milliseconds, percent
from promptmill.reports.markup import Content, code, foreign, tag
from promptmill.reports.page import Fact, Page, Section, write_page
from promptmill.reports.pictures import Bar, Mark, Range, bars, figure, ranges
from promptmill.reports.tables import table

_A_RATE = 0.05
"""The step of an axis of rates."""


class ComparedJobs(Struct, frozen=True):
    """A comparison, with the names of what was compared.

    Attributes:
        names: of A and of B.
        jobs: their ids.
        margin: the difference of rates that matters, such as 0.03.
        asked: how answers were judged, in words; "" where there was no reference.
    """

    found: Comparison
    file: str
    names: tuple[str, str]
    jobs: tuple[str, str]
    margin: float
    asked: str

    @property
    def sides(self) -> tuple[tuple[str, VariantFigures, Literal["a", "b"]], ...]:
        return ((self.names[0], self.found.a, "a"), (self.names[1], self.found.b, "b"))


def comparison_report(compared: ComparedJobs) -> bytes:
    """Return the report as an HTML document."""
    found, (a, b) = compared.found, compared.names
    lead = tag("span", code(b), " beside ", code(a), " on the ", f"{found.n:,} records of ", code(compared.file), ".")
    return write_page(
        Page(
            kind="Comparison",
            title=foreign(found.verdict.sentence if found.verdict else _agreement(found)),
            lead=lead,
            meta=tag("span", "A is job ", code(compared.jobs[0]), ", B is job ", code(compared.jobs[1])),
            glance=(
                ("What happened", list(_what_happened(compared))),
                ("What is true now", list(_what_is_true(compared))),
                ("What to do next", list(_what_to_do(compared))),
            ),
            facts=_facts(compared),
            sections=list(_sections(compared)),
            footer="Promptmill. Made by promptmill compare from the results and attempts of both jobs.",
        )
    )


def _agreement(found: Comparison) -> str:
    share = percent(found.same, found.both_answered)
    return f"{found.same:,} of {found.both_answered:,} answers are the same ({share})"


def _what_happened(compared: ComparedJobs) -> Iterator[Content]:
    for name, figures, _ in compared.sides:
        failed = sum(figures.failures.values())
        yield tag("span", code(name), f" answered {figures.answered:,} of {compared.found.n:,}; {failed:,} failed.")
    if compared.found.both_answered:
        yield f"{_agreement(compared.found)}."


def _what_is_true(compared: ComparedJobs) -> Iterator[Content]:
    found = compared.found
    if found.pairs:
        yield f"Both are right on {found.pairs.both:,} records, and both wrong on {found.pairs.neither:,}."
    if found.cost_ratio:
        ratio, interval = found.cost_ratio
        yield tag(
            "span",
            code(compared.names[1]),
            f" costs {ratio:.2f} times as much ({interval.low:.2f} to {interval.high:.2f}).",
        )
    if unpriced := max(found.a.unpriced, found.b.unpriced):
        yield f"The cost of up to {unpriced:,} records is unknown or was paid in an earlier run, and is left out."
    if found.groups:
        yield f"The records come in {found.groups:,} groups, which the interval and p allow for."


def _what_to_do(compared: ComparedJobs) -> Iterator[Content]:
    verdict = compared.found.verdict
    if verdict is None:
        yield "Name the column that holds the right answer (--reference) to see which one is better."
    elif verdict.kind == "not_shown":
        yield "Run more records before you decide: the first line says how many would do."
    elif verdict.kind == "equal":
        yield "Take the cheaper or the faster one: what they get right differs by less than what matters to you."
    else:
        yield "Weigh the difference against the cost of 1,000 answers below."
    if any(figures.confusions for _, figures, _ in compared.sides):
        yield "Read what each gets wrong more than once: a prompt may mend it."


def _facts(compared: ComparedJobs) -> list[Fact]:
    found = compared.found
    facts = [Fact("Records", f"{found.n:,}", f"{found.both_answered:,} answered by both")]
    if found.difference:
        facts.append(
            Fact("Difference, B less A", _points(found.difference.value), _interval_text(found.difference.interval))
        )
    else:
        facts.append(Fact("Same answers", percent(found.same, found.both_answered), f"of {found.both_answered:,}"))
    if found.cost_ratio:
        ratio, interval = found.cost_ratio
        facts.append(Fact("Cost, B for $1 of A", f"${ratio:.2f}", f"{interval.low:.2f} to {interval.high:.2f}"))
    if found.a.p50_ms and found.b.p50_ms:
        a_ms, b_ms = found.a.p50_ms[0], found.b.p50_ms[0]
        facts.append(Fact("Median latency of B", milliseconds(b_ms), f"A: {milliseconds(a_ms)}"))
    return facts


def _sections(compared: ComparedJobs) -> Iterator[Section]:
    found = compared.found
    if found.difference and found.pairs and found.a.quality and found.b.quality:
        yield _quality(compared, found.difference, found.pairs, (found.a.quality, found.b.quality))
    if any(figures.confusions for _, figures, _ in compared.sides):
        yield _confusions(compared)
    yield _cost(compared)
    if found.a.p50_ms or found.b.p50_ms:
        yield _latency(compared)
    if found.a.failures or found.b.failures:
        yield _failures(compared)


def _quality(compared: ComparedJobs, found: Difference, pairs: Pairs, rates: tuple[Quality, Quality]) -> Section:
    caption = f"{compared.asked} A record that failed counts as wrong. Overlapping intervals of two rates prove nothing: the difference is of the same records."
    parts: list[Content] = [
        tag("h3", "The difference, B less A"),
        _difference_figure(compared, found, pairs),
        tag("h3", "Each by itself"),
        _rates_figure(compared, rates, caption),
    ]
    return Section("quality", "Quality", "Is one of them right more often?", parts)


def _difference_figure(compared: ComparedJobs, found: Difference, pairs: Pairs) -> Element:
    interval, margin = found.interval, compared.margin
    ends = [found.value, margin, -margin, *([interval.low, interval.high] if interval else [])]
    low, high = _rounded_out(min(ends), max(ends))
    row = Range(
        "B less A",
        found.value,
        interval.low if interval else None,
        interval.high if interval else None,
        f"{_points(found.value)} ({_interval_text(interval)})",
        "b",
    )
    ticks = [Mark(value, _points(value)) for value in (low, 0.0, high)]
    drawn = ranges("Difference of the rates", [row], axis=(low, high), ticks=ticks, zero=True, band=(-margin, margin))
    rows = [
        ["Both right", f"{pairs.both:,}"],
        ["Only A right", f"{pairs.only_a:,}"],
        ["Only B right", f"{pairs.only_b:,}"],
        ["Both wrong", f"{pairs.neither:,}"],
        ["All", f"{pairs.n:,}"],
    ]
    beside = table("Who was right", ("", "Records"), rows, last_is_sum=True)
    p = "is not known" if found.p is None else ("< 0.001" if found.p < 0.001 else f"= {found.p:.3f}")  # noqa: PLR2004
    caption = f"The band is the margin that matters, {100 * margin:.1f} points. 95% interval; p {p}; n = {pairs.n:,}."
    return figure(drawn, beside, caption)


def _rates_figure(compared: ComparedJobs, rates: tuple[Quality, Quality], caption: str) -> Element:
    intervals = [rate.interval for rate in rates]
    low, high = _rounded_out(min(i.low for i in intervals), max(i.high for i in intervals))
    low, high = max(0.0, low), min(1.0, high)
    drawn = ranges(
        "Share of right answers",
        [
            Range(name, rate.rate, rate.interval.low, rate.interval.high, percent(rate.right, rate.n), tone)
            for (name, _, tone), rate in zip(compared.sides, rates, strict=True)
        ],
        axis=(low, high),
        ticks=[Mark(value, f"{value:.0%}") for value in (low, (low + high) / 2, high)],
    )
    rows: list[list[Content]] = [
        [code(name), f"{rate.right:,}", f"{rate.n:,}", _rate_interval(rate.interval)]
        for (name, _, _), rate in zip(compared.sides, rates, strict=True)
    ]
    return figure(drawn, table("Right answers", ("", "Right", "Of", "95% interval"), rows), caption)


def _rounded_out(low: float, high: float) -> tuple[float, float]:
    """Return an axis that holds both ends with a little room."""
    room = max(0.01, (high - low) / 10)
    return (low - room) // (_A_RATE / 5) * (_A_RATE / 5), -((-(high + room)) // (_A_RATE / 5)) * (_A_RATE / 5)


def _confusions(compared: ComparedJobs) -> Section:
    rows: list[list[Content]] = [
        [code(name), foreign(one.reference), foreign(one.answer), f"{one.records:,}"]
        for name, figures, _ in compared.sides
        for one in figures.confusions
    ]
    parts = [table("What came more than once", ("", "Should be", "Was", "Records"), rows, text={1, 2})]
    return Section("wrong", "What is wrong", "In which way do they go wrong?", parts)


def _cost(compared: ComparedJobs) -> Section:
    known = [(name, figures.nano_usd_per_1000, tone) for name, figures, tone in compared.sides]
    drawn = bars(
        "Cost of 1,000 answers",
        [Bar(name, nano or 0, NOTHING if nano is None else dollars(nano), tone) for name, nano, tone in known],
    )
    rows: list[list[Content]] = [
        [code(name), dollars(figures.nano_usd), _or_nothing(figures.nano_usd_per_1000)]
        for name, figures, _ in compared.sides
    ]
    beside = table("US dollars", ("", "All", "For 1,000 answers"), rows)
    caption = "Calls that failed are paid for by the answers. Nothing is said where the cost of a record is unknown."
    return Section("cost", "Cost", "What does it cost?", [figure(drawn, beside, caption)])


def _or_nothing(nano: int | None) -> str:
    return NOTHING if nano is None else dollars(nano)


def _latency(compared: ComparedJobs) -> Section:
    rows: list[list[Content]] = [
        [code(name), _latency_text(figures.p50_ms), _latency_text(figures.p95_ms)]
        for name, figures, _ in compared.sides
    ]
    found = [
        Range(
            f"{name}, {which}",
            value[0],
            value[1].low if value[1] else None,
            value[1].high if value[1] else None,
            milliseconds(value[0]),
            tone,
        )
        for name, figures, tone in compared.sides
        for which, value in (("median", figures.p50_ms), ("p95", figures.p95_ms))
        if value
    ]
    top = max(one.high or one.value for one in found) * 1.05 or 1
    ticks = [Mark(share * top, milliseconds(share * top)) for share in (0, 0.5, 1)]
    drawn = ranges("Latency of answers", found, axis=(0, top), ticks=ticks)
    beside = table("Latency, with 95% intervals", ("", "Median", "p95"), rows)
    caption = "Intervals are of order statistics; there is none where there are too few answers for one."
    return Section("latency", "Latency", "How long does an answer take?", [figure(drawn, beside, caption)])


def _latency_text(found: tuple[float, Interval | None] | None) -> str:
    if found is None:
        return NOTHING
    value, interval = found
    within = f" ({milliseconds(interval.low)} to {milliseconds(interval.high)})" if interval else ""
    return milliseconds(value) + within


def _failures(compared: ComparedJobs) -> Section:
    codes = dict.fromkeys((*compared.found.a.failures, *compared.found.b.failures))
    rows: list[list[Content]] = [
        [code(name), *(f"{figures.failures.get(name, 0):,}" for _, figures, _ in compared.sides)] for name in codes
    ]
    parts = [table("Records without an answer", ("Code", *("A", "B")), rows)]
    return Section("failures", "Failures", "What failed", parts)


def _points(rate: float) -> str:
    sign = "" if round(rate, 3) == 0 else ("+" if rate > 0 else "\N{MINUS SIGN}")
    return f"{sign}{abs(100 * rate):.1f} points"


def _interval_text(interval: Interval | None) -> str:
    return f"{_points(interval.low)} to {_points(interval.high)}" if interval else "no interval"


def _rate_interval(interval: Interval) -> str:
    return f"{interval.low:.1%} to {interval.high:.1%}"
