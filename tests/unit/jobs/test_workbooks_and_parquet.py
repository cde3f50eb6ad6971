"""Excel workbooks and Parquet files, from the drop to the results; and those that are made to bring a planner down."""

from __future__ import annotations

import csv
import io
import random
import struct
import tracemalloc
import zipfile
from typing import Any

import pytest
from arro3.core import DataType

from promptmill.domain.errors import RejectedFileError, RetryLaterError
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.job_file import FileLimits
from promptmill.formats.parquet import parquet_lines
from promptmill.formats.workbook import Workbook
from tests.fakes.mill import Mill
from tests.fakes.recipes import recipe
from tests.fakes.workbooks import MAIN, archive, parquet, sheet, workbook

REVIEWS = recipe(prompt="Is this good? {{ Review Text }}")
ROWS: list[list[Any]] = [
    ["ID", "review text", "When", "Ok", "Amount"],
    ["007", "Fine, really", '<c s="1"><v>46000</v></c>', True, 3],
    [None, None, None, None, None],
    ["008", 'She said "no"\nand left', '<c s="1"><v>46001.5</v></c>', False, 2.5],
    ["009", None, None, None, 1e300],
]


async def answer(name: str, data: bytes, given: Any = REVIEWS) -> tuple[Mill, JobRun]:
    mill = Mill(given)
    return mill, await mill.mill(f"inbox/r/{name}", data)


def table(mill: Mill, job: JobRun, name: str = "results") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(mill.file(job, name).decode("utf-8-sig"), newline="")))


async def test_a_workbook_is_answered_as_csv_with_its_columns() -> None:
    mill, job = await answer("reviews.xlsx", workbook({"Data": ROWS}))
    assert (job.state, job.counts.answered, job.counts.failed) == (JobState.DONE, 2, 1)
    rows = table(mill, job)
    assert [row["ID"] for row in rows] == ["007", "008", "009"]
    assert rows[1]["review text"].replace("\r\n", "\n") == 'She said "no"\nand left'
    assert [row["When"] for row in rows] == ["2025-12-09", "2025-12-10 12:00:00", ""]
    assert [(row["Ok"], row["Amount"]) for row in rows] == [("TRUE", "3"), ("FALSE", "2.5"), ("", "1e+300")]
    assert [row["status"] for row in rows] == ["answered", "answered", "failed"]
    assert rows[2]["error"].startswith("empty_prompt")
    assert job.files["results"].endswith(".csv")


async def test_the_first_visible_sheet_with_rows_is_read_and_the_others_are_told() -> None:
    sheets: dict[str, list[Any]] = {"Notes": [["x"]], "Empty": [], "Data": ROWS, "More": ROWS}
    mill, job = await answer("b.xlsx", workbook(sheets, hidden=["Notes"]))
    assert len(table(mill, job)) == 3
    assert mill.status(job)["notes"] == ["only the first sheet with rows was read: 3 other sheets were left out"]


async def test_what_failed_of_a_workbook_can_be_dropped_again() -> None:
    mill, job = await answer("reviews.xlsx", workbook({"Data": ROWS}))
    (failed,) = table(mill, job, "errors")
    assert (failed["ID"], failed["review text"]) == ("009", "")


async def test_a_workbook_without_a_column_of_the_prompt_is_rejected_before_anything_is_sent() -> None:
    mill, job = await answer("b.xlsx", workbook({"Data": [["id", "Reviw Text"], ["1", "x"]]}))
    assert (job.state, "has that name" in job.reason) == (JobState.REJECTED, True)
    assert "Reviw Text" in mill.status(job)["reason"]


PARQUET: dict[str, tuple[DataType, list[Any]]] = {
    "ID": (DataType.int64(), [7, 2**60, 9]),
    "review text": (DataType.utf8(), ["Fine, really", "Nö 😀", None]),
    "score": (DataType.float64(), [0.5, None, 1.0]),
    "ok": (DataType.bool(), [True, False, None]),
}


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zstd(3)"}, {"compression": "snappy", "max_row_group_size": 1}]
)
async def test_a_parquet_file_is_answered_as_rows(options: dict[str, Any]) -> None:
    mill, job = await answer("reviews.parquet", parquet(PARQUET, **options))
    assert (job.state, job.counts.answered, job.counts.failed) == (JobState.DONE, 2, 1)
    rows = mill.lines(job, "results")
    assert [row["ID"] for row in rows] == [7, 2**60, 9]
    assert rows[1]["review text"] == "Nö 😀"
    assert [row["score"] for row in rows] == [0.5, None, 1.0]
    assert rows[2]["error"]["code"] == "empty_prompt"


async def test_a_parquet_file_without_a_column_of_the_prompt_is_rejected() -> None:
    _, job = await answer("r.parquet", parquet({"ID": PARQUET["ID"]}))
    assert (job.state, "has that name" in job.reason) == (JobState.REJECTED, True)


async def test_prompts_in_parquet_need_no_template() -> None:
    mill, job = await answer("r.parquet", parquet({"prompt": (DataType.utf8(), ["hi"])}), recipe())
    assert mill.lines(job, "results")[0]["status"] == "answered"


async def test_a_fault_of_the_storage_is_no_fault_of_a_parquet_file() -> None:
    mill = Mill(REVIEWS)
    message = mill.drop("inbox/r/r.parquet", parquet(PARQUET))
    reading = mill.objects.read

    async def fail(key: str, **more: Any) -> bytes:
        if "start" in more:
            raise RetryLaterError("slow_down", status=503)
        return await reading(key, **more)

    mill.objects.read = fail  # type: ignore[method-assign]
    with pytest.raises(RetryLaterError):
        await mill.plan(message)
    assert [job.state for job in mill.jobs.runs.values()] == [JobState.PLANNING]
    del mill.objects.read
    await mill.plan(message)
    await mill.pump()
    assert [job.state for job in mill.jobs.runs.values()] == [JobState.DONE]


def read_book(data: bytes, limits: FileLimits = FileLimits()) -> bytes:  # noqa: B008 (a frozen struct)
    return b"".join(Workbook(data, limits).blocks())


def read_rows(data: bytes, limits: FileLimits = FileLimits()) -> bytes:  # noqa: B008 (a frozen struct)
    return b"".join(parquet_lines(len(data), lambda start, end: data[start:end], limits))


def far_cell(reference: str) -> bytes:
    cells = f'<c r="A1"><v>1</v></c></row><row><c r="{reference}"><v>1</v></c>'
    text = f'<worksheet xmlns="{MAIN}"><sheetData><row>{cells}</row></sheetData></worksheet>'
    return archive({"xl/worksheets/sheet1.xml": text}, {"Data": 0})


def placeless(rows: int, wide: int) -> bytes:
    text = f"<row>{'<c><v>1</v></c>' * wide}</row>" + "<row><c><v>1</v></c></row>" * rows
    whole = f'<worksheet xmlns="{MAIN}"><sheetData>{text}</sheetData></worksheet>'
    return archive({"xl/worksheets/sheet1.xml": whole}, {"Data": 0})


def lying(data: bytes) -> bytes:
    """Return the archive with every part said to have ten bytes."""
    changed = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = changed.find(mark)
        while at >= 0:
            changed[at + offset : at + offset + 4] = struct.pack("<I", 10)
            at = changed.find(mark, at + 4)
    return bytes(changed)


BOOK = workbook({"Data": ROWS})
BOMBS = {
    "a cell far away": far_cell("XFD1048576"),
    "a cell far away, in lower case": far_cell("xfd1048576"),
    "one wide row among many": placeless(30_000, 200),
    "many zeros": workbook({"Data": [["x" * (90 << 20)]]}),
    "wrong sizes": lying(BOOK),
    "cut off": BOOK[: len(BOOK) // 2],
    "no workbook": b"PK\x05\x06" + bytes(18),
    "not even an archive": b"PK\x03\x04xl/" + random.Random(1).randbytes(500),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_workbook_that_would_bring_the_planner_down_is_rejected(bomb: str) -> None:
    tracemalloc.start()
    with pytest.raises(RejectedFileError) as caught:
        read_book(BOMBS[bomb])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "CSV" in caught.value.remedy
    assert most < 160 << 20


def test_entities_of_a_workbook_are_not_expanded() -> None:
    declared = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    text = sheet([["ID"], ["x"]]).replace(">x<", ">&b;<")
    try:
        found = read_book(archive({"xl/worksheets/sheet1.xml": declared + text}, {"Data": 0}))
    except RejectedFileError:
        return
    assert b"aaaa" not in found


def test_parts_that_hold_no_cells_are_not_unpacked() -> None:
    book = io.BytesIO(BOOK)
    with zipfile.ZipFile(book, "a", zipfile.ZIP_DEFLATED) as more:
        more.writestr("xl/media/image1.png", bytes(300 << 20))
    assert b"Fine, really" in read_book(book.getvalue())


def test_rows_beyond_the_limits_are_rejected() -> None:
    packed = parquet({"prompt": (DataType.utf8(), ["x" * 1000] * 100_000)}, compression="zstd(3)")
    with pytest.raises(RejectedFileError) as caught:
        read_rows(packed)
    assert (caught.value.code, "Parquet become" in caught.value.reason) == ("document_too_large", True)
    with pytest.raises(RejectedFileError) as caught:
        read_rows(packed, FileLimits(unpacked_bytes=1 << 20))
    assert caught.value.code == "file_too_large"


@pytest.mark.parametrize("damage", range(12))
def test_damaged_parquet_is_rejected_in_words(damage: int) -> None:
    good, rng = parquet(PARQUET), random.Random(damage)
    bad = bytearray(good)
    for _ in range(1 + damage):
        bad[rng.randrange(4, len(bad))] = rng.randrange(256)
    data = bytes(bad) if damage else good[:-20]
    try:
        read_rows(data)
    except RejectedFileError as error:
        assert error.code == "malformed_document"  # noqa: PT017 (some damage changes but a value)


def test_memory_stays_flat_over_many_row_groups() -> None:
    values = [random.Random(n).randbytes(2000).hex() for n in range(4000)]
    data = parquet({"prompt": (DataType.utf8(), values)}, max_row_group_size=200)
    asked = list[int]()

    def read_range(start: int, end: int) -> bytes:
        asked.append(end - start)
        return data[start:end]

    most = max(map(len, parquet_lines(len(data), read_range, FileLimits())))
    assert most < 2 << 20
    assert max(asked) <= 1 << 19
    assert sum(asked) < 2 * len(data)
