"""Streams cut into events, wherever their bytes happen to be cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.wire.stream_events import SeparatedDecoder, SseDecoder, StreamDecoder

LINE_ENDS = ("\n", "\r\n", "\r")


def events(decoder: StreamDecoder, blocks: Iterable[bytes]) -> list[tuple[str, bytes]]:
    found = [event for block in blocks for event in decoder.feed(block)]
    return [(event.name, event.data) for event in (*found, *decoder.end())]


def sse(*blocks: bytes) -> list[tuple[str, bytes]]:
    return events(SseDecoder(), blocks)


@pytest.mark.parametrize("end", LINE_ENDS)
def test_events_have_names_and_data(end: str) -> None:
    lines = ("event: message_start", 'data: {"a":1}', "", "data: [DONE]", "", "")
    assert sse(end.join(lines).encode()) == [("message_start", b'{"a":1}'), ("", b"[DONE]")]


def test_data_of_several_lines_is_one_text() -> None:
    assert sse(b"data: a\ndata:b\ndata:  c\ndata\n\n") == [("", b"a\nb\n c\n")]


def test_comments_pings_ids_and_empty_events_are_none() -> None:
    assert sse(b": hello\n\nevent: ping\ndata: {}\n\nid: 7\nretry: 5\n\nevent: x\n\n\n\ndata: y\n\n") == [("", b"y")]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert sse(b"\xef\xbb\xbfdata: a\n\n") == [("", b"a")]


@pytest.mark.parametrize("cut_off", [b"data: a", b"data: a\n", b"data: a\r"])
def test_the_streams_end_ends_the_last_event(cut_off: bytes) -> None:
    assert sse(b"data: first\n\n", cut_off) == [("", b"first"), ("", b"a")]


def test_a_line_end_of_two_bytes_may_come_in_two_blocks() -> None:
    assert sse(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [("", b"a\nb")]


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["", "delta", "message_stop"]),
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1, max_size=20),
    ),
    max_size=6,
)


def test_an_empty_block_between_the_halves_of_a_line_end_is_nothing() -> None:
    assert sse(b"event: delta\r", b"", b"\ndata: 0\r\n\r\n") == [("delta", b"0")]


@given(EVENTS, st.sampled_from(LINE_ENDS), st.data())
def test_the_same_events_come_out_of_any_blocks(told: list[tuple[str, str]], end: str, data: st.DataObject) -> None:
    text = "".join(f"{f'event: {name}{end}' if name else ''}data: {said}{end}{end}" for name, said in told)
    whole = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    blocks = [whole[start:stop] for start, stop in itertools.pairwise((0, *cuts, len(whole)))]
    wanted = [(name, said.encode()) for name, said in told]
    assert sse(*blocks) == wanted


@given(
    st.lists(st.binary(min_size=1, max_size=9).filter(lambda piece: piece.strip() and b"\0" not in piece)), st.data()
)
def test_pieces_come_out_of_any_blocks(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"\0".join(pieces)
    cut = data.draw(st.integers(0, len(whole)))
    found = events(SeparatedDecoder(b"\0"), (whole[:cut], whole[cut:]))
    assert found == [("", piece) for piece in pieces]


def test_json_lines_may_have_blank_ones_between() -> None:
    assert events(SeparatedDecoder(), (b'{"a":1}\n\n{"b"', b":2}\r\n ")) == [("", b'{"a":1}'), ("", b'{"b":2}\r')]


def test_one_long_event_in_many_blocks_is_put_together_once() -> None:
    blocks = [b"data: ", *[b"x" * 1000] * 5000, b"\n\n"]
    ((_, found),) = sse(*blocks)
    assert len(found) == 5_000_000


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_any_bytes_are_some_events(blocks: list[bytes]) -> None:
    for decoder in (SseDecoder(), SeparatedDecoder()):
        assert all(data for _, data in events(decoder, blocks)) or isinstance(decoder, SseDecoder)
