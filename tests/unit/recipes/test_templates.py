"""Templates of prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.errors import RecordError
from promptmill.domain.templates import render_template, template_fault, template_names


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{ text }}", "T"),
        ("{{text}}/{{  text  }}", "T/T"),
        ("{{ my column }} {{ größe }}", "M G"),
        ("no name, { text }, }} and {", "no name, { text }, }} and {"),
        ('{"a": {"b": {{ text }}}}', '{"a": {"b": T}}'),
        ("{{{ text }}}", "{T}"),
        ("", ""),
    ],
)
def test_names_are_replaced_and_nothing_else(template: str, rendered: str) -> None:
    assert render_template(template, {"text": "T", "my column": "M", "größe": "G"}) == rendered


def test_a_value_is_never_read_as_a_template() -> None:
    values = {"a": "{{ b }}", "b": "{{ a }} \\1 \\g<0>"}
    assert render_template("{{ a }}{{ b }}", values) == "{{ b }}{{ a }} \\1 \\g<0>"


def test_blanks_around_a_columns_name_do_not_matter() -> None:
    assert render_template("{{ text }}", {"id": "1", " text ": "T"}) == "T"
    assert render_template("{{ text }}", {" text": "other", "text": "T"}) == "T"


def test_an_unknown_column_is_named_with_its_nearest() -> None:
    with pytest.raises(RecordError) as caught:
        render_template("{{ reveiw }}", {"id": "secret 1", "review": "secret 2"})
    assert caught.value.code == "unknown_column"
    assert caught.value.field == "reveiw"
    assert "did you mean review?" in caught.value.message
    assert "secret" not in caught.value.message


def test_a_file_without_columns() -> None:
    with pytest.raises(RecordError, match="the columns are none"):
        render_template("{{ a }}", {})


def test_names_come_once_and_in_order() -> None:
    assert template_names("{{ b }} {{a}} {{ b }} {c} {{ }}") == ("b", "a")


@pytest.mark.parametrize("template", ["{{ text", "{{ text }", "{{ }}", "{{}}", "{{ a {{ b }}", "{{ two\nlines }}"])
def test_broken_templates(template: str) -> None:
    assert template_fault(template)


@pytest.mark.parametrize("template", ["", "plain", "{{ a }} }} {x}", '{"a": 1}', "{{{ a }}}"])
def test_sound_templates(template: str) -> None:
    assert not template_fault(template)


NAMES = st.text(st.characters(exclude_characters="{}\n", exclude_categories=["Cs", "Zs", "Cc"]), min_size=1, max_size=9)


@given(st.lists(st.tuples(NAMES, st.text()), min_size=1, max_size=5), st.text(st.characters(exclude_characters="{}")))
def test_what_stands_between_names_stays(pairs: list[tuple[str, str]], between: str) -> None:
    values = dict(pairs)
    template = between.join(f"{{{{ {name} }}}}" for name in values)
    assert not template_fault(template)
    assert template_names(template) == tuple(name.strip() for name in values)
    assert render_template(template, values) == between.join(values.values())
