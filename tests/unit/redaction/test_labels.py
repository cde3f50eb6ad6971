"""Every label of the table, in every spelling, announces the examples that stand beside it in the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.redaction.patterns.folded_text import FoldedText, compile_re2
from promptmill.redaction.patterns.labels import find_labels, read_table, words_of
from promptmill.redaction.patterns.structured import StructuredDetector

DETECTOR = StructuredDetector()
SPELLINGS: dict[str, Callable[[list[str]], str]] = {
    "as it is": " ".join,
    "capitals": lambda words: " ".join(words).upper(),
    "snake": "_".join,
    "dashes": "-".join,
    "camel": lambda words: words[0] + "".join(word[:1].upper() + word[1:] for word in words[1:]),
}
ROWS = [pytest.param(row, id=f"{number} {row['type']}") for number, row in enumerate(read_table())]


def found(text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in DETECTOR.find(text)]


def spell(word: str, how: str) -> str:
    return SPELLINGS[how](word.split(" "))


def is_hidden(value: str, text: str) -> bool:
    start = text.index(value)
    return any(span.start <= start and span.end >= start + len(value) for span in DETECTOR.find(text))


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize("row", ROWS)
def test_a_label_is_known_in_every_spelling(row: dict[str, Any], how: str) -> None:
    missed = [
        word
        for word in words_of(row)
        if not any(
            label.start == 0 and label.label.type == row["type"] for label in find_labels(FoldedText(spell(word, how)))
        )
    ]
    assert missed == [] or (how == "capitals" and all(word.upper().lower() != word for word in missed))


@pytest.mark.parametrize(
    "form", ["{}: {}", '{{"{}": "{}"}}', "{} = {}\n", "<i>{}</i> <b>{}</b>", "{}\n{}\n", "| {} | {} |"]
)
@pytest.mark.parametrize("row", ROWS)
def test_a_label_and_a_plausible_value_are_enough(row: dict[str, Any], form: str) -> None:
    texts = [(value, form.format(word, value)) for word in words_of(row) for value in row["examples"]]
    assert [text for value, text in texts if not is_hidden(value, text)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("手机号是13912345678，", [("phone", "13912345678")]),
        ("银行卡4111111111111111在昨日", [("card", "4111111111111111")]),
        ("服务器192.168.10.24已关闭", [("ip", "192.168.10.24")]),
        ("身份证号11010519491231002X，", [("national_id", "11010519491231002X")]),
        ("電話番号は03-1234-5678です", [("phone", "03-1234-5678")]),
        ("연락처는 010-1234-5678입니다", [("phone", "010-1234-5678")]),
        ("โทร0812345678ครับ", [("phone", "0812345678")]),
        ("口座DE89370400440532013000です", [("iban", "DE89370400440532013000")]),
        ("邮箱li.wei@example.cn请回复", [("email", "li.wei@example.cn")]),
        ("联系13812345678，谢谢", [("phone", "13812345678")]),
        ("パスワード：Sakura2024!", [("password", "Sakura2024!")]),
        ("密码：Sakura2024", [("password", "Sakura2024")]),
        ("生年月日：1984年3月12日", [("date_of_birth", "1984年3月12日")]),
        ("วันเกิด 12 มีนาคม พ.ศ. 2527", [("date_of_birth", "12 มีนาคม พ.ศ. 2527")]),
        ("जन्म तिथि: 12 मार्च 1984", [("date_of_birth", "12 मार्च 1984")]),
        ("تاريخ الميلاد: 12 مارس 1984", [("date_of_birth", "12 مارس 1984")]),
        ("doğum tarihi 12 Mart 1984", [("date_of_birth", "12 Mart 1984")]),
        ("nacido el 12 de marzo de 1984", [("date_of_birth", "12 de marzo de 1984")]),
        ("رقم الهاتف: ٠٥٠١٢٣٤٥٦٧", [("phone", "٠٥٠١٢٣٤٥٦٧")]),
    ],
)
def test_letters_of_scripts_without_blanks_end_a_number(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("Steuer-ID: 12 345 678 902", "tax_id", "12 345 678 902"),
        ("AHV-Nr. 756.1234.5678.90", "national_id", "756.1234.5678.90"),
        ("Aadhaar: 1234 5678 9012", "national_id", "1234 5678 9012"),
        ("My SIN is 123 456 789.", "national_id", "123 456 789"),
        ("NASS: 33 4568642 23", "medical_id", "33 4568642 23"),
        ("phone: 1245319599", "phone", "1245319599"),  # it passes the check digit of an NPI
        ("patient id: P4455667", "medical_id", "P4455667"),
    ],
)
def test_a_label_decides_and_check_digits_do_not(text: str, kind: str, value: str) -> None:
    assert found(text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "account balance: 1234567",
        "password_hash_rounds: 120000",
        '{"phone_verified": 1234567}',
        "hemoglobina 10,1 g/dl, leucocitos 4.890",
        "<employee_id></employee_id><amount>1234567</amount>",
        "The call cost 120000 USD.",
        "PIN 1 is ground, pin 13 is the clock",
        "passport control opens at 10:30",
    ],
)
def test_other_things_that_begin_with_a_label_are_left_alone(text: str) -> None:
    assert found(text) == []


def test_each_value_of_a_list_is_hidden() -> None:
    text = json.dumps({"phones": ["2125550147", "6465550188"], "other": ["2125550147 "]})
    assert [value for _, value in found(text)][:2] == ["2125550147", "6465550188"]


@settings(max_examples=60)
@given(st.text(alphabet="ab1 .@\n", max_size=40))
def test_matches_are_those_of_the_package_re2(text: str) -> None:
    for pattern in ("a+b?", r"\d|@", "a*", r"\ba", "(a)(b)?"):
        expected = [match.span() for match in re2.finditer(pattern.encode(), text.encode())]
        assert list(compile_re2(pattern).find_spans(text.encode())) == expected
        assert compile_re2(pattern).is_in(text.encode()) == bool(expected)
