"""A request without what must not leave."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

from msgspec import Struct, field

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import RecordError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction.hiding import Hider, Repeats
from promptmill.redaction.json_text import is_json, rewrite_literals
from promptmill.redaction.placeholders import Placeholders, find_slots
from promptmill.redaction.policy import (
    WHOLE_FIELD,
    DetectorMissingError,
    FoundBefore,
    make_built_in_detector,
    make_detector,
    select_spans,
)
from promptmill.redaction.request_text import rewrite_request
from promptmill.redaction.spans import Detector, Span, unite

DETECTOR_VERSION = "structured-3"
"""Changes whenever the same text may give other spans; a job's manifest holds it."""

_FEWEST_DIGITS = 7
_MAX_HINT = 40
_SAY_NOTHING = frozenset(
    ("content", "text", "note", "notes", "comment", "input", "output", "value", "body", "message", "messages", "prompt", "data",
     "description", "summary", "title", "arguments", "query", "question", "answer", "system", "user")
)  # fmt: skip
"""Keys that say nothing of what stands under them."""
_BETWEEN = "\n\0\n"
"""Stands between two texts: nothing that is looked for has it in it."""

Leaf = tuple[str, str]
"""A text and the key it stands under."""


class Redacted(Struct, frozen=True):
    """What may be sent.

    Attributes:
        map: placeholder → value. Lives in memory only: never stored, never logged.
        counts: replacements made, by type.
    """

    request: CompletionRequest
    map: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Redacted(counts={self.counts})"


def redact_request(request: CompletionRequest, policy: RedactionPolicy, others: Detector | None = None) -> Redacted:
    """Placeholders for every value of the policy's types, the same one wherever a value recurs.

    ``others``: see ``make_detector``. Those that take their time search the request's ``collect_text`` beforehand.

    Raises:
        RecordError: the request can't be made safe, so it must not be sent (code ``redaction_failed``).
    """
    if not _is_wanted(policy):
        return Redacted(request)
    try:
        return _redact(request, policy, make_detector(policy, others))
    except RecordError:
        raise
    except DetectorMissingError as missing:
        reason = str(missing)
    except Exception as error:  # noqa: BLE001 (whatever it is, nothing may leave)
        reason = f"the search for sensitive data ended in {type(error).__name__}"
    raise _failed(reason)  # outside of the handler: the error itself may quote the text, and is not carried along


def collect_text(request: CompletionRequest, policy: RedactionPolicy) -> str:
    """What engines that are not built in are asked about a request; "" for nothing."""
    if not _is_wanted(policy):
        return ""
    finder = _Search(FoundBefore({}), policy)
    rewrite_request(request, finder)
    return finder.joined()


def _is_wanted(policy: RedactionPolicy) -> bool:
    return bool(policy.types or policy.patterns or policy.whole)


def _redact(request: CompletionRequest, policy: RedactionPolicy, engine: Detector) -> Redacted:
    finder = _Search(engine, policy)
    rewrite_request(request, finder)
    finder.search()
    if finder.repeats is None:
        return Redacted(request)
    if refused := {kind for kind in finder.values.values() if policy.actions.get(kind) == "refuse"}:
        raise _refused_error(refused)
    placeholders = Placeholders(find_slots(finder.texts, set(finder.values.values())), policy.actions, policy.salt)
    hider = Hider(finder.repeats, placeholders)
    hidden = rewrite_request(request, _Rewriter(hider, finder))
    return Redacted(hidden, placeholders.values, dict(hider.counts))


class _Search:
    """Reads every text, changing nothing, and then searches all of them in one go: an engine's call has its price."""

    def __init__(self, engine: Detector, policy: RedactionPolicy) -> None:
        self.values: dict[str, str] = {}
        self.texts: list[str] = []
        self.spans: dict[Leaf, list[Span]] = {}
        self.repeats: Repeats | None = None
        self._engine, self._policy, self._fixed = engine, policy, dict[str, None]()
        self._skipped, self._whole = frozenset(policy.skip), frozenset(policy.whole)
        self._wholes: list[Leaf] = []

    def text(self, text: str, key: str = "") -> str:
        self.texts.append(text)
        if key in self._whole and text:
            self._wholes.append((text, key))
        if is_json(text) and key not in self._whole:
            rewrite_literals(text, self.text, self.text, self.number)
        elif text and key not in self._skipped:
            self.spans[text, key] = []
        return text

    def number(self, token: str, key: str = "") -> str:
        if key in self._whole:
            self._wholes.append((token, key))
        if key in self._whole or (_may_be_personal(token) and key not in self._skipped):
            self.spans[token, key] = []
        return token

    def fixed(self, text: str) -> None:
        if text:
            self.texts.append(text)
            self._fixed[text] = None

    def joined(self) -> str:
        """Every text, with hints."""
        return _BETWEEN.join(self._hinted())

    def _hinted(self) -> list[str]:
        return [
            f"{key[-_MAX_HINT:]}: {text}" if key and key.lower() not in _SAY_NOTHING else text
            for text, key in self.spans
        ]

    def search(self) -> None:
        """Raises RecordError if a name holds a value."""
        for span in self._found_in(_BETWEEN.join(self._fixed), make_built_in_detector(self._policy)):
            raise _unreachable_error(span.type)
        joined = self.joined()
        ends = list(accumulate(len(text) + len(_BETWEEN) for text in self._hinted()))
        found = self._found_in(joined, self._engine)
        for (text, _), span in self._by_leaf(found, ends):
            self.values.setdefault(text[span.start : span.end], span.type)
        for text, _ in self._wholes:
            self.values[text] = WHOLE_FIELD
        if self.values:
            self.repeats = Repeats(self.values)
            for leaf, span in self._by_leaf(unite([*found, *self.repeats.find(joined)]), ends):
                self.spans[leaf].append(span)
            for text, key in self._wholes:
                self.spans[text, key] = [Span(0, len(text), WHOLE_FIELD, 1.0)]

    def _found_in(self, text: str, engine: Detector) -> list[Span]:
        return select_spans(engine.find(text), text, self._policy) if text else []

    def _by_leaf(self, spans: Iterable[Span], ends: list[int]) -> Iterator[tuple[Leaf, Span]]:
        """Each span's part in each leaf; what lies in a hint or between two leaves is nothing of the request's."""
        leaves = list(self.spans)
        for span in spans:
            for number in range(bisect_right(ends, span.start), bisect_left(ends, span.end) + 1):
                text = leaves[number][0]
                begins = ends[number] - len(_BETWEEN) - len(text)
                start, end = max(0, span.start - begins), min(len(text), span.end - begins)
                if start < end:
                    yield leaves[number], Span(start, end, span.type, span.score)


class _Rewriter:
    """Writes every text anew."""

    def __init__(self, hider: Hider, finder: _Search) -> None:
        self._hider, self._finder = hider, finder

    def text(self, text: str, key: str = "") -> str:
        if is_json(text) and (text, key) not in self._finder.spans:
            return self._hider.hide(rewrite_literals(text, self.text, self.text, self.number))
        return self._hider.hide(text, self._finder.spans.get((text, key)))

    def number(self, token: str, key: str = "") -> str:
        return self._hider.hide(token, self._finder.spans.get((token, key)))

    def fixed(self, text: str) -> None:
        for span in self._finder.repeats.find(text) if self._finder.repeats else ():
            raise _unreachable_error(span.type)


def _may_be_personal(token: str) -> bool:
    """Whether a number could be somebody's: long, or a latitude."""
    plain = token.lstrip("-")
    return (plain.isdigit() and len(plain) >= _FEWEST_DIGITS) or ("." in plain and len(plain) >= _FEWEST_DIGITS)


def _refused_error(kinds: Iterable[str]) -> RecordError:
    return RecordError(
        f"the record holds what the recipe refuses: {', '.join(sorted(kinds))}",
        code="redaction_refused",
        remedy="take it out of the record; it was not sent",
    )


def _unreachable_error(kind: str) -> RecordError:
    return _failed(
        f"a value of type {kind} is part of a name, a key or a permitted value, which can't be rewritten",
        remedy="take it out of there, or leave its type out of the recipe's redact.types",
    )


def _failed(reason: str, remedy: str = "") -> RecordError:
    return RecordError(reason, code="redaction_failed", remedy=remedy or "the record was not sent")
