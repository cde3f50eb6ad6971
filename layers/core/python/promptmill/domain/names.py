"""Names of recipes, and suggestions for misspelt names."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_MAX_COMPARED = 100
_LIKE_ENOUGH = 0.6


def valid_name(name: str) -> bool:
    """Return whether a name is safe as a folder and a key: at most 64 of a-z, 0-9, ``-`` and ``_``, these two not at an end."""
    return _NAME.fullmatch(name) is not None


def nearest(name: str, names: Iterable[str], *, limit: int = 3) -> list[str]:
    """Return at most ``limit`` of ``names`` that ``name`` may stand for, the nearest first. Case makes no difference."""
    from difflib import get_close_matches  # noqa: PLC0415 (only needed once something is wrong)

    by_folded = {other.casefold(): other for other in sorted(names, reverse=True) if len(other) <= _MAX_COMPARED}
    wanted = name[:_MAX_COMPARED].casefold()
    return [by_folded[found] for found in get_close_matches(wanted, sorted(by_folded), n=limit, cutoff=_LIKE_ENOUGH)]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ``did you mean a or b?``, or "" if no name is near."""
    near = nearest(name, names)
    return f"did you mean {' or '.join(near)}?" if near else ""
