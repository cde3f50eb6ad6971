"""A file without a column that the prompt needs is rejected before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job_file import FileFacts
from promptmill.formats.columns import check_columns
from tests.fakes.recipes import recipe


def table(*columns: str) -> FileFacts:
    return FileFacts("csv", delimiter=",", columns=columns)


def check(facts: FileFacts, *lines: Any, prompt: str = "") -> None:
    check_columns(facts, lines, recipe(prompt=prompt))


def rejection(facts: FileFacts, *lines: Any, prompt: str = "") -> RejectedFileError:
    with pytest.raises(RejectedFileError) as caught:
        check(facts, *lines, prompt=prompt)
    assert caught.value.remedy
    return caught.value


ROWS = FileFacts("promptmill")


def test_letter_case_and_spaces_make_no_difference() -> None:
    for column in ("review text", " Review  Text ", "REVIEW TEXT"):
        check(table("id", column), prompt="{{ review text }}")
        check(ROWS, {column: "x"}, prompt="{{Review Text}}")
    check(table("id", "TEXT"))
    check(ROWS, {"Prompt ": "x"})


def test_a_missing_column_is_told_with_the_nearest() -> None:
    error = rejection(table("id", "reviews"), prompt="{{ review }}")
    assert (error.code, "did you mean reviews?" in error.reason) == ("unknown_column", True)
    error = rejection(ROWS, {"questions": "x"}, {"answer": "y"}, prompt="{{ question }}")
    assert (error.code, "did you mean questions?" in error.reason) == ("unknown_column", True)
    assert rejection(FileFacts("txt"), prompt="{{ review }}").code == "unknown_column"


def test_the_remedy_mends_it() -> None:
    rejection(table("The battery died.", "1"), prompt="{{ text }}")
    check(table("text", "n"), prompt="{{ text }}")
    rejection(table("review"))
    check(table("review"), prompt="{{ review }}")
    check(table("prompt"))


def test_data_in_place_of_a_header_is_not_quoted() -> None:
    assert "battery" not in rejection(table("The battery died.", "1"), prompt="{{ text }}").message
    assert "battery" not in rejection(table("The battery died.", "1")).message


def test_two_columns_of_the_name() -> None:
    assert rejection(table("text", "text"), prompt="{{ text }}").code == "ambiguous_column"
    assert rejection(table("Text", "TEXT"), prompt="{{ text }}").code == "ambiguous_column"
    check(table("text", "TEXT"), prompt="{{ text }}")
    check(table("text", "text"))


def test_lines_with_a_prompt_or_messages_need_no_column() -> None:
    check(ROWS, {"prompt": "x"}, prompt="{{ text }} {{ id }}")
    check(ROWS, {"messages": []}, {"other": 1}, prompt="{{ text }}")
    check(ROWS, {"prompt": "x"}, {"tone": 1}, prompt="{{ text }} {{ tone }}")
    check(ROWS, {"turns": ["a"]}, prompt="{{ turns.0 }}")
    check(ROWS)
