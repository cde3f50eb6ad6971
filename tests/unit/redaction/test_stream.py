"""Answers that come in pieces."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.domain.redaction.placeholders import restored, slots
from promptmill.domain.redaction.stream import StreamRestorer

VALUES = {"<EMAIL_1>": "alice@example.com", "<EMAIL_10>": "ten@example.com", "<PHONE_1>": "555-0100"}
PARTS = st.lists(
    st.sampled_from([*VALUES, "Dear ", ", ", "\n", "call ", "1 < 2. ", "**", "<b>", "é "]), min_size=1, max_size=10
)


@settings(deadline=None)
@given(PARTS, st.lists(st.integers(0, 200), max_size=12))
def test_pieces_of_any_size_give_the_whole(parts: list[str], cuts: list[int]) -> None:
    sent = "".join(parts)
    expected = "".join(VALUES.get(part, part) for part in parts)
    restorer, shown, done = StreamRestorer(VALUES), "", 0
    for cut in sorted({min(cut, len(sent)) for cut in cuts}):
        shown += restorer.feed(sent[done:cut])
        done = cut
    assert shown + restorer.feed(sent[done:]) + restorer.close() == expected


FRAGMENTS = [
    *VALUES, "<EMAIL", "_1", "email", "EMAIL 1", "my_", "US", "_SSN", "-1", "\\<", "\\_", "&lt;", "&gt;", "&", "%3C", "%3E", "\\u003c", "\\u003e",
    "<", ">", "*", "**", "`", " ", "_", "__", "x", "0", "1", "=", '"', ".", "PHONE", "person_id", "PERSON", " ID 2",
]  # fmt: skip
OWN = {**VALUES, "<US_SSN_1>": "123-45-6789", "<PERSON_ID_2>": "P2", "<PERSON_1>": "Maria"}


@settings(deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join), st.lists(st.integers(0, 120), max_size=30))
def test_pieces_of_any_text_give_what_the_whole_gives(text: str, cuts: list[int]) -> None:
    restorer, shown, done = StreamRestorer(OWN), "", 0
    for cut in sorted({min(cut, len(text)) for cut in cuts}):
        shown += restorer.feed(text[done:cut])
        done = cut
    assert shown + restorer.feed(text[done:]) + restorer.close() == restored(text, slots(OWN))


def test_words_are_shown_as_they_come() -> None:
    restorer, text = StreamRestorer(VALUES), "All the words of a sentence, and of the next one. " * 4
    held = [sum(map(len, (restorer.feed(char) for char in text[at : at + 10]))) - 10 for at in range(0, len(text), 10)]
    assert sum(held) >= -12


def test_what_cannot_change_any_more_is_shown_at_once() -> None:
    assert StreamRestorer(VALUES).feed("Dear <EMAIL_1>, I write. ").startswith("Dear alice@example.com")
