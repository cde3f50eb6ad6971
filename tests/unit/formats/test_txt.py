"""Plain text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.job_file import FileFacts
from promptmill.domain.record import Failure
from promptmill.formats.file_format import format_named
from tests.fakes.recipes import recipe
from tests.unit.formats.records import JOB, answered, failed, parsed, prompt_of, raw, read_file, refused

TXT = format_named("txt")
CP1252 = FileFacts("txt", encoding="cp1252")


def test_a_prompt_a_line() -> None:
    records, facts = read_file("\ufeffWhy?\r\n\r\n  Größe? \nlast".encode(), "a.txt")
    assert [(r.line, prompt_of(TXT.parse(r, facts, recipe()))) for r in records] == [
        (1, "Why?"),
        (3, "  Größe? "),
        (4, "last"),
    ]


def test_the_recipes_template() -> None:
    assert prompt_of(parsed("txt", b"{{ x }}", prompt="Say {{ text }}!")) == "Say {{ x }}!"
    assert refused("txt", b"a", prompt="{{ review }}").code == "unknown_column"


def test_cp1252_is_read_and_wrong_utf8_refused_by_byte() -> None:
    assert prompt_of(parsed("txt", "Größe".encode("cp1252"), CP1252)) == "Größe"
    error = refused("txt", b"ab\xffcd")
    assert error.code == "invalid_utf8"
    assert "byte 2" in error.reason
    assert "ab" not in error.reason


def line(text: str) -> bytes:
    return TXT.render(answered(raw(b"q"), text), FileFacts("txt"), recipe(), JOB)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_answer_is_one_line_that_can_be_read_back(text: str) -> None:
    out = line(text).decode()
    assert out.endswith("\n")
    assert out.count("\n") == 1
    assert "\r" not in out
    unescaped = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
    body = iter(out[:-1])
    assert "".join(unescaped[char + next(body)] if char == "\\" else char for char in body) == text


def test_failures_and_surrogates() -> None:
    found = TXT.render(failed(raw(b"q"), Failure("record", "c", "line 7: a\nb")), FileFacts("txt"), recipe(), JOB)
    assert found == b"[error] c: line 7: a\\nb\n"
    assert line("a\ud800") == "a\ufffd\n".encode()


@pytest.mark.parametrize(("facts", "data"), [(CP1252, "größer?".encode("cp1252")), (FileFacts("txt"), b"a \xff b")])
def test_the_errors_file_is_read_again_as_the_first_was(facts: FileFacts, data: bytes) -> None:
    errors = TXT.error_header(facts) + TXT.render_error(raw(data), facts)
    (record,), again = read_file(errors, "errors.txt")
    assert again.encoding == "utf-8"
    assert record.data == (data if facts.encoding == "utf-8" else "größer?".encode())
