"""Whatever a text holds, a page shows it as text."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.reports.markup import clean, foreign, shorten, tag, write_document

ATTACKS = (
    "<script>alert(1)</script>",
    "</bdi></p><img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    "' style='position:fixed",
    "<!--",
    "]]>",
    "&lt;b&gt;",
    "</style><style>*{display:none}",
)


class Reader(HTMLParser):
    """What a parser by somebody else sees: elements, attributes and texts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(root: Element) -> Reader:
    reader = Reader()
    reader.feed(write_document(root).decode())
    reader.close()
    return reader


@given(st.text() | st.sampled_from(ATTACKS))
def test_a_text_never_becomes_an_element(text: str) -> None:
    found = read(tag("p", "before ", tag("b", text, title=text), text))
    assert [name for name, _ in found.elements] == ["p", "b"]
    assert found.elements[1][1] == {"title": clean(text)}
    assert found.text.rstrip("\n") == f"\nbefore {clean(text)}{clean(text)}".rstrip("\n")


@given(st.text(st.characters(codec=None), max_size=40))
def test_what_is_written_is_utf_8(text: str) -> None:
    assert write_document(tag("p", text)).decode("utf-8").endswith("</p>\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("gnp\u202eexe", "gnpU+202Eexe"),
        ("a\u200bb\ufeff", "aU+200BbU+FEFF"),
        ("nul\0 esc\x1b lone\ud800", "nul\ufffd esc\ufffd lone\ufffd"),
        ("tab\tline\n", "tab\tline\n"),
        ("e" + "\u0301" * 30, "e" + "\u0301" * 8),
        ("日本語 العربية", "日本語 العربية"),
    ],
)
def test_characters_that_deceive_are_written_out(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert shorten("x" * 300) == "x" * 300
    assert shorten("x" * 12_645) == "x" * 300 + "… 12,345 more"
    assert shorten("a" * 299 + "e\u0301" + "b" * 10) == "a" * 299 + "e\u0301… 10 more"
    assert read(foreign("y" * 1_000)).text.strip() == "y" * 300 + "… 700 more"
