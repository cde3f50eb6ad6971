"""Nothing that a file, a recipe or a provider says steers a terminal."""

from __future__ import annotations

import io
import json

import pytest

from promptmill.cli.output import Output, printable
from promptmill.domain.errors import RecipeError, UserError
from promptmill.recipes.recipe_document import parse_recipe

EVIL = ("\x1b[2J", "\x1b]0;own\x07", "\x9b31m", "\x7f", "\u202e", "\u2066", "\x00", "\r", "\u2028")


@pytest.mark.parametrize("evil", EVIL)
def test_texts_for_people_show_it_and_json_keeps_it_as_an_escape(evil: str) -> None:
    assert not set(evil) & set(printable(f"a{evil}b")) & set("\x1b\x07\x9b\x7f\u202e\u2066\x00\r\u2028")
    file = io.StringIO()
    Output(as_json=True, file=file).document({"name": evil})
    assert evil[0] not in file.getvalue()
    assert json.loads(file.getvalue()) == {"name": evil}
    error = UserError(f"a{evil}", code="c", where=evil, remedy=evil)
    assert evil[0] not in error.message


def test_a_recipe_with_escapes_in_its_keys_is_refused_in_plain_text() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe("r", '"\\e[2J\\e]0;own\\a": 1\n', stage="prod")
    assert "\x1b" not in caught.value.message
