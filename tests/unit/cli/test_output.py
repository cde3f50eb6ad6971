"""Amounts, tables, and what must not reach a terminal."""

from __future__ import annotations

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from promptmill.cli.output import Output, printable, usd_short
from promptmill.domain.errors import UserError
from promptmill.domain.money import parse_usd


def test_amounts_as_people_read_them() -> None:
    assert usd_short(0) == "$0.00"
    assert usd_short(127_000) == "$0.000127"
    assert usd_short(999_999_999) == "$0.999999999"
    assert usd_short(4_020_000_000) == "$4.02"
    assert usd_short(1_234_565_000_000) == "$1,234.57"
    assert usd_short(1_999_995_000_000) == "$2,000.00"


@given(st.integers(0, 10**18))
def test_an_amount_is_never_off_by_more_than_half_a_cent(nano: int) -> None:
    shown = parse_usd(usd_short(nano).removeprefix("$").replace(",", ""))
    assert abs(shown - nano) <= (5_000_000 if nano >= 10**9 else 0)


@given(st.text())
def test_nothing_printable_steers_a_terminal(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)
    assert not any(127 <= ord(c) < 160 for c in shown)


def test_json_is_one_document_with_the_target() -> None:
    file = io.StringIO()
    out = Output(as_json=True, file=file)
    out.target("local")
    out.line("for people")
    out.table(("a",), [("b",)])
    out.document({"x": 1})
    assert json.loads(file.getvalue()) == {"target": "local", "x": 1}


def test_a_failure_in_json_goes_where_the_reader_looks() -> None:
    file = io.StringIO()
    Output(as_json=True, file=file).failure(UserError("no", code="c", where="w", remedy="do"))
    assert json.loads(file.getvalue()) == {"error": {"code": "c", "where": "w", "reason": "no", "remedy": "do"}}


def test_long_cells_are_kept_whole_in_a_pipe() -> None:
    file = io.StringIO()
    Output(as_json=False, file=file).table(("job", "file"), [("j" * 30, "f" * 100)])
    assert "j" * 30 in file.getvalue()
    assert "f" * 100 in file.getvalue()


def test_markup_in_names_is_text() -> None:
    file = io.StringIO()
    out = Output(as_json=False, file=file)
    out.line("[red]a[/red] :smile:")
    out.table(("n",), [("[/nonsense]",)])
    assert "[red]a[/red] :smile:" in file.getvalue()
    assert "[/nonsense]" in file.getvalue()
