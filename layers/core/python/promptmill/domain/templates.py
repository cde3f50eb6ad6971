"""Prompt templates: ``{{ name }}`` stands for a column, every other brace for itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

from promptmill.domain.errors import RecordError
from promptmill.domain.names import did_you_mean

_SLOT = re.compile(r"\{\{([^{}\n]{1,300})\}\}")
_OPENING = "{{"
_NAMES_SHOWN = 20


def template_names(template: str) -> tuple[str, ...]:
    """Return the names that a template uses, each once, in order."""
    return tuple(dict.fromkeys(match[1].strip() for match in _SLOT.finditer(template) if match[1].strip()))


def template_fault(template: str) -> str:
    """Return what is wrong with a template, or "" if nothing is."""
    rest = _SLOT.sub(lambda match: "" if match[1].strip() else _OPENING, template)
    if _OPENING in rest:
        return "a {{ is not followed by a name and }}"
    return ""


def render_template(template: str, values: Mapping[str, str]) -> str:
    """Replace each name by its value, in one pass, so that a value is never read as a template.

    Raises:
        RecordError: there is no such name (code ``unknown_column``).
    """

    def value_of(match: re.Match[str]) -> str:
        name = match[1].strip()
        return _value(name, values) if name else match[0]

    return _SLOT.sub(value_of, template)


def fold_name(name: str) -> str:
    """Return a column's name without what makes no difference: letter case, and spaces around and within it."""
    return " ".join(name.casefold().split())


def find_value(name: str, values: Mapping[str, str]) -> str | None:
    """Return the value of that name, or else of the one that differs in letter case and spaces only, or None."""
    if name in values:
        return values[name]
    folded = fold_name(name)
    return next((value for column, value in values.items() if fold_name(column) == folded), None)


def _value(name: str, values: Mapping[str, str]) -> str:
    found = find_value(name, values)
    if found is not None:
        return found
    known = ", ".join(list(values)[:_NAMES_SHOWN])
    hint = did_you_mean(name, values)
    raise RecordError(
        f"the prompt uses {{{{ {name} }}}}, and the columns are {known or 'none'}" + (f"; {hint}" if hint else ""),
        code="unknown_column",
        field=name,
        remedy="name the column in the file's header or change the recipe's prompt",
    )
