"""UTF-8 or cp1252, from all bytes and in any blocks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.domain.errors import RejectedFileError
from promptmill.formats.encoding import EncodingGuess
from tests.unit.formats.records import blocks_of, read_file

UNSURE = [
    "Très bien, élégant et à conseiller.\n".encode("mac-roman"),
    "Très bien, élégant\n".encode("cp437") * 5,
    "Bardzo dobry produkt, żółw ślimak gęś źdźbło. Świetna jakość!\n".encode("cp1250") * 5,
    "Çok güzel bir ürün, şiddetle tavsiye ediyorum.\n".encode("cp1254") * 5,
]
PIECES = [b"abc ", "ü".encode(), "日本".encode(), "😀".encode(), "ü".encode("cp1252"), b"\x81", "É»".encode("cp1252")]


def guess(data: bytes, block: int = 1 << 20) -> str:
    guessing = EncodingGuess()
    for part in blocks_of(data, block):
        guessing.feed(part)
    try:
        return guessing.finish()
    except RejectedFileError as error:
        return error.code


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"plain", "utf-8"),
        ("größer".encode(), "utf-8"),
        ("größer".encode("cp1252"), "cp1252"),
        ("viele größere Töne".encode("cp1252") + "É»".encode("cp1252"), "cp1252"),
        ("viele größere Töne, ".encode() + b"\xff", "utf-8"),
        ("“curly” €".encode("cp1252"), "cp1252"),
        ("El niño ¿qué? ¡Sí! “Preis 5 €” – ÅÄÖ, naïve".encode("cp1252"), "cp1252"),
        ("这个产品非常好用，我很喜欢它的设计。\n".encode("gbk") * 5, "gb18030"),
        ("この製品はとても良いです。バッテリーも長持ちします。\n".encode("shift-jis") * 5, "cp932"),
        ("Отличный товар, очень доволен покупкой. Батарея держится долго.\n".encode("cp1251") * 5, "cp1251"),
        (b"ends in half a character \xe6\x97", "cp1252"),
    ],
)
def test_the_encoding_is_what_most_bytes_say(data: bytes, encoding: str) -> None:
    assert guess(data) == encoding


@pytest.mark.parametrize("data", UNSURE)
def test_what_is_not_sure_is_rejected_rather_than_sent_as_garbage(data: bytes) -> None:
    assert guess(b"id,text\n" + data) == "unknown_encoding"


def test_the_remedy_of_an_unknown_encoding_mends_it() -> None:
    saved = "Bardzo dobry produkt, żółw ślimak gęś źdźbło. Świetna jakość!\n".encode("cp1250") * 5
    assert guess(saved) == "unknown_encoding"
    assert guess(saved.decode("cp1250").encode()) == "utf-8"


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
