"""Draw a CloudWatch dashboard from its body, as a picture to look at: ``python -m tests.infra.draw_dashboard OUT.svg``.

The command draws the dashboard of the stage dev with a made-up day.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from msgspec import Struct

COLUMN, ROW, LEFT, TOP, BOTTOM = 56, 44, 46, 30, 60
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#7f7f7f", "#bcbd22")
Points = Sequence[tuple[float, float]]


class Series(Struct, frozen=True):
    """One line of a graph: what CloudWatch is asked for, and how it is called."""

    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str
    label: str


Feed = Callable[[Series], Points]
"""Returns what a metric was, as (minutes, value)."""


def series_of(widget: Mapping[str, Any]) -> Iterator[Series]:
    for namespace, metric, *rest in widget["properties"]["metrics"]:
        options = rest.pop() if rest and isinstance(rest[-1], dict) else {}
        pairs = tuple(zip(rest[::2], rest[1::2], strict=True))
        yield Series(namespace, metric, pairs, options.get("stat", "Average"), options.get("label", metric))


def draw(body: Mapping[str, Any], feed: Feed, *, title: str) -> str:
    """Return the picture as SVG."""
    widgets = body["widgets"]
    width = max(w["x"] + w["width"] for w in widgets) * COLUMN
    height = max(w["y"] + w["height"] for w in widgets) * ROW + TOP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#f4f5f7"/>',
        f'<text x="12" y="20" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for widget in widgets:
        x, y = widget["x"] * COLUMN, widget["y"] * ROW + TOP
        parts.append(f'<g transform="translate({x + 4},{y + 4})">{"".join(_graph(widget, feed))}</g>')
    return "\n".join((*parts, "</svg>\n"))


def _graph(widget: Mapping[str, Any], feed: Feed) -> Iterator[str]:
    width, height = widget["width"] * COLUMN - 8, widget["height"] * ROW - 8
    lines = [(series.label, list(feed(series))) for series in series_of(widget)]
    marks = widget["properties"].get("annotations", {}).get("horizontal", [])
    values = [v for _, points in lines for _, v in points] + [float(m["value"]) for m in marks]
    times = [t for _, points in lines for t, _ in points] or [0.0]
    top, first, last = _round_up(max(values, default=1.0)), min(times), max(*times, min(times) + 1)
    plot_w, plot_h = width - LEFT - 10, height - TOP - BOTTOM

    def place(t: float, v: float) -> str:
        return f"{LEFT + (t - first) / (last - first) * plot_w:.1f},{TOP + plot_h - v / top * plot_h:.1f}"

    yield f'<rect width="{width}" height="{height}" fill="#fff" stroke="#ccd"/>'
    yield f'<text x="10" y="19" font-weight="bold">{escape(widget["properties"]["title"])}</text>'
    for part in (0, 0.5, 1):
        x, _, y = place(first, top * part).partition(",")
        yield f'<path d="M{x},{y}h{plot_w}" stroke="#e2e4ea"/><text x="{LEFT - 5}" y="{float(y) + 4}" text-anchor="end">{top * part:g}</text>'
    for mark in marks:
        _, _, y = place(first, float(mark["value"])).partition(",")
        yield f'<path d="M{LEFT},{y}h{plot_w}" stroke="#c00" stroke-dasharray="5 4"/>'
        yield f'<text x="{LEFT + plot_w}" y="{float(y) - 4}" text-anchor="end" fill="#c00">{escape(mark["label"])}</text>'
    for number, (label, points) in enumerate(lines):
        yield from _line(number, label, [place(*point) for point in points], height)


def _line(number: int, label: str, places: Sequence[str], height: int) -> Iterator[str]:
    colour = COLOURS[number % len(COLOURS)]
    if len(places) > 1:
        yield f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="2"/>'
    yield from (
        f'<circle cx="{p.partition(",")[0]}" cy="{p.partition(",")[2]}" r="2.2" fill="{colour}"/>' for p in places
    )
    x, y = 12 + number % 3 * 145, height - BOTTOM + 18 + number // 3 * 13
    shown = label if places else f"{label} (none)"
    yield f'<rect x="{x}" y="{y - 8}" width="9" height="9" fill="{colour}"/><text x="{x + 13}" y="{y}" font-size="10">{escape(shown)}</text>'


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in (1, 2, 5, 10) if value <= step * size * (1 + 1e-9))


def made_up_day(series: Series) -> Points:
    """Return a day in which a provider was down from 11:00 to 12:00, made up but the same each time."""
    seed = sum(map(ord, repr(series)))
    bumps = [max(0.0, math.sin((m + seed) / 97)) * (1 + seed % 7) for m in range(0, 1440, 30)]
    minutes = range(0, 1440, 30)
    if series.metric == "SpentUsd":
        return [(m, 0.0068 * m) for m in minutes]
    if series.metric in ("CircuitsOpen", "UnknownCosts") or "Failed" in series.metric or "Throttles" in series.metric:
        return [(m, float(660 <= m < 720) * (1 + seed % 3)) for m in minutes]
    if series.metric == "QuietMinutes":
        return [(m, max(0.0, min(m, 760) - 660) * 0.5 if 660 <= m < 760 else 2.0) for m in minutes]
    scale = {"Duration": 9_000, "RecordsAnswered": 4_000, "ApproximateAgeOfOldestMessage": 120}.get(series.metric, 3)
    return [(m, bump * scale) for m, bump in zip(minutes, bumps, strict=True)]


def main() -> None:
    import infra  # noqa: F401, PLC0415  names the Node.js to use, before the CDK starts one
    from tests.infra.templates import dashboard_body, synthesise  # noqa: PLC0415  starts the CDK

    with tempfile.TemporaryDirectory() as folder:
        body = dashboard_body(synthesise("dev", Path(folder)))
    Path(sys.argv[1]).write_text(draw(body, made_up_day, title="promptmill-dev, a made-up day"))
    sys.stdout.write(json.dumps({"graphs": len(body["widgets"])}) + "\n")


if __name__ == "__main__":
    main()
