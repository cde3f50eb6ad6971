from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.detectors.texts import cut_into_pieces, replace_unsearchable

ANY = st.text(st.characters(codec=None))


@given(ANY)
def test_every_character_stays_where_it_is(text: str) -> None:
    shown = replace_unsearchable(text)
    assert len(shown) == len(text) == len(shown.encode("utf-16-le")) // 2
    assert all(new == old for new, old in zip(shown, text, strict=True) if " " <= old < "\x7f" or old in "\t\r\n")


@pytest.mark.parametrize(
    ("text", "shown"), [("Ｊｏｈｎ 𝐀nn", "John Ann"), ("a\x00b\x85", "a b "), ("\ud800é你👋", "\ufffdé你\ufffd")]
)
def test_what_is_shown_instead(text: str, shown: str) -> None:
    assert replace_unsearchable(text) == shown


@given(st.text("ab .\n", max_size=300), st.integers(20, 60))
def test_pieces_cover_the_text_and_overlap(text: str, most: int) -> None:
    overlap = most // 4
    cut = list(cut_into_pieces(text, most=most, overlap=overlap))
    assert all(len(piece) <= most and text[at : at + len(piece)] == piece for at, piece in cut)
    ends = [at + len(piece) for at, piece in cut]
    assert cut[0][0] == 0
    assert ends[-1] == len(text)
    assert all(at == end - overlap for (at, _), end in zip(cut[1:], ends[:-1], strict=True))


def test_pieces_end_at_lines_sentences_or_words() -> None:
    text = "one two. three four\nfive six. seven eight nine ten"
    found = [piece for _, piece in cut_into_pieces(text, most=20, overlap=4)]
    assert found == ["one two. three four\n", "our\nfive six. ", "ix. seven eight ", "ght nine ten"]
