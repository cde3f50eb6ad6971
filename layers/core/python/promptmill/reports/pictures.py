"""Pictures of a report, in SVG without a script.

Widths are in per cent and heights in pixels, so that text keeps its size on a phone. Each picture has its finding as its
title and description, and a table beside it says the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal
from xml.etree.ElementTree import Element

from msgspec import Struct

from promptmill.reports.markup import shorten, tag

Tone = Literal["a", "b", "other"]

_ROW, _BAR_AT, _BAR_HIGH = 40, 20, 10
_LABEL, _CLOSE = 60, 0.25


class Bar(Struct, frozen=True):
    """One bar: its length is ``value``, and ``text`` is the value as people read it."""

    label: str
    value: float
    text: str
    tone: Tone = "a"


class Mark(Struct, frozen=True):
    """A named place on an axis."""

    at: float
    text: str


class Range(Struct, frozen=True):
    """A value with its interval. ``low`` and ``high`` are None where there is none."""

    label: str
    value: float
    low: float | None
    high: float | None
    text: str
    tone: Tone = "a"


def picture(title: str, description: str, height: int, parts: Sequence[Element]) -> Element:
    """Return a drawing that says in words what it shows."""
    words = (tag("title", title), tag("desc", description))
    return tag("svg", words, parts, height=height, role="img", aria_label=f"{title}. {description}")


def figure(drawing: Element, table: Element, caption: str) -> Element:
    """Return a drawing with its table and the sentence that says what was counted."""
    return tag("figure", drawing, table, tag("figcaption", caption))


def bars(title: str, rows: Sequence[Bar]) -> Element:
    """Draw bars that begin at 0, one below the other."""
    longest = max((row.value for row in rows), default=0) or 1
    parts = [part for n, row in enumerate(rows) for part in _bar(row, n * _ROW, longest)]
    said = "; ".join(f"{row.label}: {row.text}" for row in rows)
    return picture(title, said, len(rows) * _ROW - 6, parts)


def _bar(row: Bar, top: int, longest: float) -> list[Element]:
    y = top + _BAR_AT
    return [
        *_labels(row.label, row.text, top),
        tag("rect", class_="track", x=0, y=y, width="100%", height=_BAR_HIGH),
        tag("rect", class_=row.tone, x=0, y=y, width=_percent(row.value / longest), height=_BAR_HIGH),
    ]


def _labels(label: str, text: str, top: int) -> list[Element]:
    name = tag("text", shorten(label, _LABEL), x=0, y=top + 14)
    return [name, tag("text", text, class_="value", x="100%", y=top + 14, text_anchor="end")]


def columns(
    title: str,
    description: str,
    values: Sequence[int],
    *,
    ticks: Sequence[Mark],
    marks: Sequence[Mark] = (),
    tone: Tone = "a",
) -> Element:
    """Draw columns side by side, and the height of the tallest as a number.

    ``ticks`` and ``marks`` are at places between 0, the left end, and 1, the right end. Marks stand above the columns, each with a line down to the axis.
    """
    top, high = 20 + 15 * min(3, len(marks)), 150
    floor, tallest, width = top + high, max(values, default=0) or 1, 1 / max(1, len(values))
    parts = [
        tag("line", class_="grid", x1=0, x2="100%", y1=top, y2=top),
        tag("text", f"{tallest:,}", class_="tick", x=0, y=top - 4),
        tag("line", class_="axis", x1=0, x2="100%", y1=floor, y2=floor),
    ]
    for n, value in enumerate(values):
        tall = max(1.0, high * value / tallest) if value else 0
        if tall:
            where = {"x": _percent((n + 0.06) * width), "width": _percent(0.88 * width)}
            parts.append(tag("rect", class_=tone, y=f"{floor - tall:.1f}", height=f"{tall:.1f}", **where))
    parts += [part for n, mark in enumerate(marks) for part in _mark(mark, 14 + 15 * (n % 3), floor)]
    parts += [_tick(tick, floor + 18) for tick in ticks]
    return picture(title, description, floor + 24, parts)


def _mark(mark: Mark, y: int, floor: int) -> list[Element]:
    at = _percent(mark.at)
    line = tag("line", class_="mark", x1=at, x2=at, y1=y + 5, y2=floor)
    return [line, tag("text", mark.text, class_="value", x=at, y=y, text_anchor=_anchor(mark.at))]


def _tick(tick: Mark, y: int) -> Element:
    return tag("text", tick.text, class_="tick", x=_percent(tick.at), y=y, text_anchor=_anchor(tick.at))


def _apart(ticks: Sequence[Mark]) -> list[Mark]:
    """Leave out ticks whose texts would touch another: the two ends always stay."""
    first, *middle, last = ticks
    return [first, *(tick for tick in middle if min(tick.at - first.at, last.at - tick.at) > _CLOSE), last]


def _anchor(at: float) -> str:
    """Return how a text hangs on its place, so that none leaves the picture."""
    if at < 0.1:  # noqa: PLR2004
        return "start"
    return "end" if at > 0.9 else "middle"  # noqa: PLR2004


def ranges(
    title: str,
    rows: Sequence[Range],
    *,
    axis: tuple[float, float],
    ticks: Sequence[Mark],
    zero: bool = False,
    band: tuple[float, float] | None = None,
) -> Element:
    """Draw values with their intervals on one axis, and below it the ``band`` that does not matter."""
    low, high = axis
    floor = len(rows) * _ROW + 2

    def place(value: float) -> float:
        return min(1.0, max(0.0, (value - low) / (high - low)))

    parts = []
    if band:
        left, right = map(place, band)
        where = {"x": _percent(left), "width": _percent(right - left)}
        parts.append(tag("rect", class_="band", y=0, height=floor, **where))
    for tick in ticks:
        at = _percent(place(tick.at))
        parts.append(tag("line", class_="grid", x1=at, x2=at, y1=0, y2=floor))
    if zero:
        at = _percent(place(0))
        parts.append(tag("line", class_="zero", x1=at, x2=at, y1=0, y2=floor))
    parts.append(tag("line", class_="axis", x1=0, x2="100%", y1=floor, y2=floor))
    parts += [part for n, row in enumerate(rows) for part in _range(row, n * _ROW, place)]
    parts += [_tick(mark, floor + 18) for mark in _apart([Mark(place(tick.at), tick.text) for tick in ticks])]
    said = "; ".join(f"{row.label}: {row.text}" for row in rows)
    return picture(title, said, floor + 24, parts)


def _range(row: Range, top: int, place: Callable[[float], float]) -> list[Element]:
    y, drawn = top + 27, _labels(row.label, row.text, top)
    if row.low is not None and row.high is not None:
        left, right = _percent(place(row.low)), _percent(place(row.high))
        drawn.append(tag("line", class_=f"line {row.tone}", x1=left, x2=right, y1=y, y2=y))
        drawn += [tag("line", class_=f"line {row.tone}", x1=at, x2=at, y1=y - 6, y2=y + 6) for at in (left, right)]
    at = _percent(place(row.value))
    if row.tone == "b":
        diamond = tag("path", class_=f"{row.tone} point", d="M0 -7 L7 0 L0 7 L-7 0 Z")
        drawn.append(tag("svg", diamond, x=at, y=y, overflow="visible", width=1, height=1))
    else:
        drawn.append(tag("circle", class_=f"{row.tone} point", cx=at, cy=y, r=6))
    return drawn


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
