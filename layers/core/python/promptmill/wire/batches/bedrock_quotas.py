"""Read what Amazon Bedrock lets a batch of one model be from the names and values of Service Quotas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from promptmill.wire.batches.terms import MB, BatchTerms

_GB = 1_000 * MB
_UNIT = re.compile(r"\s*\(in GB\)")
_NAME = re.compile(
    r"(?P<kind>Minimum number of records per batch inference job|Records per batch inference job|Batch inference job size)"
    r" for (?P<model>.+)"
)
_WORD = re.compile(r"[a-z0-9]+")
_DATE = re.compile(r"20\d{6}")
_FURTHER_VERSION = re.compile(r"\d{1,2}")


def terms_by_quotas(terms: BatchTerms, quotas: Iterable[tuple[str, float]], model: str) -> BatchTerms:
    """Return the terms of a model. Quotas name models as people do, and one that names none of this kind changes nothing.

    Of several names that fit (``Claude 3.5 Sonnet`` and ``Claude 3.5 Sonnet v2``), the longest one holds.
    """
    found: dict[str, tuple[int, float]] = {}
    words = _words_of(model)
    for name, value in quotas:
        match = _NAME.fullmatch(_UNIT.sub("", name))
        if match is None or value <= 0:
            continue
        length = _fit(match["model"], words)
        if length > found.get(match["kind"], (0, 0.0))[0]:
            found[match["kind"]] = (length, value)
    values = {kind: value for kind, (_, value) in found.items()}
    return _with_values(terms, values)


def _with_values(terms: BatchTerms, values: Mapping[str, float]) -> BatchTerms:
    least = values.get("Minimum number of records per batch inference job", terms.min_lines)
    most = values.get("Records per batch inference job", terms.max_lines)
    size = values.get("Batch inference job size", terms.max_bytes / _GB)
    return replace(terms, min_lines=int(least), max_lines=int(most), max_bytes=int(size * _GB))


def _words_of(model: str) -> list[str]:
    """Return the words of a model's id, of its ARN or of its inference profile, without dates and ``:0``."""
    words: list[str] = _WORD.findall(model.rpartition("/")[2].partition(":")[0].lower())
    return [word for word in words if not _DATE.fullmatch(word)]


def _fit(name: str, words: list[str]) -> int:
    """Return how many letters of a name for people stand in the words of an id, 0 if it is another model's name."""
    wanted = "".join(_WORD.findall(name.lower()))
    for start in range(len(words)):
        joined = ""
        for end in range(start, len(words)):
            joined += words[end]
            # ``Claude Sonnet 4`` is not the name of claude-sonnet-4-5.
            goes_on = end + 1 < len(words) and _FURTHER_VERSION.fullmatch(words[end + 1])
            if joined == wanted and not goes_on:
                return len(wanted)
            if len(joined) >= len(wanted):
                break
    return 0
