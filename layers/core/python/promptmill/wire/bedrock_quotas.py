"""Read what an account may do with one model of Amazon Bedrock from the names and values of Service Quotas.

Quotas name models as people do (``Claude 3.5 Sonnet v2``), and recipes by ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from promptmill.wire.batches.terms import MB, BatchTerms

_GB = 1_000 * MB
_ASIDE = re.compile(r"\s*\([^)]*\)")
_MINIMUM, _MAXIMUM = "minimum number of records per batch inference job", "records per batch inference job"
_SIZE = "batch inference job size"
_AT_ONCE = "sum of in-progress and submitted batch inference jobs using a base model"
_OF_BATCHES = re.compile(rf"(?P<kind>{_MINIMUM}|{_MAXIMUM}|{_SIZE}|{_AT_ONCE}) for (?P<model>.+)", re.IGNORECASE)
_OF_CALLS = (
    r"(?P<kind>{way} (?:requests|tokens) per (?:minute|day)|model invocation max tokens per day) for (?P<model>.+)"
)
_WAYS = {"": "on-demand model inference", "global": "global cross-region model inference"}
_ACROSS_REGIONS = "cross-region model inference"
_WORD = re.compile(r"[a-z0-9]+")
_FIRST_VERSION = re.compile(r" v1$", re.IGNORECASE)
"""Ids of newer models do not say it, and their quotas do."""
_DATE = re.compile(r"20\d{6}")
_FURTHER_VERSION = re.compile(r"\d{1,2}")


class ModelQuotas(Struct, frozen=True):
    """What an account may do with one model, as it is called. None stands for what no quota names."""

    requests_a_minute: float | None = None
    tokens_a_minute: float | None = None
    tokens_a_day: float | None = None
    batches_at_once: float | None = None
    min_batch_records: float | None = None
    max_batch_records: float | None = None


def find_model_quotas(quotas: Iterable[tuple[str, float]], model: str, *, profile: str = "") -> ModelQuotas:
    """Return the quotas of a model.

    ``profile``: what its inference profile begins with, as ``eu`` or ``global``; "" if it is called in its own region.
    """
    known = list(quotas)
    way = _WAYS.get(profile, _ACROSS_REGIONS)
    calls = _find_values(re.compile(_OF_CALLS.format(way=way), re.IGNORECASE), known, model)
    batches = _find_values(_OF_BATCHES, known, model)
    return ModelQuotas(
        requests_a_minute=calls.get(f"{way} requests per minute"),
        tokens_a_minute=calls.get(f"{way} tokens per minute"),
        tokens_a_day=calls.get(f"{way} tokens per day", calls.get("model invocation max tokens per day")),
        batches_at_once=batches.get(_AT_ONCE),
        min_batch_records=batches.get(_MINIMUM),
        max_batch_records=batches.get(_MAXIMUM),
    )


def terms_by_quotas(terms: BatchTerms, quotas: Iterable[tuple[str, float]], model: str) -> BatchTerms:
    """Return the terms of a model. A quota that names none of this kind changes nothing."""
    told = ((name, value) for name, value in quotas if value > 0)
    return _with_values(terms, _find_values(_OF_BATCHES, told, model))


def _find_values(pattern: re.Pattern[str], quotas: Iterable[tuple[str, float]], model: str) -> dict[str, float]:
    """Return the values of the quotas of a model by their kinds.

    Of several names that fit (``Claude 3.5 Sonnet`` and ``Claude 3.5 Sonnet v2``), the longest one holds.
    """
    found: dict[str, tuple[int, float]] = {}
    words = _words_of(model)
    for name, value in quotas:
        match = pattern.fullmatch(_ASIDE.sub("", name))
        if match is None:
            continue
        kind, length = match["kind"].lower(), _fit(_FIRST_VERSION.sub("", match["model"]), words)
        if length > found.get(kind, (0, 0.0))[0]:
            found[kind] = (length, value)
    return {kind: value for kind, (_, value) in found.items()}


def _with_values(terms: BatchTerms, values: Mapping[str, float]) -> BatchTerms:
    least = values.get(_MINIMUM, terms.min_lines)
    most = values.get(_MAXIMUM, terms.max_lines)
    size = values.get(_SIZE, terms.max_bytes / _GB)
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
