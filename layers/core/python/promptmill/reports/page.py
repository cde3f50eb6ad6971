"""The page that every report is written on: one file that opens from S3 or disk and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from xml.etree.ElementTree import Element

from msgspec import Struct

from promptmill.reports.markup import Content, tag, write_document

CONTENT_TYPE = "text/html; charset=utf-8"


class Fact(Struct, frozen=True):
    """A figure that stands large at the top, with what it is of in small."""

    name: str
    number: str
    small: str = ""


class Section(Struct, frozen=True):
    """A part of the report. ``anchor`` is its name in the page's address; ``short`` is its name in the list of parts."""

    anchor: str
    short: str
    title: str
    content: Sequence[Content]


class Page(Struct, frozen=True):
    """A report.

    Attributes:
        kind: such as ``Job report``.
        title: what was found, in a sentence.
        lead: what it was found about.
        glance: three headings, each with its sentences: what happened, what is true now, what to do next.
        footer: what made it, and what lies beside it.
    """

    kind: str
    title: Content
    lead: Content
    meta: Content
    glance: Sequence[tuple[str, Sequence[Content]]]
    facts: Sequence[Fact]
    sections: Sequence[Section]
    footer: Content


def write_page(page: Page) -> bytes:
    """Return the page as an HTML document in UTF-8."""
    body = tag(
        "body",
        tag("a", "Skip to the report", class_="skip", href="#report"),
        _header(page),
        tag(
            "main",
            tag("div", (_glance(name, lines) for name, lines in page.glance), class_="glance"),
            tag("dl", map(_fact, page.facts), class_="facts"),
            map(_section, page.sections),
            id="report",
            tabindex=-1,
        ),
        tag("footer", tag("p", page.footer)),
    )
    return write_document(tag("html", _head(page.kind), body, lang="en"))


def _head(kind: str) -> Element:
    """Return the head, which begins with the policy: no script runs, and nothing is loaded from anywhere."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="robots", content="noindex"),
        tag("title", f"{kind} by Promptmill"),
        _style_element(style),
    )


def _style_element(style: str) -> Element:
    # The hash in the policy is of these very characters, which tag() could change.
    element = Element("style")
    element.text = style
    return element


@cache
def _style() -> str:
    return files("promptmill.reports").joinpath("page.css").read_text(encoding="utf-8")


def _header(page: Page) -> Element:
    links = [tag("li", tag("a", part.short, href=f"#{part.anchor}")) for part in page.sections]
    return tag(
        "header",
        tag("p", page.kind, class_="kind"),
        tag("h1", page.title),
        tag("p", page.lead, class_="lead"),
        tag("p", page.meta, class_="meta"),
        tag("nav", tag("ul", links), aria_label="On this page"),
    )


def _glance(name: str, lines: Sequence[Content]) -> Element:
    return tag("div", tag("h2", name), tag("ul", (tag("li", line) for line in lines)))


def _fact(fact: Fact) -> Element:
    number = tag("span", fact.number, class_="number")
    small = [tag("br"), tag("span", fact.small, class_="small")] if fact.small else []
    return tag("div", tag("dt", fact.name), tag("dd", number, small))


def _section(part: Section) -> Element:
    return tag("section", tag("h2", part.title), part.content, id=part.anchor)
