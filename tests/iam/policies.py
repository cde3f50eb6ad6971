"""Evaluate IAM policies as AWS documents it.

An explicit deny wins; else one allow is enough, by the identity's own policies or, within an account, by the
resource's policy. A permissions boundary has to allow as well. What a policy says that is not known here is an error,
never passed over. Source: IAM User Guide, "Policy evaluation logic" and "Condition operators", read on 2026-11-28.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import Struct


class Request(Struct, frozen=True):
    """One action on one resource, with the context keys that conditions may ask for."""

    action: str
    resource: str
    context: frozenset[tuple[str, str]] = frozenset()

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


class Statement(Struct, frozen=True):
    """One statement. ``principals`` is None in an identity's own policy, which applies to that identity."""

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: Mapping[str, Mapping[str, tuple[str, ...]]] = {}
    principals: tuple[str, ...] | None = None

    def applies_to(self, request: Request, principal: str) -> bool:
        return (
            (self.principals is None or any(matches(p, principal) for p in self.principals))
            and any(matches(a.lower(), request.action.lower()) for a in self.actions)
            and any(matches(r, request.resource) for r in self.resources)
            and all(_holds(op, keys, dict(request.context)) for op, keys in self.conditions.items())
        )


def read_statements(document: Mapping[str, Any]) -> list[Statement]:
    """Read a policy document whose references are resolved."""
    return [_read_statement(s) for s in _as_list(document["Statement"])]


def is_allowed(
    request: Request,
    principal: str,
    *,
    identity: Iterable[Statement],
    resource: Iterable[Statement] = (),
    boundary: Sequence[Statement] | None = None,
) -> bool:
    """Return True if the principal may make the request."""
    own = [s for s in identity if s.applies_to(request, principal)]
    theirs = [s for s in resource if s.applies_to(request, principal)]
    limits = [s for s in boundary or () if s.applies_to(request, principal)]
    if any(s.effect == "Deny" for s in (*own, *theirs, *limits)):
        return False
    is_within = boundary is None or any(s.effect == "Allow" for s in limits)
    return is_within and any(s.effect == "Allow" for s in (*own, *theirs))


@cache
def _pattern(wildcard: str) -> re.Pattern[str]:
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in wildcard)
    return re.compile("".join(parts), re.DOTALL)


def matches(wildcard: str, text: str) -> bool:
    """Match a whole text against a pattern of ``*`` and ``?``, which may span any characters."""
    return _pattern(wildcard).fullmatch(text) is not None


def _read_statement(statement: Mapping[str, Any]) -> Statement:
    known = {"Sid", "Effect", "Action", "Resource", "Condition", "Principal"}
    if unknown := statement.keys() - known:
        raise ValueError(f"not known to this evaluator: {sorted(unknown)}")
    conditions = {
        operator: {key: tuple(str(v) for v in _as_list(values)) for key, values in keys.items()}
        for operator, keys in statement.get("Condition", {}).items()
    }
    return Statement(
        statement["Effect"],
        tuple(_as_list(statement["Action"])),
        tuple(_as_list(statement.get("Resource", "*"))),
        conditions,
        _read_principals(statement["Principal"]) if "Principal" in statement else None,
    )


def _read_principals(principal: Any) -> tuple[str, ...]:
    if isinstance(principal, str):
        return (principal,)
    return tuple(name for names in principal.values() for name in _as_list(names))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, found: wanted == found,
    "StringLike": matches,
    "ArnLike": matches,
    "ArnEquals": matches,
    "Bool": lambda wanted, found: wanted.lower() == found.lower(),
    "NumericLessThan": lambda wanted, found: float(found) < float(wanted),
}


def _holds(operator: str, keys: Mapping[str, tuple[str, ...]], context: Mapping[str, str]) -> bool:
    """Return True if the condition holds for all of its keys. A key that the request lacks fulfils ``Null`` only."""
    if operator == "Null":
        return all((key not in context) == (values == ("true",)) for key, values in keys.items())
    for_all, _, name = operator.rpartition(":")
    compare = _COMPARISONS[name]
    if for_all == "ForAllValues":  # true as well where the request does not have the key
        return all(key not in context or any(compare(v, context[key]) for v in values) for key, values in keys.items())
    if for_all:
        raise KeyError(operator)
    return all(key in context and any(compare(v, context[key]) for v in values) for key, values in keys.items())
