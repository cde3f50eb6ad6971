"""Tables of a report: each says in text what the picture beside it draws."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from xml.etree.ElementTree import Element

from promptmill.reports.markup import Content, tag


def table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Content]],
    *,
    text: Collection[int] = (),
    last_is_sum: bool = False,
    wide: bool = False,
) -> Element:
    """Return a table whose first column names the rows, and whose others hold numbers, but for those in ``text``."""
    head = tag("tr", (_head_cell(name, place, text) for place, name in enumerate(columns)))
    body = [
        tag("tr", (_cell(one, place, text) for place, one in enumerate(row)), class_="sum" if is_sum else None)
        for row in rows
        for is_sum in [last_is_sum and row is rows[-1]]
    ]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body))
    # Whoever has no mouse scrolls a wide table by the keys, for which it must be reachable.
    label = f"Table: {caption}"
    return tag("div", whole, class_="scroll wide" if wide else "scroll", tabindex=0, role="region", aria_label=label)


def _head_cell(name: str, place: int, text: Collection[int]) -> Element:
    if not name:
        return tag("td")
    return tag("th", name, scope="col", class_="right" if place and place not in text else None)


def _cell(content: Content, place: int, text: Collection[int]) -> Element:
    if place == 0:
        return tag("th", content, scope="row")
    return tag("td", content, class_="free" if place in text else "right")
