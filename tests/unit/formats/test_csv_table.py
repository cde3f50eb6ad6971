"""CSV, as Excel writes it and reads it back."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.domain.job_file import FileFacts
from promptmill.domain.record import Failure, Outcome
from promptmill.formats.csv_rows import join_row, split_row
from promptmill.formats.file_format import format_named
from promptmill.formats.formulas import defuse, defuse_input
from promptmill.formats.staging import Transcoder
from tests.fakes.recipes import recipe
from tests.unit.formats.records import JOB, answered, cut, failed, parsed, prompt_of, raw, read_file, refused, split

CSV = format_named("csv")
FACTS = FileFacts("csv", delimiter=",", columns=("id", "text", "stars"))
SCHEMA = {"type": "object", "properties": {"sentiment": {"type": "string"}, "score": {"type": "number"}}}


def cells_of(data: bytes, delimiter: str = ",") -> list[list[str]]:
    """As the standard library reads it."""
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def row_of(outcome: Outcome, facts: FileFacts = FACTS, **changes: Any) -> dict[str, str]:
    header, row = cells_of(
        CSV.header(facts, recipe(**changes)) + CSV.render(outcome, facts, recipe(**changes), JOB), facts.delimiter
    )
    assert len(header) == len(row)
    return dict(zip(header, row, strict=True))


def test_the_template_takes_columns_by_name() -> None:
    request = parsed("csv", b'1,"{{ stars }}, ""good""",5', FACTS, prompt="{{ stars }}: {{text}} {{ id }} { x }")
    assert prompt_of(request) == '5: {{ stars }}, "good" 1 { x }'
    spaced = FileFacts("csv", delimiter=";", columns=("Nr.", " Größe (cm) "))
    assert prompt_of(parsed("csv", b"1;5", spaced, prompt="{{ Größe (cm) }}!")) == "5!"


@pytest.mark.parametrize("columns", [("id", "Prompt", "text"), ("text", " prompt ", "id"), ("id", "TEXT", "x")])
def test_without_a_template_the_column_prompt_or_text_is_asked(columns: tuple[str, ...]) -> None:
    assert prompt_of(parsed("csv", b"a,b,c", FileFacts("csv", delimiter=",", columns=columns))) == "b"


def test_short_rows_are_filled_and_empty_cells_too_many_overlooked() -> None:
    assert prompt_of(parsed("csv", b"1,hi", FACTS, prompt="{{ text }}[{{ stars }}]")) == "hi[]"
    assert prompt_of(parsed("csv", b"1,hi,5,, ,", FACTS)) == "hi"


@pytest.mark.parametrize(
    ("row", "facts", "changes", "code"),
    [
        (b"1,hi,5,6", FACTS, {}, "too_many_cells"),
        (b"1, ,5", FACTS, {}, "empty_prompt"),
        (b"1", FACTS, {}, "empty_prompt"),
        (b"1,a,b", FACTS, {"prompt": "{{ review }}"}, "unknown_column"),
        (b"1,\xff,b", FACTS, {}, "invalid_utf8"),
        (b"1,a,b", FileFacts("csv", delimiter=",", columns=("a", "b", "c")), {}, "no_prompt_column"),
        (b"1, ,b", FACTS, {"prompt": "Say: {{ text }}"}, "empty_prompt"),
        (b"1,a,b", FACTS, {"model": "line"}, "model_missing"),
    ],
)
def test_rows_that_cannot_be_asked(row: bytes, facts: FileFacts, changes: dict[str, Any], code: str) -> None:
    assert refused("csv", row, facts, **changes).code == code


def test_doubled_columns_matter_only_where_they_are_used() -> None:
    facts = FileFacts("csv", delimiter=",", columns=("text", "x", "x"))
    assert prompt_of(parsed("csv", b"hi,1,2", facts, prompt="{{ text }}")) == "hi"


EXCEL = '\ufeffNr;Größe;Text\r\n1;5,5;"Zeile 1\nZeile ""2"""\r\n;;\r\n2;6;schön\r\n'


def excel_bytes(encoding: str) -> bytes:
    if encoding == "cp1252":
        return EXCEL.removeprefix("\ufeff").encode(encoding)
    return EXCEL.encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16-le", "utf-16-be"])
def test_files_as_excel_writes_them(encoding: Any) -> None:
    data = excel_bytes(encoding)
    if encoding.startswith("utf-16"):
        transcoder = Transcoder(encoding)
        data = transcoder.feed(data) + transcoder.finish()
    records, facts = read_file(data, "a.csv")
    assert facts.columns == ("Nr", "Größe", "Text")
    asked = [prompt_of(CSV.parse(r, facts, recipe(prompt="{{ Größe }} {{ Text }}"))) for r in records]
    assert asked == ['5,5 Zeile 1\nZeile "2"', "6 schön"]
    assert [r.line for r in records] == [2, 5]


def test_a_sep_line_tells_the_delimiter() -> None:
    records, facts = read_file(b'sep=|\r\nid|text\r\n1|"a|b"\r\n', "a.csv")
    assert prompt_of(CSV.parse(records[0], facts, recipe())) == "a|b"
    assert records[0].line == 3


def test_an_answer_stands_behind_the_inputs_columns() -> None:
    assert row_of(answered(raw(b'7,"a, b",5'), 'Blue, "deep"\nsky')) == {
        "id": "7",
        "text": "a, b",
        "stars": "5",
        "answer": 'Blue, "deep"\nsky',
        "status": "answered",
        "error": "",
        "finish_reason": "stop",
        "model": "gpt-6-luna-2026-10-01",
        "input_tokens": "21",
        "output_tokens": "9",
        "cost_usd": "0.000123450",
    }


def test_a_schema_has_a_column_for_each_property() -> None:
    row = row_of(answered(raw(b"1,a,5"), '{"score": -5, "sentiment": "=good", "other": 1}'), answer_schema=SCHEMA)
    assert (row["sentiment"], row["score"], row["error"]) == ("'=good", "-5", "")
    assert "answer" not in row
    row = row_of(answered(raw(b"1,a,5"), '{"sentiment": null, "score": [1, {"a": true}]}'), answer_schema=SCHEMA)
    assert (row["sentiment"], row["score"]) == ("", '[1,{"a":true}]')
    row = row_of(answered(raw(b"1,a,5"), "not JSON"), answer_schema=SCHEMA)
    assert (row["status"], row["error"]) == ("answered", "answer_not_json: not JSON")
    row = row_of(answered(raw(b"1,a,5"), "plain"), answer_schema={"type": "string"})
    assert row["answer"] == "plain"


def test_failures_keep_the_row_and_say_why() -> None:
    row = row_of(failed(raw(b"7,a,5"), Failure("record", "empty_prompt", "line 7: the prompt is empty")))
    assert (row["id"], row["status"], row["answer"], row["model"]) == ("7", "failed", "", "")
    assert row["error"] == "empty_prompt: line 7: the prompt is empty"
    assert row_of(failed(raw(b"7,a,5"), Failure("stopped", "s", "m")))["status"] == "stopped"


@pytest.mark.parametrize("data", [b"", b"1", b'1,"never closed', b"1,2,3,4,5,6", b"\xff,\x00,b", b'"""'])
def test_bad_rows_are_as_wide_as_the_header(data: bytes) -> None:
    assert row_of(failed(raw(data), Failure("record", "c", "m")))["status"] == "failed"


def test_the_output_opens_in_the_same_excel() -> None:
    facts = FileFacts("csv", encoding="cp1252", delimiter=";", columns=("Größe", "text"))
    out = CSV.header(facts, recipe()) + CSV.render(answered(raw("5,5;schön".encode("cp1252"))), facts, recipe(), JOB)
    assert out.startswith("\ufeffGröße;text;answer;status".encode())
    assert out.count(b"\r\n") == 2
    assert cells_of(out, ";")[1][:3] == ["5,5", "schön", "Blue"]


def test_names_that_clash_get_a_number() -> None:
    facts = FileFacts("csv", delimiter=",", columns=("Answer", "status", "status_2", "text"))
    header = cells_of(CSV.header(facts, recipe()))[0]
    assert header[4:7] == ["answer_2", "status_3", "error"]
    both: dict[str, Any] = {"properties": {"status": {}, "model": {}}}
    assert cells_of(CSV.header(FACTS, recipe(answer_schema=both)))[0][3:9] == [
        "status",
        "model",
        "status_2",
        "error",
        "finish_reason",
        "model_2",
    ]


FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    '=HYPERLINK("x")',
    "\uff1d1+1",
    "\uff20x",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text: str) -> None:
    data = join_row(["1", text, "5"], ",").removesuffix("\r\n").encode()
    row = row_of(answered(raw(data), text))
    assert row["answer"] == row["text"] == f"'{text}"
    row = row_of(failed(raw(b"1,a,5"), Failure("record", text, "m")))
    assert row["error"].startswith("'")
    columns = FileFacts("csv", delimiter=",", columns=(text, "text"))
    schema: dict[str, Any] = {"properties": {text: {}}}
    assert cells_of(CSV.header(columns, recipe(answer_schema=schema)))[0][0] == f"'{text}"
    assert cells_of(CSV.header(columns, recipe(answer_schema=schema)))[0][2].startswith("'")


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_the_errors_file_is_a_formula_and_dropped_again_it_says_the_same(text: str) -> None:
    (record,), facts = read_file((join_row([text, "text"], ";") + join_row(["-5", text], ";")).encode(), "a.csv")
    errors = CSV.error_header(facts) + CSV.render_error(record, facts)
    assert cells_of(errors, ";") == [[f"'{text}", "text"], ["-5", f"'{text}"]]
    (again,), new_facts = read_file(errors, "errors.csv")
    assert new_facts.columns == facts.columns == (text, "text")
    assert prompt_of(CSV.parse(again, new_facts, recipe())) == prompt_of(CSV.parse(record, facts, recipe())) == text


def test_a_row_whose_quotes_do_not_fit_holds_no_formula_either() -> None:
    (record,), facts = read_file(b'id,text\r\n=cmd,"=1+1",+49 (30) 1,"@x\r\n', "a.csv")
    assert record.error is not None
    assert CSV.render_error(record, facts).decode() == "'=cmd,\"'=1+1\",+49 (30) 1,\"'@x\r\n"


@pytest.mark.parametrize("cell", ["-5", "+3.5", "-1,234.50", "-12%", "+49 (30) 123-45", "-1.5e-7", "", "plain", "'=1"])
def test_numbers_of_the_input_stay_as_they_are(cell: str) -> None:
    assert defuse_input(cell) == cell


@given(st.text())
def test_nothing_that_we_write_starts_like_a_formula(text: str) -> None:
    assert not defuse(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert defuse(text).removeprefix("'") == text.removeprefix("'")


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@given(
    st.lists(texts | st.sampled_from(['"', '""', ",", "\r\n", "\r", " a", '"x', ";"]), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t"]),
)
@settings(max_examples=300, deadline=None)
def test_rows_survive_writing_and_reading(cells: list[str], delimiter: str) -> None:
    written = join_row(cells, delimiter)
    assert split_row(written.removesuffix("\r\n"), delimiter) == cells
    if cells != [""]:
        assert next(csv.reader(io.StringIO(written, newline=""), delimiter=delimiter)) == cells


@given(st.lists(st.lists(texts, min_size=2, max_size=2), min_size=1, max_size=8), st.integers(1, 50))
@settings(max_examples=200, deadline=None)
def test_tables_survive_cutting(rows: list[list[str]], block: int) -> None:
    facts = FileFacts("csv", delimiter=",", columns=("a", "b"))
    data = "".join(join_row(row, ",") for row in rows).encode()
    chunks, _ = cut(data, facts, block=block)
    found = [split_row(record.data.decode(), ",") for record in split(data, chunks, facts)]
    assert found == [row for row in rows if join_row(row, ",").strip(" \t\r\n,")]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_the_errors_file_can_be_dropped_again(encoding: Any) -> None:
    data = 'Größe;Text\r\n1;"schön\r\n2;a\r\n3;b;c\r\n'.encode(encoding)
    records, facts = read_file(data, "a.csv")
    assert [r.error.code if r.error else "" for r in records] == ["stray_quote", "", ""]
    errors = CSV.error_header(facts) + b"".join(CSV.render_error(record, facts) for record in records)
    again, new_facts = read_file(errors, "errors.csv")
    assert (new_facts.columns, new_facts.delimiter) == (facts.columns, facts.delimiter)
    assert [(r.data.decode(), r.line) for r in again] == [('1;"schön', 2), ("2;a", 3), ("3;b;c", 4)]


def test_a_wrong_byte_is_wrong_again_when_it_is_dropped_again() -> None:
    records, facts = read_file(
        "id,text\n1,größer\n2,\xff".encode("latin-1").replace(b"\xf6", "ö".encode()).replace(b"\xdf", "ß".encode()),
        "a.csv",
    )
    bad = records[1]
    again, new_facts = read_file(CSV.error_header(facts) + CSV.render_error(bad, facts), "errors.csv")
    assert (again[0].data, new_facts.encoding) == (b"2,\xff", "utf-8")


def test_too_large_rows_are_not_in_the_errors_file() -> None:
    assert CSV.render_error(raw(b""), FACTS) == b""
