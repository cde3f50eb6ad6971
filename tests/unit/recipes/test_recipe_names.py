"""Names of recipes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain import layout
from promptmill.domain.names import did_you_mean, nearest, valid_name
from promptmill.domain.provider_table import PROVIDERS


@pytest.mark.parametrize("name", ["a", "reviews", "openai-to-bedrock", "r2_d2", "0", "a" * 64])
def test_valid_names(name: str) -> None:
    assert valid_name(name)


@pytest.mark.parametrize("name", ["", "A", "a" * 65, "-a", "a-", "_a", "a b", "a/b", "..", "a.b", "é", "a\n"])
def test_invalid_names(name: str) -> None:
    assert not valid_name(name)


def test_the_default_recipe_has_a_valid_name() -> None:
    assert valid_name(layout.DEFAULT_RECIPE)


def test_nearest_ignores_case_and_comes_in_order() -> None:
    assert nearest("Reviws", ["default", "reviews", "review-2"]) == ["reviews", "review-2"]
    assert nearest("REVIEWS", ["reviews"]) == ["reviews"]
    assert nearest("zzz", ["reviews"]) == []
    assert did_you_mean("zzz", ["reviews"]) == ""
    assert did_you_mean("reviwes", ["reviews"]) == "did you mean reviews?"


def test_names_that_differ_by_case_only_come_once() -> None:
    assert nearest("Text", ["TEXT", "text"]) in (["TEXT"], ["text"])


@given(st.text(max_size=300), st.lists(st.text(max_size=150), max_size=6))
def test_what_is_near_was_there(name: str, names: list[str]) -> None:
    found = nearest(name, names)
    assert set(found) <= set(names)
    assert len(found) <= 3


def test_every_provider_is_listed_by_its_name() -> None:
    assert {name: provider.name for name, provider in PROVIDERS.items()} == {name: name for name in PROVIDERS}
    assert [name for name, provider in PROVIDERS.items() if provider.local_only] == ["local"]
