"""YAML, as far as recipes may use it."""

from __future__ import annotations

from decimal import Decimal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from promptmill.recipes.yaml_document import MAX_BYTES, Document, path_text, read_yaml


def reasons(text: str | bytes) -> list[tuple[str, str, int]]:
    return [(problem.path, problem.reason, problem.line) for problem in read_yaml(text).problems]


def test_values_and_their_lines() -> None:
    document = read_yaml("a: 1\nb:\n  - x\n  - c: 2.50\n    d: [yes, null, 2026-11-22, '3']\n")
    assert document.data == {"a": 1, "b": ["x", {"c": Decimal("2.50"), "d": [True, None, "2026-11-22", "3"]}]}
    assert str(document.data["b"][1]["c"]) == "2.50"
    assert document.lines["b", 1, "c"] == 4
    assert document.problems == ()


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**12, places=12))
def test_no_digit_is_lost(number: Decimal) -> None:
    assert format(read_yaml(f"a: {number:f}").data["a"], "f") == f"{number:f}"


@pytest.mark.parametrize("written", ["0x1f", "017", "1_000", "1:30", ".inf", ".nan", "1" * 60])
def test_numbers_that_are_read_in_many_ways_are_refused(written: str) -> None:
    assert "no plain number" in reasons(f"a: {written}")[0][1]


def test_a_key_that_is_there_twice() -> None:
    assert reasons("a: 1\nb: {c: 1, c: 2}\na: 2\n") == [
        ("b.c", "the key is there twice", 2),
        ("a", "the key is there twice", 3),
    ]


@pytest.mark.parametrize("key", ["1", "true", "no", "null", "2.5", "? [a]\n"])
def test_a_key_that_is_not_text(key: str) -> None:
    assert "not text" in reasons(f"{key}: x")[0][1]


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.system [ls]", "a: !own {b: 1}", "a: !!set {b}", "a: !!binary aGk=", "a: !x y"]
)
def test_tags_are_refused_and_do_nothing(text: str) -> None:
    assert "is not supported" in reasons(text)[0][1]


def test_aliases_work() -> None:
    assert read_yaml("a: &x {b: 1}\nc: *x").data == {"a": {"b": 1}, "c": {"b": 1}}


def test_a_bomb_of_aliases_is_not_unfolded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "aliases counted in full" in reasons("\n".join(lines))[0][1]


@pytest.mark.parametrize("text", ["a: &a [*a]", "[" * 60 + "]" * 60, "[" * 50_000, "{a: " * 5_000])
def test_endless_depth_is_refused(text: str) -> None:
    assert reasons(text)
    assert read_yaml(text).data is None


def test_size_is_limited() -> None:
    assert "256 KiB" in reasons(b"a: " + b"x" * MAX_BYTES)[0][1]
    assert not reasons(b"a: " + b"x" * (MAX_BYTES - 3))


@pytest.mark.parametrize("text", [b"\xff\xfea", b"a: \xe9", "a: \ud800"])
def test_what_is_not_utf_8(text: str | bytes) -> None:
    assert reasons(text) == [("", "the document is not UTF-8", 0)]


def test_a_byte_order_mark_is_no_part_of_the_document() -> None:
    assert read_yaml(b"\xef\xbb\xbfa: 1").data == {"a": 1}


def test_a_syntax_error_names_its_line() -> None:
    assert reasons("a: 1\nb: [1\n")[0][2] == 3


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_nothing_at_all(text: str) -> None:
    assert read_yaml(text).data is None


def test_two_documents_are_one_too_many() -> None:
    assert reasons("a: 1\n---\nb: 2\n")


def test_paths() -> None:
    assert path_text(("routes", 1, "price", "input")) == "routes[1].price.input"
    assert path_text(()) == ""


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_data_reads_back(data: object) -> None:
    written = yaml.safe_dump(data)
    document = read_yaml(written)
    assert document == Document(data, document.lines, ())


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    document = read_yaml(text)
    assert document.data is None or document.lines
