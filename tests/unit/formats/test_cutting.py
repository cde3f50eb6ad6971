"""Planner and worker cut alike, whatever the bytes, the blocks and the chunks' limits."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job_file import ChunkRange, FileFacts
from promptmill.domain.record import RawRecord
from promptmill.formats.csv_rows import RowScanner
from promptmill.formats.cutting import Chunker, RowCutter, make_cutter
from promptmill.formats.lines import CUT_OFF
from tests.unit.formats.records import blocks_of, cut, split

LINES = FileFacts("openai")
TABLE = FileFacts("csv", marked=True, delimiter=",", columns=("a", "b"))
WHOLE = 8 << 20

csv_bytes = st.lists(st.sampled_from([b"a", b'"', b'""', b",", b"\n", b"\r\n", b"\r", b" ", b"\xe9"]), max_size=60).map(
    b"".join
)
line_bytes = st.lists(st.sampled_from([b"a", b" ", b"\t", b"\n", b"\r\n", b"\x00", b"\xff"]), max_size=60).map(b"".join)


def in_one(data: bytes, facts: FileFacts) -> list[RawRecord]:
    chunks, _ = cut(data, facts, max_records=1_000_000)
    assert len(chunks) <= 1
    return split(data, chunks, facts)


def check_cut(data: bytes, facts: FileFacts, block: int, max_records: int, max_bytes: int) -> None:
    expected = in_one(data, facts)
    chunks, _ = cut(data, facts, block=block, max_records=max_records, max_bytes=max_bytes)
    found: list[RawRecord] = []
    for number, chunk in enumerate(chunks):
        assert chunk.number == number
        assert chunk.first_record == len(found)
        assert 0 < chunk.records <= max_records
        assert (chunk.end - chunk.start > max_bytes) == chunk.oversized
        assert chunk.records == 1 or not chunk.oversized
        records = split(data, [chunk], facts)
        assert len(records) == chunk.records
        assert records[0].line == chunk.first_line
        found += records
    assert found == expected
    assert [record.index for record in found] == list(range(len(found)))


@given(csv_bytes | st.binary(max_size=60), st.integers(1, 9), st.integers(1, 4), st.integers(1, 40) | st.just(WHOLE))
@settings(max_examples=300, deadline=None)
def test_rows_are_cut_alike_by_planner_and_worker(data: bytes, block: int, max_records: int, max_bytes: int) -> None:
    check_cut(data, TABLE, block, max_records, max_bytes)


@given(line_bytes | st.binary(max_size=60), st.integers(1, 9), st.integers(1, 4), st.integers(1, 40) | st.just(WHOLE))
@settings(max_examples=200, deadline=None)
def test_lines_are_cut_alike_by_planner_and_worker(data: bytes, block: int, max_records: int, max_bytes: int) -> None:
    check_cut(data, LINES, block, max_records, max_bytes)


@given(line_bytes)
@settings(max_examples=200, deadline=None)
def test_records_of_lines_are_the_lines_that_are_not_blank(data: bytes) -> None:
    expected = [(n, line) for n, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    found = in_one(data, LINES)
    assert [(record.line, record.data) for record in found] == [(n, line.removesuffix(b"\r")) for n, line in expected]


class OnlyThePattern(RowScanner):
    """Without the fast way to see plain rows."""

    def _plain_row(self, data: bytes, start: int) -> tuple[int, int]:  # noqa: ARG002 (it overrides)
        return 0, 0


@given(csv_bytes, st.sampled_from([3, 7, 20, 1000]))
@settings(max_examples=300, deadline=None)
def test_the_fast_way_sees_the_rows_that_the_pattern_sees(data: bytes, limit: int) -> None:
    fast = list(RowScanner(",", limit=limit).scan(data, final=True))
    assert fast == list(OnlyThePattern(",", limit=limit).scan(data, final=True))


@given(csv_bytes, st.integers(1, 9), st.integers(1, 12), st.data())
@settings(max_examples=300, deadline=None)
def test_rows_over_the_limit_are_cut_alike_in_any_blocks(
    data: bytes, block: int, limit: int, more: st.DataObject
) -> None:
    max_bytes = more.draw(st.integers(1, limit))

    def chunks(size: int) -> list[ChunkRange]:
        cutter = RowCutter(TABLE, Chunker(2, max_bytes), row_limit=limit)
        found = [chunk for part in blocks_of(data, size) for chunk in cutter.feed(part)]
        try:
            return found + cutter.finish()
        except RejectedFileError:
            return found

    whole = chunks(1000)
    assert chunks(block) == whole
    for chunk in whole:
        rows = list(RowScanner(",", limit=limit).scan(data[chunk.start : chunk.end], line=chunk.first_line, final=True))
        assert chunk.oversized or len(rows) == chunk.records


def table(text: str, **changes: str) -> list[tuple[int, str, str]]:
    """Line, data and error of each row."""
    facts = FileFacts("csv", delimiter=changes.get("delimiter", ","), columns=("a", "b", "c"))
    return [(r.line, r.data.decode(), r.error.code if r.error else "") for r in in_one(text.encode(), facts)]


def test_rows_as_excel_writes_them() -> None:
    text = '1,"two\nlines, and ""quotes""",x\r\n\r\n,,\r\n 2,5" pipe,y\r\n3,"",z'
    assert table(text) == [
        (1, '1,"two\nlines, and ""quotes""",x', ""),
        (5, ' 2,5" pipe,y', ""),
        (6, '3,"",z', ""),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_end_with_any_line_end(end: str) -> None:
    text = end.join(("1,a", '2,"b', 'c"', "", "3,d", ""))
    assert table(text) == [(1, "1,a", ""), (2, f'2,"b{end}c"', ""), (5, "3,d", "")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_quotes_guard_delimiters(delimiter: str) -> None:
    assert table(f'1{delimiter}"a{delimiter}\nb"\n2\n', delimiter=delimiter) == [
        (1, f'1{delimiter}"a{delimiter}\nb"', ""),
        (3, "2", ""),
    ]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('1,a\n2,"never\n3,b\n', [(1, "1,a", ""), (2, '2,"never', "stray_quote"), (3, "3,b", "")]),
        ('1,"a" b\n2,c\n', [(1, '1,"a" b', "stray_quote"), (2, "2,c", "")]),
        ('1,"x\ny","z\n2,c\n', [(1, '1,"x\ny","z', "stray_quote"), (3, "2,c", "")]),
        ('"\n', [(1, '"', "stray_quote")]),
        ('1,"open\n2,"closed"\n', [(1, '1,"open', "stray_quote"), (2, '2,"closed"', "")]),
    ],
)
def test_a_stray_quote_costs_the_line_it_is_in(text: str, rows: list[tuple[int, str, str]]) -> None:
    assert table(text) == rows


def test_a_stray_quote_is_named_by_line_and_field() -> None:
    _, bad, _ = in_one(b'1,a,b\n2,"x\ny","never\n3,c,d\n', FileFacts("csv", delimiter=",", columns=("a", "b", "c")))
    assert bad.error is not None
    assert bad.error.message.startswith("line 3: the quote that opens field 3 never closes")
    assert bad.error.field == "c"
    assert "never\n" not in bad.error.message


def test_every_500_records_and_8_mib_make_a_chunk() -> None:
    chunks, _ = cut(b'{"a":1}\n' * 1201, LINES)
    assert [(c.first_record, c.first_line, c.records) for c in chunks] == [
        (0, 1, 500),
        (500, 501, 500),
        (1000, 1001, 201),
    ]
    chunks, _ = cut((b"x" * 3_000_000 + b"\n") * 5, LINES)
    assert [chunk.records for chunk in chunks] == [2, 2, 1]
    assert all(chunk.end - chunk.start <= WHOLE for chunk in chunks)


def test_blank_lines_between_records_are_in_no_count() -> None:
    chunks, _ = cut(b"\n \r\n" + b"a\n" + b"\n" * 50 + b"b\n", LINES, max_bytes=20)
    assert [(c.start, c.end, c.first_line, c.records) for c in chunks] == [(4, 6, 3, 1), (56, 58, 54, 1)]


@pytest.mark.parametrize("facts", [LINES, TABLE])
@pytest.mark.parametrize("size", [(8 << 20) + 1, 20 << 20])
def test_a_record_over_8_mib_is_a_chunk_of_its_own(facts: FileFacts, size: int) -> None:
    data = b"a,1\n" + b"x" * size + b"\nb,2\n"
    chunks, _ = cut(data, facts)
    assert [(c.oversized, c.records, c.first_line) for c in chunks] == [(False, 1, 1), (True, 1, 2), (False, 1, 3)]
    assert chunks[2].first_record == 2
    assert [record.data for record in split(data, chunks[::2], facts)] == [b"a,1", b"b,2"]


def huge_rows() -> Iterator[bytes]:
    for _ in range(16):
        yield b"x" * (1 << 20)
    yield b'\n1,"' + b"stray, " * 100_000
    for _ in range(12):
        yield (b"line,of," + b"others" * 30 + b"\n") * 5_000
    yield b"\n2,b\n"


@pytest.mark.parametrize("facts", [LINES, TABLE])
def test_cutting_needs_no_more_memory_for_a_larger_file(facts: FileFacts) -> None:
    cutter = make_cutter(facts)
    tracemalloc.start()
    for block in huge_rows():
        cutter.feed(block)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 << 20
    assert cutter.finish()


def test_a_file_without_records_is_rejected() -> None:
    for facts in (LINES, TABLE):
        with pytest.raises(RejectedFileError) as caught:
            make_cutter(facts).finish()
        assert caught.value.code == "no_records"


def test_chunks_larger_than_rows_may_be_are_refused() -> None:
    with pytest.raises(ValueError, match="chunks of"):
        make_cutter(TABLE, max_bytes=(8 << 20) + 1)


@pytest.mark.parametrize(("facts", "half"), [(LINES, b'{"id": 1}'), (TABLE, b"2,half a pro")])
def test_half_a_record_at_the_break_of_a_file_is_not_answered(facts: FileFacts, half: bytes) -> None:
    whole, cut_off = in_one(b"1,a\n" + half + CUT_OFF, facts)
    assert whole.error is None
    assert cut_off.error is not None
    assert (cut_off.error.code, cut_off.data) == ("file_cut_off", half)
    assert cut_off.error.message.startswith("line 2: ")
