"""gzip, UTF-16 and documents, whole and broken."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.domain.errors import RejectedFileError
from promptmill.formats import staging
from promptmill.formats.lines import CUT_OFF
from promptmill.formats.staging import Gunzip, Transcoder, document_lines
from tests.unit.formats.records import blocks_of


def unpacked(packed: bytes, block: int = 1 << 20) -> tuple[bytes, str]:
    gunzip = Gunzip()
    data = b"".join(piece for part in blocks_of(packed, block) for piece in gunzip.feed(part))
    mark, note = gunzip.finish()
    return data + mark, note


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.integers(1, 50), st.integers(0, 9))
@settings(max_examples=100, deadline=None)
def test_gzip_of_any_members_in_any_blocks(members: list[bytes], block: int, padding: int) -> None:
    packed = b"".join(gzip.compress(member) + b"\0" * padding for member in members)
    assert unpacked(packed, block) == (b"".join(members), "")


def test_large_gzip_comes_in_pieces() -> None:
    text = b"".join(b"%d: a line\n" % n for n in range(400_000))
    gunzip = Gunzip()
    pieces = list(gunzip.feed(gzip.compress(text)))
    assert max(map(len, pieces)) == 1 << 20
    assert b"".join(pieces) == text
    assert gunzip.finish() == (b"", "")


LINES = b"".join(b'{"id": %d, "prompt": "what is %d?"}\n' % (n, n * n) for n in range(2000))


@pytest.mark.parametrize("block", [1, 1000, 1 << 20])
def test_gzip_that_ends_early_yields_what_there_is(block: int) -> None:
    data, note = unpacked(gzip.compress(LINES)[:-2000], block)
    kept = data.removesuffix(CUT_OFF)
    assert len(kept) > 10_000
    assert LINES.startswith(kept)
    assert data.endswith(CUT_OFF)
    assert note == f"the gzip stream ends early: {len(kept):,} bytes could be unpacked"


def test_no_line_is_marked_where_the_break_is_behind_a_line() -> None:
    compressor = zlib.compressobj(wbits=31)
    packed = compressor.compress(b"one\ntwo\n") + compressor.flush(zlib.Z_SYNC_FLUSH)
    assert unpacked(packed) == (b"one\ntwo\n", "the gzip stream ends early: 8 bytes could be unpacked")


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_a_wrong_checksum_is_noted_and_loses_nothing(block: int) -> None:
    packed = bytearray(gzip.compress(LINES))
    packed[-8] ^= 1
    data, note = unpacked(bytes(packed), block)
    assert data == LINES
    assert "checksum" in note


def test_damage_in_the_middle_keeps_what_came_before_it() -> None:
    packed = bytearray(gzip.compress(LINES, compresslevel=1))
    packed[len(packed) // 2] ^= 0xFF
    packed[len(packed) // 2 + 1] ^= 0xFF
    data, note = unpacked(bytes(packed))
    assert note
    assert data[:5000] == LINES[:5000]


def test_what_follows_the_gzip_is_noted() -> None:
    data, note = unpacked(gzip.compress(b"a\n") + b"trailing rubbish")
    assert data == b"a\n"
    assert note.startswith("something that is not gzip follows")


def test_a_bomb_is_refused_before_it_fills_the_disk() -> None:
    packed = gzip.compress(b"\0" * (64 << 20))
    gunzip = Gunzip()
    tracemalloc.start()
    with pytest.raises(RejectedFileError) as caught:
        deque((piece for _ in range(5) for piece in gunzip.feed(packed)), maxlen=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == "gzip_bomb"
    assert peak < 16 << 20


def test_a_thousandfold_is_no_bomb_while_it_is_small() -> None:
    assert unpacked(gzip.compress(b"a\n" * 5_000_000)) == (b"a\n" * 5_000_000, "")


@given(st.text(), st.sampled_from(["utf-16-le", "utf-16-be"]), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_utf16_becomes_utf8(text: str, encoding: str, block: int) -> None:
    data = ("\ufeff" + text).encode(encoding)
    transcoder = Transcoder(encoding)  # type: ignore[arg-type]  # of the two
    out = b"".join(transcoder.feed(part) for part in blocks_of(data, block)) + transcoder.finish()
    assert out == ("\ufeff" + text).encode()


def transcoded(data: bytes) -> bytes:
    transcoder = Transcoder("utf-16-le")
    return transcoder.feed(data) + transcoder.finish()


def test_wrong_utf16_becomes_wrong_utf8_in_its_own_line() -> None:
    good, bad = "good\n".encode("utf-16-le"), b"\x00\xd8" + "bad\n".encode("utf-16-le")
    lines = transcoded(good + bad + good).split(b"\n")
    assert lines[0] == lines[2] == b"good"
    with pytest.raises(UnicodeDecodeError):
        lines[1].decode()


@pytest.mark.parametrize("tail", [b"\x41", b"\x3d\xd8"])
def test_half_a_character_at_the_end_spoils_the_last_line(tail: bytes) -> None:
    first, last = transcoded("one\ntwo".encode("utf-16-le") + tail).split(b"\n")
    assert first == b"one"
    with pytest.raises(UnicodeDecodeError):
        last.decode()


def test_the_mark_of_a_cut_file_survives() -> None:
    assert transcoded("one\ntw".encode("utf-16-le") + CUT_OFF) == b"one\ntw" + CUT_OFF


@given(
    st.lists(st.dictionaries(st.text(), st.text() | st.none()) | st.none() | st.integers()), st.sampled_from([None, 2])
)
@settings(max_examples=100, deadline=None)
def test_documents_become_lines(elements: list[object], indent: int | None) -> None:
    document = json.dumps({"requests": elements}, indent=indent, ensure_ascii=False)
    try:
        data = document.encode()
    except UnicodeEncodeError:
        return
    lines = list(document_lines(b"\xef\xbb\xbf" + data))
    assert not any(b"\n" in line or b"\r" in line for line in lines)
    assert [json.loads(line) for line in lines] == elements


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"requests": [{"custom_id": "a"}', "it ends early"),
        (b'{"requests":\n [{"custom_id": nope}]}', "wrong at line 2, byte 18"),
        (b'{"requests": 5}', "not a valid"),
        (b'{"requests": [], "secret": 1}', "not a valid"),
        (b'{"requests": [' + b"[" * 100_000, "not a valid"),
    ],
)
def test_a_broken_document_is_rejected_by_place(data: bytes, reason: str) -> None:
    with pytest.raises(RejectedFileError) as caught:
        list(document_lines(data))
    assert caught.value.code == "malformed_document"
    assert reason in caught.value.reason
    assert "secret" not in caught.value.message
    assert caught.value.remedy


def test_a_document_over_the_limit_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "MAX_DOCUMENT_BYTES", 20)
    with pytest.raises(RejectedFileError) as caught:
        list(document_lines(b'{"requests": [1, 2, 3]}'))
    assert caught.value.code == "document_too_large"
