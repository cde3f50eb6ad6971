"""UTF-8 or cp1252, from all bytes and in any blocks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.formats.encoding import EncodingGuess
from tests.unit.formats.records import blocks_of, read_file

PIECES = [b"abc ", "ü".encode(), "日本".encode(), "😀".encode(), "ü".encode("cp1252"), b"\x81", "É»".encode("cp1252")]


def guess(data: bytes, block: int = 1 << 20) -> str:
    guessing = EncodingGuess()
    for part in blocks_of(data, block):
        guessing.feed(part)
    return guessing.finish()


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"plain", "utf-8"),
        ("größer".encode(), "utf-8"),
        ("größer".encode("cp1252"), "cp1252"),
        ("viele größere Töne".encode("cp1252") + "É»".encode("cp1252"), "cp1252"),
        ("viele größere Töne, ".encode() + b"\xff", "utf-8"),
        ("“curly” €".encode("cp1252"), "cp1252"),
        ("日本語のテキスト。".encode("shift-jis"), "utf-8"),
        (b"ends in half a character \xe6\x97", "cp1252"),
    ],
)
def test_the_encoding_is_what_most_bytes_say(data: bytes, encoding: str) -> None:
    assert guess(data) == encoding


@given(st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join), st.integers(1, 7))
@settings(max_examples=150, deadline=None)
def test_blocks_do_not_matter(data: bytes, block: int) -> None:
    assert guess(data, block) == guess(data)


@given(st.text(min_size=1))
@settings(max_examples=100, deadline=None)
def test_valid_utf8_is_utf8(text: str) -> None:
    assert guess(text.encode()) == "utf-8"


def test_a_byte_order_mark_settles_it() -> None:
    guessing = EncodingGuess(marked=True)
    guessing.feed("größer".encode("cp1252"))
    assert guessing.finish() == "utf-8"


def test_columns_of_cp1252_are_read_once_the_encoding_is_known() -> None:
    _, facts = read_file("Größe;Text\r\n1;schön\r\n".encode("cp1252"), "a.csv")
    assert (facts.encoding, facts.columns) == ("cp1252", ("Größe", "Text"))
    _, facts = read_file("Größe;Text\r\n1;schön\r\n".encode(), "a.csv")
    assert (facts.encoding, facts.columns) == ("utf-8", ("Größe", "Text"))


def test_a_wrong_byte_in_a_utf8_header_shows_as_such() -> None:
    _, facts = read_file("Größe,T".encode() + b"\xff" + "ext\r\n1,schöne Töne\r\n".encode(), "a.csv")
    assert (facts.encoding, facts.columns) == ("utf-8", ("Größe", "T\ufffdext"))
