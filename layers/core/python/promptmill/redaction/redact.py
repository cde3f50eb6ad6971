"""Redact a request, and restore its answer: placeholders take the place of values, and values that of placeholders."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Struct, field

from promptmill.domain.completion import Completion, CompletionRequest, ToolCall
from promptmill.domain.errors import RecordError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction.hiding import Hider, Repeats
from promptmill.redaction.json_text import is_json, rewrite_literals
from promptmill.redaction.placeholders import (
    Placeholders,
    Slot,
    find_slots,
    find_unknown_slots,
    read_slots,
    restore_exact_placeholders,
    restore_placeholders,
)
from promptmill.redaction.policy import (
    WHOLE_FIELD,
    CombinedDetector,
    DetectorMissingError,
    make_built_in_detector,
    make_detector,
    names_a_type,
    select_doubts,
    select_spans,
)
from promptmill.redaction.request_text import rewrite_request
from promptmill.redaction.spans import Detector, Search, Span, unite

_FENCED = re.compile(r"(?<=```json\n)[^`]*(?=\n\s{0,8}```)|(?<=```\n)[^`]*(?=\n\s{0,8}```)")
_MIN_DIGITS = 7
_MAX_HINT = 40
_SAY_NOTHING = frozenset(
    ("content", "text", "note", "notes", "comment", "input", "output", "value", "body", "message", "messages", "prompt", "data",
     "description", "summary", "title", "arguments", "query", "question", "answer", "system", "user")
)  # fmt: skip
"""Keys that say nothing about what stands under them."""
_IS_KEY = "\0"
"""The key of a text that is itself a key."""
_STRUCTURE = frozenset(("url", "ip", "mac", "coordinates", "date_of_birth", "phone", "password"))
"""What a key may look like without being anybody's: ``ghcr.io`` is the name of a section."""
_ROWS = re.compile(r"\[\s*\[")
_BETWEEN = "\n\0\n"
"""The separator of two texts: nothing that is looked for holds it."""

Leaf = tuple[str, str]
"""A text and the key that it stands under."""


class Redacted(Struct, frozen=True):
    """A request that may be sent.

    Attributes:
        map: values by their placeholders. It lives in memory only, and is never stored or logged.
        counts: replacements made, by type.
        doubts: labels with something behind them that was not replaced, by type.
    """

    request: CompletionRequest
    map: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Redacted(counts={self.counts})"


def redact_request(request: CompletionRequest, policy: RedactionPolicy, others: Detector | None = None) -> Redacted:
    """Replace every value of the policy's types by a placeholder, the same one wherever a value recurs.

    ``others``: see ``make_detector``. Slow ones search the text of ``collect_text`` beforehand (``FoundBefore``).

    Raises:
        RecordError: the request can't be made safe and must not be sent (code ``redaction_failed``).
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
    # Outside of the handler: the error may quote the text, and must not be carried along as the cause.
    raise _failed(reason)


def collect_text(request: CompletionRequest, policy: RedactionPolicy) -> str:
    """Return all texts of a request in one, for detectors that are not built in; "" if nothing is to be searched."""
    if not _is_wanted(policy):
        return ""
    search = _Search(CombinedDetector(policy), policy)
    search.read(request)
    return search.join_texts()


def _is_wanted(policy: RedactionPolicy) -> bool:
    return bool(policy.types or policy.patterns or policy.whole)


def _redact(request: CompletionRequest, policy: RedactionPolicy, detector: CombinedDetector) -> Redacted:
    search = _Search(detector, policy)
    search.read(request)
    search.search()
    if request.columns:
        request = msgspec.structs.replace(request, columns={})
    if search.repeats is None:
        return Redacted(request, doubts=search.doubts)
    if refused := {kind for kind in search.values.values() if policy.actions.get(kind) == "refuse"}:
        raise _refused_error(refused)
    placeholders = Placeholders(find_slots(search.texts, set(search.values.values())), policy.actions, policy.salt)
    hider = Hider(search.repeats, placeholders)
    hidden = rewrite_request(request, _Rewriter(hider, search))
    return Redacted(hidden, placeholders.values, dict(hider.counts), search.doubts)


class _Search:
    """Reads every text, changing nothing, and then searches all of them at once: each call of a detector has its price."""

    def __init__(self, detector: CombinedDetector, policy: RedactionPolicy) -> None:
        self.values: dict[str, str] = {}
        self.doubts: dict[str, int] = {}
        self.texts: list[str] = []
        self.spans: dict[Leaf, list[Span]] = {}
        self.repeats: Repeats | None = None
        self._detector, self._policy, self._fixed = detector, policy, dict[str, None]()
        self._skipped, self._whole = frozenset(policy.skip), frozenset(policy.whole)
        self._wholes: list[Leaf] = []
        self._tables: list[str] = []
        self._cells: set[str] = set()

    def read(self, request: CompletionRequest) -> None:
        """Read a request, and the cells in its prompt behind the columns that they come from, where these are labels."""
        rewrite_request(request, self)
        for column, cell in request.columns.items():
            if column in self._whole or names_a_type(column):
                self._cells.add(cell)
                self.text(cell, column)

    def text(self, text: str, key: str = "") -> str:
        self.texts.append(text)
        if key in self._whole and text:
            self._wholes.append((text, key))
        if is_json(text) and key not in self._whole:
            rewrite_literals(text, self.text, self.key, self.number)
            if _ROWS.search(text):
                self._tables.append(text)
        elif text and key not in self._skipped:
            self.spans[text, key] = []
        return text

    def key(self, text: str, _: str) -> str:
        return self.text(text, _IS_KEY)

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

    def join_texts(self) -> str:
        """Return every text in one, each behind the key that it stands under if the key says something."""
        return _BETWEEN.join(self._texts_with_hints())

    # A key such as "phone" is a word beside a number, as a sentence has it: without it, the number would prove nothing.
    def _texts_with_hints(self) -> list[str]:
        return [
            f"{key[-_MAX_HINT:]}: {text}" if key not in ("", _IS_KEY) and key.lower() not in _SAY_NOTHING else text
            for text, key in self.spans
        ]

    def search(self) -> None:
        """Raise RecordError if a name holds a value: it can't be rewritten."""
        for span in self._find_in(_BETWEEN.join(self._fixed), make_built_in_detector(self._policy)):
            raise _unreachable_error(span.type)
        joined = self.join_texts()
        ends = list(accumulate(len(text) + len(_BETWEEN) for text in self._texts_with_hints()))
        self._search_tables()
        search = self._detector.search(joined) if joined else Search([])
        found = [
            msgspec.structs.replace(span, type=self.values.get(joined[span.start : span.end], span.type))
            for span in select_spans(search.spans, joined, self._policy)
        ]
        for (text, _), span in self._split_by_leaf(found, ends):
            self.values.setdefault(text[span.start : span.end], span.type)
        for text, _ in self._wholes:
            self.values[text] = WHOLE_FIELD
        if self.values:
            self.repeats = Repeats(self.values, self._cells)
            found = unite([*found, *self.repeats.find(joined)])
            for leaf, span in self._split_by_leaf(found, ends):
                self.spans[leaf].append(span)
            for text, key in self._wholes:
                self.spans[text, key] = [Span(0, len(text), WHOLE_FIELD, 1.0)]
        self.doubts = dict(Counter(doubt.type for doubt in select_doubts(search, found, self._policy)))

    def _search_tables(self) -> None:
        """Find the values of rows in JSON, whose headings stand in another list and so in another text."""
        for table in self._tables:
            for span in self._find_in(table, make_built_in_detector(self._policy)):
                value = table[span.start : span.end]
                if span.rule.startswith("labelled") and "\\" not in value:
                    self.values.setdefault(value, span.type)

    def _find_in(self, text: str, detector: Detector) -> list[Span]:
        return select_spans(detector.find(text), text, self._policy) if text else []

    def _split_by_leaf(self, spans: Iterable[Span], ends: list[int]) -> Iterator[tuple[Leaf, Span]]:
        """Yield the part of each span that lies in a leaf. Hints and separators are not part of the request."""
        leaves = list(self.spans)
        for span in spans:
            for number in range(bisect_right(ends, span.start), bisect_left(ends, span.end) + 1):
                text = leaves[number][0]
                begins = ends[number] - len(_BETWEEN) - len(text)
                start, end = max(0, span.start - begins), min(len(text), span.end - begins)
                if start < end and not (leaves[number][1] == _IS_KEY and span.type in _STRUCTURE):
                    yield leaves[number], Span(start, end, span.type, span.score)


class _Rewriter:
    """Writes every text anew, with placeholders for its spans."""

    def __init__(self, hider: Hider, search: _Search) -> None:
        self._hider, self._search = hider, search

    def text(self, text: str, key: str = "") -> str:
        if is_json(text) and (text, key) not in self._search.spans:
            return self._hider.hide(rewrite_literals(text, self.text, self.key, self.number), ())
        return self._hider.hide(text, self._search.spans.get((text, key)))

    def key(self, text: str, _: str) -> str:
        return self.text(text, _IS_KEY)

    def number(self, token: str, key: str = "") -> str:
        return self._hider.hide(token, self._search.spans.get((token, key)))

    def fixed(self, text: str) -> None:
        for span in self._search.repeats.find(text) if self._search.repeats else ():
            raise _unreachable_error(span.type)


def _may_be_personal(token: str) -> bool:
    """Return True if a number could be somebody's: it is long, or has enough digits for a latitude."""
    plain = token.lstrip("-")
    return (plain.isdigit() and len(plain) >= _MIN_DIGITS) or ("." in plain and len(plain) >= _MIN_DIGITS)


def _refused_error(kinds: Iterable[str]) -> RecordError:
    return RecordError(
        f"the record holds what the recipe refuses: {', '.join(sorted(kinds))}",
        code="redaction_refused",
        remedy="take the value out of the record; it was not sent",
    )


def _unreachable_error(kind: str) -> RecordError:
    return _failed(
        f"a value of type {kind} is part of a name, a key or a permitted value, which can't be rewritten",
        remedy="take the value out of it, or leave its type out of the recipe's redact.types",
    )


def _failed(reason: str, remedy: str = "") -> RecordError:
    return RecordError(reason, code="redaction_failed", remedy=remedy or "the record was not sent")


def restore_completion(completion: Completion, values_by_placeholder: Mapping[str, str]) -> Completion:
    """Restore the text, the tool arguments and the provider's body; JSON in any of them stays JSON.

    Unknown placeholders stay. A body that is nested too deeply to walk is returned as it came.
    """
    if not values_by_placeholder:
        return completion
    values = read_slots(values_by_placeholder)
    calls = tuple(ToolCall(c.id, c.name, _restore_document(c.arguments, values)) for c in completion.tool_calls)
    raw = _restore_document(completion.raw, values)
    return msgspec.structs.replace(completion, text=restore_text(completion.text, values), tool_calls=calls, raw=raw)


def count_unrestored(
    completion: Completion, values_by_placeholder: Mapping[str, str], request: CompletionRequest
) -> dict[str, int]:
    """Count the placeholders in an answer, not yet restored, that stand for no value of its record, by type.

    One that ``request`` holds does not count: it was there before, and the answer quotes it. Where nothing was redacted,
    nothing is a placeholder.
    """
    if not values_by_placeholder:
        return {}
    values = read_slots(values_by_placeholder)
    texts = (completion.text, *(text for call in completion.tool_calls for text in _iterate_texts(call.arguments)))
    found = [slot for text in texts for slot in find_unknown_slots(text, values)]
    asked = find_slots([msgspec.json.encode(request).decode()], {kind for kind, _ in found}) if found else ()
    return dict(Counter(kind for kind, number in found if (kind, number) not in asked))


def _iterate_texts(value: Any) -> Iterator[str]:
    """Yield the keys and the texts of a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from (text for item in value.values() for text in _iterate_texts(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _iterate_texts(item))


def restore_text(text: str, values: Mapping[Slot, str]) -> str:
    """Restore placeholders in one pass, so that what a value holds is never read as a placeholder."""
    if is_json(text):
        return _restore_json(text, values)
    pieces, done = [], 0
    for match in _FENCED.finditer(text):
        if is_json(match[0]):
            pieces += [restore_placeholders(text[done : match.start()], values), _restore_json(match[0], values)]
            done = match.end()
    return "".join([*pieces, restore_placeholders(text[done:], values)])


def _restore_json(text: str, values: Mapping[Slot, str]) -> str:
    return rewrite_literals(
        text,
        lambda content, _key: restore_text(content, values),
        lambda key, _: restore_exact_placeholders(key, values),
        lambda token, _key: token,
    )


def _restore_document(document: dict[str, Any], values: Mapping[Slot, str]) -> dict[str, Any]:
    try:
        return {_restore_key(key, document, values): _restore_data(value, values) for key, value in document.items()}
    except RecursionError:
        return document


def _restore_data(value: Any, values: Mapping[Slot, str]) -> Any:
    if isinstance(value, str):
        return restore_text(value, values)
    if isinstance(value, dict):
        return {_restore_key(key, value, values): _restore_data(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore_data(item, values) for item in value]
    return value


def _restore_key(key: str, among: Mapping[str, Any], values: Mapping[Slot, str]) -> str:
    new = restore_exact_placeholders(key, values)
    return key if new in among else new
