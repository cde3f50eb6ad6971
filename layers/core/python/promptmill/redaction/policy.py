"""Apply a recipe's policy: which detectors search, and which of their spans count (types, scores, permitted values).

The line that a job leaves for auditors tells what the policy was.
"""

from __future__ import annotations

import hashlib
import hmac
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from promptmill.domain.errors import PromptmillError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction.spans import Detector, Search, Span, unite

if TYPE_CHECKING:
    from promptmill.redaction.patterns.structured import StructuredDetector

WHOLE_FIELD = "field"
"""The type of a text that is redacted as a whole because of the field that it stands in."""
MASK = "****"
BUILT_IN = "structured"
DETECTOR_VERSION = "structured-5"
"""This changes whenever the same text may give other spans. A job's manifest holds it."""
DETECTOR_VERSIONS = {BUILT_IN: DETECTOR_VERSION, "ner": "rampart-1.4.0/1", "comprehend": "2017-11-27/1"}
"""The version of a model or of a service's interface, a slash, and the version of our reading of its answers."""
_HASH_DIGITS = 10**15


class DetectorMissingError(PromptmillError):
    """A policy asks for a detector that is not there."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the detector {name} is not deployed here")


def external_detectors(policy: RedactionPolicy) -> tuple[str, ...]:
    """Return the names of the policy's detectors that are not built in: models and services."""
    return tuple(name for name in policy.engines if name != BUILT_IN)


def make_detector(policy: RedactionPolicy, others: Detector | None = None) -> CombinedDetector:
    """Return all detectors of a policy as one. ``others`` stands for those that are not built in.

    Raises:
        DetectorMissingError: the policy wants others and none are given. Nothing may be sent without them.
    """
    if external_detectors(policy) and others is None:
        raise DetectorMissingError(external_detectors(policy)[0])
    return CombinedDetector(policy, others)


def make_built_in_detector(policy: RedactionPolicy) -> CombinedDetector:
    """Return the built-in detectors of a policy as one, without models: those take every identifier for a name."""
    return CombinedDetector(policy)


class FoundBefore(Struct, frozen=True):
    """A ``Detector`` for texts that were searched beforehand. An unknown text is an error."""

    spans: dict[str, list[Span]]

    def find(self, text: str) -> list[Span]:
        return self.spans[text]


@cache
def _load_structured_detector() -> StructuredDetector:
    from promptmill.redaction.patterns.structured import StructuredDetector  # noqa: PLC0415 (patterns take a while)

    return StructuredDetector()


@lru_cache(maxsize=1024)
def names_a_type(name: str) -> bool:
    """Return True if the name of a column is a label, or holds one."""
    from promptmill.redaction.patterns.folded_text import FoldedText  # noqa: PLC0415 (patterns take a while)
    from promptmill.redaction.patterns.labels import find_labels  # noqa: PLC0415

    return bool(find_labels(FoldedText(name)))


class CombinedDetector:
    """All detectors of a policy as one, with the operator's own patterns."""

    def __init__(self, policy: RedactionPolicy, others: Detector | None = None) -> None:
        self._built_in = _load_structured_detector() if BUILT_IN in policy.engines else None
        self._others, self._policy = others, policy

    def find(self, text: str) -> list[Span]:
        return self.search(text).spans

    def search(self, text: str) -> Search:
        """Return what all find, and the doubts of the patterns. Any error means that nothing is known about the text."""
        found = self._built_in.search(text) if self._built_in else Search([])
        added = [*(self._others.find(text) if self._others else ()), *_find_own(text, self._policy)]
        if not all(0 <= span.start < span.end <= len(text) for span in added):
            raise ValueError("a detector's span lies outside of its text")
        return Search(unite([*found.spans, *added]), found.doubts) if added else found


def select_doubts(search: Search, spans: Sequence[Span], policy: RedactionPolicy) -> list[Span]:
    """Return the doubts of types that the policy wants replaced, where nothing is replaced."""
    starts = [span.start for span in spans]
    return [
        doubt
        for doubt in search.doubts
        if doubt.type in policy.types
        and policy.actions.get(doubt.type) != "keep"
        and not ((last := bisect_left(starts, doubt.end)) and spans[last - 1].end > doubt.start)
    ]


def select_spans(spans: Sequence[Span], text: str, policy: RedactionPolicy) -> list[Span]:
    """Return the spans that the policy wants replaced."""
    types = {*policy.types, *(pattern.name for pattern in policy.patterns)}
    return [
        span
        for span in spans
        if span.type in types
        and span.score >= policy.min_score
        and policy.actions.get(span.type) != "keep"
        and not (policy.allow and _is_allowed(text[span.start : span.end], policy))
    ]


def hash_number(value: str, salt: str) -> int:
    """Return a number for a value: the same on all workers, and not to be looked up without the salt."""
    digest = hmac.new(salt.encode(), value.encode(errors="surrogatepass"), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big") % _HASH_DIGITS


def policy_hash(policy: RedactionPolicy) -> str:
    """Return a hash that is the same for the same policy, for audits. It tells nothing of the salt."""
    shown = msgspec.structs.replace(policy, salt="set" if policy.salt else "")
    return hashlib.sha256(msgspec.json.encode(shown, order="deterministic")).hexdigest()[:12]


def _find_own(text: str, policy: RedactionPolicy) -> list[Span]:
    if not policy.patterns:
        return []
    searched = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    found = []
    for own in policy.patterns:
        for match in _compiled(own.pattern).finditer(searched):
            start, end = match.span(1 if match.re.groups and match.span(1) != (-1, -1) else 0)
            if start < end:
                found.append(Span(start, end, own.name, own.score, own.name))
    return found


def _is_allowed(value: str, policy: RedactionPolicy) -> bool:
    words, patterns = _read_allow_list(policy.allow)
    if value.strip().casefold() in words:
        return True
    return any(_compiled(pattern).fullmatch(value.encode(errors="replace").decode()) for pattern in patterns)


@cache
def _read_allow_list(allow: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...]]:
    patterns = tuple(entry[1:-1] for entry in allow if is_pattern(entry))
    return frozenset(entry.casefold() for entry in allow if not is_pattern(entry)), patterns


def is_pattern(entry: str) -> bool:
    return len(entry) > 2 and entry.startswith("/") and entry.endswith("/")  # noqa: PLR2004 (two slashes)


@cache
def _compiled(pattern: str) -> Any:
    """Compile an RE2 pattern, or raise re2's error. All are kept: recipes hold few."""
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    return re2.compile(pattern)


def pattern_fault(pattern: str) -> str:
    """Return what is wrong with an RE2 pattern, "" if nothing is."""
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        return reason.decode() if isinstance(reason, bytes) else str(reason)
    return "the pattern matches the empty text" if compiled.fullmatch("") else ""


def make_audit_line(
    policy: RedactionPolicy,
    counts: Mapping[str, int],
    *,
    attachments: str,
    searches: Mapping[str, int] | None = None,
    unrestored: Mapping[str, int] | None = None,
    doubts: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return what an auditor asks about a job: what was looked for, by which detectors, and how often it was found.

    No value is in it. ``searches`` counts calls of services and the text units that they charge for. ``unrestored`` counts
    placeholders in answers that stand for nothing, by type. ``doubts`` counts labels with something behind them that was not
    replaced.
    """
    return {
        "types": list(policy.types),
        "engines": {name: _version(name, policy) for name in policy.engines},
        "policy": policy_hash(policy),
        "restore": policy.restore,
        "attachments": "refused" if attachments == "refuse" else "passed unredacted",
        "redacted": dict(sorted(counts.items())),
        **({"searches": dict(sorted(searches.items()))} if searches else {}),
        **({"unrestored": dict(sorted(unrestored.items()))} if unrestored else {}),
        **({"labels_without_value": dict(sorted(doubts.items()))} if doubts else {}),
    }


def _version(name: str, policy: RedactionPolicy) -> str:
    if name == "guardrail":
        return f"{policy.guardrail.id}:{policy.guardrail.version}"
    return DETECTOR_VERSIONS[name]
