"""How long answers took: a picture on a logarithmic axis, and a table by route."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from xml.etree.ElementTree import Element

from promptmill.reports.amounts import NOTHING, milliseconds
from promptmill.reports.markup import Content, code
from promptmill.reports.page import Section
from promptmill.reports.pictures import Mark, columns, figure
from promptmill.reports.run_figures import Latencies, middle_of
from promptmill.reports.tables import table

_A_DECADE = 10
_PERCENTILES = ((0.5, "median"), (0.95, "p95"), (0.99, "p99"))
_ROUGH_BELOW = 100
"""Answers below which a p99 is only the longest."""


def latency_section(latencies: dict[str, Latencies]) -> Section:
    """Return the section about the latencies of answers, by route."""
    whole = Latencies()
    for one in latencies.values():
        whole = whole.plus(one)
    rows = [[code(route), *_cells(found)] for route, found in sorted(latencies.items())]
    if len(rows) > 1:
        rows.append(["All", *_cells(whole)])
    names = ("Route", "Answers", *(name for _, name in _PERCENTILES))
    beside = table("Latency of answers", names, rows, last_is_sum=len(rows) > 1)
    caption = (
        "The axis is logarithmic, with ten columns to a decade. Time is from the first byte sent to the last read."
    )
    return Section("latency", "Latency", "How long an answer took", [figure(_picture(whole), beside, caption)])


def _cells(found: Latencies) -> list[Content]:
    return [f"{found.n:,}", *(_percentile(found, share) for share, _ in _PERCENTILES)]


def _percentile(found: Latencies, share: float) -> str:
    value = found.percentile_ms(share)
    if value is None or (share == _PERCENTILES[-1][0] and found.n < _ROUGH_BELOW):
        return NOTHING
    return milliseconds(value)


def _picture(whole: Latencies) -> Element:
    coarse = Counter[int]()
    for number, count in whole.bins:
        coarse[math.floor(math.log10(middle_of(number)) * _A_DECADE)] += count
    first, last = min(coarse), max(coarse) + 1
    if last - first < _A_DECADE // 2:
        first, last = first - 2, last + 2
    values = [coarse[n] for n in range(first, last)]

    def place(ms: float) -> float:
        return min(1.0, max(0.0, (math.log10(ms) * _A_DECADE - first) / (last - first)))

    marks = [
        Mark(place(value), f"{name} {milliseconds(value)}")
        for share, name in _PERCENTILES
        if (value := whole.percentile_ms(share)) and (whole.n >= _ROUGH_BELOW or share < _PERCENTILES[-1][0])
    ]
    said = "; ".join(mark.text for mark in marks)
    return columns("Latency of answers", said, values, ticks=_ticks(first, last, place), marks=marks)


def _ticks(first: int, last: int, place: Callable[[float], float]) -> list[Mark]:
    """Return a tick at each power of ten within the picture, or its two ends where none is."""
    powers = [n for n in range(first, last + 1) if n % _A_DECADE == 0]
    return [Mark(place(10 ** (n / _A_DECADE)), milliseconds(10 ** (n / _A_DECADE))) for n in powers or (first, last)]
