"""Answers that come in pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.redaction.stream import StreamRestorer

VALUES = {"<EMAIL_1>": "alice@example.com", "<EMAIL_10>": "ten@example.com", "<PHONE_1>": "555-0100"}
PARTS = st.lists(
    st.sampled_from([*VALUES, "Dear ", ", ", "\n", "call ", "1 < 2. ", "**", "<b>", "é "]), min_size=1, max_size=10
)


@given(PARTS, st.lists(st.integers(0, 200), max_size=12))
def test_pieces_of_any_size_give_the_whole(parts: list[str], cuts: list[int]) -> None:
    sent = "".join(parts)
    expected = "".join(VALUES.get(part, part) for part in parts)
    restorer, shown, done = StreamRestorer(VALUES), "", 0
    for cut in sorted({min(cut, len(sent)) for cut in cuts}):
        shown += restorer.feed(sent[done:cut])
        done = cut
    assert shown + restorer.feed(sent[done:]) + restorer.close() == expected


def test_what_cannot_change_any_more_is_shown_at_once() -> None:
    assert StreamRestorer(VALUES).feed("Dear <EMAIL_1>, I write. ").startswith("Dear alice@example.com")
