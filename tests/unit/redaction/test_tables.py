"""A heading is a label for its whole column, in every layout that people and programs write tables in."""

from __future__ import annotations

import json

import pytest

from promptmill.redaction.patterns.structured import StructuredDetector

DETECTOR = StructuredDetector()
NAMES = [
    "customer",
    "tax id",
    "mobile",
    "passport no",
    "Passwort",
    "account number",
    "geburtsdatum",
    "employee_id",
    "amount",
]
ROWS = [
    [
        "Ann Roth",
        "912345678",
        "6125550147",
        "C01X00T47",
        "Winter77x",
        "123456789012",
        "12.03.1984",
        "E1002003",
        "12.50",
    ],
    ["Bob Lee", "812345670", "6465550188", "X98765432", "blueSky9", "998877665544", "02.11.1979", "E1002004", "99.90"],
]
SECRET = slice(1, 8)
LINES = [NAMES, *ROWS]


def join(delimiter: str) -> str:
    return "\n".join(delimiter.join(line) for line in LINES)


def padded(align: str, rule: list[str] | None = None) -> str:
    lines = [NAMES, *([rule] if rule else []), *ROWS]
    return "\n".join("".join(f"{cell:{align}20}" for cell in line) for line in lines)


def html(row: list[str], tag: str) -> str:
    return "<tr>\n" + "".join(f'<{tag} align="right"><b>{cell}</b></{tag}>\n' for cell in row) + "</tr>"


def tuple_of(row: list[str]) -> str:
    return "(" + ", ".join(f"'{cell}'" for cell in row) + ")"


LAYOUTS = {
    "csv": join(","),
    "csv of Excel": "sep=;\r\n" + join(";").replace("\n", "\r\n"),
    "csv in quotes": "\n".join(",".join(f'"{cell}"' for cell in line) for line in LINES),
    "csv behind a sentence": "Please clean this up, keep the order:\n\n" + join(","),
    "tsv": join("\t"),
    "markdown": "\n".join(f"| {' | '.join(line)} |" for line in [NAMES, ["---"] * len(NAMES), *ROWS]),
    "markdown without outer bars": "\n".join(" | ".join(line) for line in [NAMES, ["---"] * len(NAMES), *ROWS]),
    "latex": "\n".join(" & ".join(line) + " \\\\" for line in LINES),
    "html": "<table>" + html(NAMES, "th") + "".join(html(row, "td") for row in ROWS) + "</table>",
    "columns, left": padded("<"),
    "columns, right": padded(">"),
    "columns with a rule": padded("<", ["-" * 18 + "  "] * len(NAMES)),
    "insert": f"INSERT INTO t ({', '.join(NAMES)}) VALUES {', '.join(map(tuple_of, ROWS))};",
    "copy": f"COPY t ({', '.join(NAMES)}) FROM stdin;\n" + "\n".join("\t".join(row) for row in ROWS) + "\n\\.\n",
    "json of a data frame": json.dumps({"columns": NAMES, "data": ROWS}),
    "json of rows": "rows: " + json.dumps(LINES),
    "json in json": "x " + json.dumps(json.dumps(LINES)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_below_a_label_are_hidden_and_no_others(layout: str) -> None:
    text = LAYOUTS[layout]
    hidden = {text[span.start : span.end] for span in DETECTOR.find(text)}
    assert hidden == {cell for row in ROWS for cell in row[SECRET]}


@pytest.mark.parametrize(
    "text",
    [
        "step,phone_model,size\n1,2125550147x,3",
        "account_type,n\n1234567,1",
        "The phone, the tax and the rest\nwere settled, in 2024, by all",
        "id,amount\n1234567,99",
        "passport | visa\n--- | ---\nyes | no",
    ],
)
def test_a_column_under_another_heading_is_left_alone(text: str) -> None:
    assert DETECTOR.find(text) == []


def test_a_value_may_stand_far_behind_its_label_in_a_form() -> None:
    lines = [f"{name:<26}{value}" for name, value in zip(NAMES, ROWS[0], strict=True)]
    found = redacted_values("\n".join(lines))
    assert set(ROWS[0][SECRET]) <= found


def redacted_values(text: str) -> set[str]:
    return {text[span.start : span.end] for span in DETECTOR.find(text)}
