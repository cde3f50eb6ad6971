"""Dropped files are recognised by their head and their name."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptmill.domain.errors import RejectedFileError
from promptmill.formats.recognise import HEAD_SIZE, Recognised, recognise

OPENAI = b'{"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": []}}\n'
ANTHROPIC = b'{"custom_id": "r-1", "params": {"max_tokens": 5, "messages": []}}\n'
BEDROCK = b'{"recordId": "R1", "modelInput": {"messages": []}}\n'
OWN = b'{"id": 1, "prompt": "hi"}\n'
MESSAGES = b'{"messages": [{"role": "user", "content": "hi"}]}\n'


def known(data: bytes, name: str = "file.jsonl", size: int | None = None) -> Recognised:
    return recognise(data[:HEAD_SIZE], name=name, size=len(data) if size is None else size)


def rejection(data: bytes, name: str = "file.jsonl", size: int | None = None) -> RejectedFileError:
    with pytest.raises(RejectedFileError) as caught:
        known(data, name, size)
    assert caught.value.code
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("line", "file_format"),
    [(OPENAI, "openai"), (ANTHROPIC, "anthropic"), (BEDROCK, "bedrock"), (OWN, "promptmill"), (MESSAGES, "promptmill")],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "noname", "a.txt", "a.csv", "A.JSONL", "b.ndjson.gz", "x.pdf"])
def test_json_lines_are_known_by_their_keys_whatever_the_name(line: bytes, file_format: str, name: str) -> None:
    assert known(line * 3, name).facts.format == file_format
    assert known(line.strip(), name).facts.format == file_format
    assert known(line.replace(b"\n", b"\r\n") * 2, name).facts.format == file_format


@pytest.mark.parametrize(
    ("line", "file_format"),
    [
        (b'{"body": {"messages": []}}', "openai"),
        (b'{"params": {"messages": []}}', "anthropic"),
        (b'{"modelInput": "broken"}{"modelInput": {}}', None),
        (b'{"id": 1, "prompt": "x", "params": {"own": 1}, "body": {}}', "promptmill"),
        (b'{"custom_id": "a", "prompt": "x"}', "promptmill"),
        (b'{"custom_id": "a", "prompt": "x", "body": {}}', "openai"),
    ],
)
def test_keys_that_could_be_several(line: bytes, file_format: str | None) -> None:
    if file_format is None:
        assert rejection(line).code == "unknown_lines"
    else:
        assert known(line).facts.format == file_format


def test_bad_first_lines_are_passed_over() -> None:
    assert known(b'[{"prompt": 1}]\n' + OWN).facts.format == "promptmill"
    data = b'\n\r\nnull\n{broken\n[1]\n[{"a": 1}]\n\xff\xfe?\n5\n' + ANTHROPIC
    assert known(data).facts.format == "anthropic"


def test_a_first_line_longer_than_the_head_tells_by_its_keys() -> None:
    prompt = b'x\\"}{[' * 700_000
    for line, file_format in (
        (b'{"custom_id": "a", "body": {"messages": [{"role": "user", "content": "' + prompt, "openai"),
        (b'{"id": {"a": [1, "}"]}, "prompt": "' + prompt, "promptmill"),
        (b'{"recordId": null, "modelInput": {"x": "' + prompt, "bedrock"),
    ):
        assert len(line) > HEAD_SIZE
        assert known(line).facts.format == file_format


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    facts = known(b"\xef\xbb\xbf" + OWN).facts
    assert (facts.format, facts.body_start, facts.marked) == ("promptmill", 3, True)


@pytest.mark.parametrize(
    "text",
    [
        b'{"requests":[',
        b'\xef\xbb\xbf { "requests" : [\n {"custom_id": "a"',
        b'{"x": {"requests": 1}, "requests": [ ]}',
    ],
)
def test_documents_are_staged_as_lines(text: bytes) -> None:
    recognised = known(text, "batch.json")
    assert (recognised.staging, recognised.facts.format, recognised.facts.document) == ("document", "anthropic", True)
    assert recognised.facts.body_start == 0


def test_a_document_over_256_mib_is_rejected() -> None:
    assert known(b'{"requests": [', size=256 << 20).staging == "document"
    assert rejection(b'{"requests": [', size=(256 << 20) + 1).code == "document_too_large"


def test_plain_text_is_known_by_name() -> None:
    assert known(b"Why?\nHow?\n", "questions.TXT").facts.format == "txt"
    assert known(b'[a] first\n{"b"} second\n', "q.txt").facts.format == "txt"
    assert known(b"Why?\n" + OWN, "q.txt").facts.format == "txt"
    assert known(b'{"prompt": "in a cell"}\nx\ny\n', "q.csv").facts.format == "csv"


@pytest.mark.parametrize(
    ("data", "name", "delimiter", "columns", "start", "line"),
    [
        (b"id,text\n1,a\n", "a.csv", ",", ("id", "text"), 8, 2),
        (b"id;text\r\n1;a, b\r\n2;c\r\n", "a.csv", ";", ("id", "text"), 9, 2),
        (b"id\ttext\n1\ta\n", "a.csv", "\t", ("id", "text"), 8, 2),
        (b"id,x\ttext\n1\ta\n", "a.tsv", "\t", ("id,x", "text"), 10, 2),
        (b"sep=;\r\nid;a,b,c\r\n1;2\r\n", "a.csv", ";", ("id", "a,b,c"), 17, 3),
        (b'\xef\xbb\xbf"sep=|"\nid|a,b\n', "a.csv", "|", ("id", "a,b"), 18, 3),
        (b"\xef\xbb\xbfid,text\n1,a", "a.csv", ",", ("id", "text"), 11, 2),
        (b'\n\n"a\n""b""",c\n1,2\n', "a.csv", ",", ('a\n"b"', "c"), 14, 5),
        (b"text\nhello\n", "a.csv", ",", ("text",), 5, 2),
        (b"text\rhello\rbye\r", "a.csv", ",", ("text",), 5, 2),
        (b"a;b;c;d, e\n1;2;3;4\n5;6;7;8\n", "a.csv", ";", ("a", "b", "c", "d, e"), 11, 2),
        ("naïve;größe\n1;2\n".encode(), "a.csv", ";", ("naïve", "größe"), 15, 2),
    ],
)
def test_tables(data: bytes, name: str, delimiter: str, columns: tuple[str, ...], start: int, line: int) -> None:
    facts = known(data, name).facts
    assert (facts.format, facts.delimiter, facts.columns) == ("csv", delimiter, columns)
    assert (facts.body_start, facts.first_line) == (start, line)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b'id,"text\n1,a\n', "csv_header"), (b"a" * (HEAD_SIZE + 9), "csv_header"), (b"sep=x\na\n", "csv_delimiter")],
)
def test_tables_without_a_header_are_rejected(data: bytes, code: str) -> None:
    assert rejection(data, "a.csv").code == code


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    ("text", "name", "file_format"),
    [("id;größe\r\n1;2\r\n", "a.csv", "csv"), ("Wie?\r\n", "a.txt", "txt"), (OWN.decode(), "a", "promptmill")],
)
def test_utf16_is_staged_and_known_by_what_it_becomes(text: str, name: str, file_format: str, encoding: str) -> None:
    recognised = known(("\ufeff" + text).encode(encoding), name)
    assert (recognised.staging, recognised.encoding, recognised.facts.format) == ("transcode", encoding, file_format)
    assert recognised.facts.marked
    body = ("\ufeff" + text).encode()[recognised.facts.body_start :]
    assert body == (b"1;2\r\n" if file_format == "csv" else text.encode())


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv", "A.CSV.GZ"])
def test_gzip_is_known_by_content_and_looked_into(name: str) -> None:
    recognised = known(gzip.compress(b"id,text\n1,a\n"), name)
    assert (recognised.staging, recognised.facts.columns) == ("gunzip", ("id", "text"))
    assert known(gzip.compress(OPENAI)[:-6], "x.gz").facts.format == "openai"
    assert known(b"id,text\n1,a\n", "not-packed.csv.gz").staging == "none"


def test_what_gzip_hides_is_rejected_before_it_is_unpacked() -> None:
    assert rejection(gzip.compress(b"%PDF-1.7 and so on")).code == "pdf"
    assert rejection(gzip.compress(gzip.compress(OWN))).code == "nested_gzip"
    assert rejection(gzip.compress(b"\n \n")).code == "no_records"


def test_broken_gzip_is_left_to_staging() -> None:
    for data in (gzip.compress(b""), b"\x1f\x8b", b"\x1f\x8b\x08rubbish"):
        assert known(data).staging == "gunzip"


@pytest.mark.parametrize(
    ("data", "code", "hint"),
    [
        (b"", "empty_file", "record"),
        (b" \r\n\n\t", "no_records", "record"),
        (b"\xef\xbb\xbf\r\n", "no_records", "record"),
        (b"%PDF-1.7\n%\xe2\xe3", "pdf", "text"),
        (b"PK\x03\x04....mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "spreadsheet", "CSV"),
        (b"PK\x03\x04....word/document.xml", "office_document", "text"),
        (b"PK\x03\x04....prompts.txt", "archive", "unpack"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "excel_workbook", "CSV UTF-8 in Excel"),
        (b"\x89PNG\r\n\x1a\n\0\0", "image", "text"),
        (b"\xff\xd8\xff\xe0", "image", "text"),
        (b"BZh91AY&SY\x01\x02\x03\x04", "archive", "gzip"),
        (b"\xff\xfe\0\0a\0\0\0", "utf_32", "UTF-8"),
        (b"\n<!DOCTYPE html>\n<html>", "markup", "text"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>', "markup", "text"),
        (bytes(range(256)) * 4, "binary", "text"),
        ("no mark\n".encode("utf-16-le") * 9, "binary", "byte order mark"),
        (b'{\n  "prompt": "a"\n}\n', "unknown_lines", "jq -c . FILE"),
        (b'{\n "messages": [\n {"role": "user"}\n ]\n}\n{\n "messages": []\n}\n', "unknown_lines", "jq -c . FILE"),
        (b'{"text": {"0": "secret", "1": "b"}, "n": {"0": 1, "1": 2}}', "unknown_lines", 'orient="records"'),
        (b'{"0": {"text": "secret", "n": 1}, "1": {"text": "b", "n": 2}}', "unknown_lines", 'orient="records"'),
        (b'{"prompt": "a"}{"prompt": "b"}\n{"prompt": "c"},\n', "unknown_lines", "a line of its own, without a comma"),
        (b'{"rows": [{"prompt": "secret"}, {"prompt": "b"}]}', "unknown_lines", "jq -c '.rows[]' FILE"),
        (b'{"items": [{"prompt": "secret"}]}', "unknown_lines", "jq -c '.items[]' FILE"),
        (b'{"v": 1, "items": [\n{"q": "secret"},\n{"q": "secret"}\n]}', "unknown_lines", "jq -c '.items[]' FILE"),
        (b'{"id": "b", "custom_id": "secret", "response": {}, "error": null}\n', "results_file", "file of prompts"),
        (b'{"custom_id": "secret", "result": {"type": "succeeded"}}\n', "results_file", "file of prompts"),
        (b'{"id": 1, "record": 0, "status": "answered", "cost_usd": "1"}\n', "results_file", "file of prompts"),
        (b"null\n5\n", "unknown_lines", "one object a line"),
    ],
)
def test_what_is_no_job_file_is_rejected_with_a_remedy(data: bytes, code: str, hint: str) -> None:
    error = rejection(data, "secret words.jsonl")
    assert error.code == code
    assert hint in error.remedy
    assert "secret" not in error.message


def test_excel_files_are_rejected_by_name_where_the_content_hides_it() -> None:
    assert rejection(b"PK\x03\x04....xl/workbook.bin", "book.xlsb").code == "excel_workbook"
    assert rejection(b"Just text.", "file.docx").code == "unknown_file"
    assert rejection(b"one\rtwo\rthree", "mac.txt").code == "old_line_ends"


@pytest.mark.parametrize(
    ("data", "name", "staging"),
    [
        (b"PK\x03\x04....xl/workbook.xml", "a.jsonl", "workbook"),
        (b"PK\x03\x04....", "book.xlsx", "workbook"),
        (b"PK\x03\x04....", "book.XLSM", "workbook"),
        (b"PAR1\x15\x04\x15\0\0\0\x01\x02\x03", "a", "parquet"),
    ],
)
def test_tables_in_packed_files_are_staged(data: bytes, name: str, staging: str) -> None:
    assert known(data, name).staging == staging


@pytest.mark.parametrize(
    ("data", "name", "file_format"),
    [
        (b'[\n  {"prompt": "a"}\n]', "a.json", "promptmill"),
        (b'[{"custom_id": "a", "body": {}}]', "a.txt", "openai"),
        (b'\xef\xbb\xbf[\n{"custom_id": "a", "params": {}},\n{}\n]\n', "a.jsonl", "anthropic"),
        (b'[{"question": "a"},\n{"question": "b"}]\n', "a.jsonl", "promptmill"),
    ],
)
def test_an_array_that_is_the_whole_file_is_staged_as_lines(data: bytes, name: str, file_format: str) -> None:
    found = known(data, name)
    assert (found.staging, found.facts.document, found.facts.format) == ("document", True, file_format)


def test_json_lines_in_no_format_are_rows() -> None:
    assert known(b'{"question": "a", "answer": 4}\n', "a.jsonl").facts.format == "promptmill"
    assert rejection(b'{"question": "a"}\n', "a.log").code == "unknown_file"
    assert known(b'{"question": "a"}\n', "a.txt").facts.format == "txt"


def test_text_that_starts_like_a_binary_format_is_text() -> None:
    for start in (b"ORC or elf?", b"PAR1 or PAR2?", b"BZh is how bzip2 starts."):
        assert known(start + b"\n", "q.txt").facts.format == "txt"


@given(st.binary(max_size=400), st.sampled_from(["a.csv", "a.txt", "a.jsonl", "a", "a.csv.gz", "../ü%+ 😀.tsv"]))
@example(b"\x1f\x8b\x08\x00", "a.csv")
@example(b'"' * 300, "a.csv")
@example(b"\xff\xfe\x00", "a.csv")
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_known_or_rejected(data: bytes, name: str) -> None:
    try:
        recognised = known(data, name)
    except RejectedFileError as error:
        assert error.remedy  # noqa: PT017 (either is right)
    else:
        assert recognised.facts.body_start <= max(len(data), 3) * 3


def test_deep_nesting_is_no_crash() -> None:
    assert rejection(b'{"a":' * 100_000).code == "unknown_lines"
    assert known(json.dumps({"prompt": "x"}).encode() + b"\n" + b"[" * 100_000).facts.format == "promptmill"
