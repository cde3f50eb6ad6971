"""A request without what must not leave."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from msgspec import Struct, field

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import RecordError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.domain.redaction.hiding import Hider
from promptmill.domain.redaction.json_text import is_json, rewrite_literals
from promptmill.domain.redaction.placeholders import Placeholders, mentioned
from promptmill.domain.redaction.request_text import rewritten
from promptmill.domain.redaction.spans import Engine, RedactionType, Span

ENGINE_VERSION = "structured-1"
"""Changes whenever the same text may give other spans; a job's manifest holds it."""

_FEWEST_DIGITS = 7
_LONGEST_HINT = 40


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


def redact_request(request: CompletionRequest, policy: RedactionPolicy, *, engine: Engine | None = None) -> Redacted:
    """Placeholders for every value of the policy's types, the same one wherever a value recurs.

    Raises:
        RecordError: the request can't be made safe, so it must not be sent (code ``redaction_failed``).
    """
    if not policy.types:
        return Redacted(request)
    try:
        return _redact(request, policy, engine or _structured_engine())
    except RecordError:
        raise
    except Exception as error:  # noqa: BLE001 (whatever it is, nothing may leave)
        reason = f"the search for sensitive data ended in {type(error).__name__}"
    raise _failed(reason)  # outside of the handler: the error itself may quote the text, and is not carried along


@cache
def _structured_engine() -> Engine:
    from promptmill.domain.redaction.structured import StructuredEngine  # noqa: PLC0415 (20 ms of patterns)

    return StructuredEngine()


def _redact(request: CompletionRequest, policy: RedactionPolicy, engine: Engine) -> Redacted:
    finder = _Finder(engine, policy.types)
    rewritten(request, finder)
    finder.refuse_fixed()
    if not finder.values:
        return Redacted(request)
    placeholders = Placeholders(mentioned(finder.texts))
    hider = Hider(finder.values, placeholders)
    hidden = rewritten(request, _Rewriter(hider, finder))
    return Redacted(hidden, placeholders.values, dict(hider.counts))


class _Finder:
    """Reads every text and remembers what is in it; changes nothing."""

    def __init__(self, engine: Engine, types: Iterable[str]) -> None:
        self.values: dict[str, RedactionType] = {}
        self.texts: list[str] = []
        self.spans: dict[tuple[str, str], list[Span]] = {}
        self._engine, self._types, self._fixed = engine, frozenset(types), dict[str, None]()

    def text(self, text: str, key: str = "") -> str:
        self.texts.append(text)
        if is_json(text):
            rewrite_literals(text, self.text, self.text, self.number)
        elif text:
            self._find(text, key)
        return text

    def number(self, token: str, key: str = "") -> str:
        if token.isdigit() and len(token) >= _FEWEST_DIGITS:
            self._find(token, key)
        return token

    def fixed(self, text: str) -> None:
        if text:
            self.texts.append(text)
            self._fixed[text] = None

    def refuse_fixed(self) -> None:
        """Raises RecordError if a name holds a value."""
        for span in self._engine.find("\n".join(self._fixed)) if self._fixed else ():
            if span.type in self._types:
                raise _unreachable(span.type)

    def _find(self, text: str, key: str) -> None:
        if (text, key) in self.spans:
            return
        hint = f"{key[-_LONGEST_HINT:]}: " if key else ""
        self.spans[text, key] = [
            _shifted(span, -len(hint), len(text))
            for span in self._engine.find(hint + text)
            if span.type in self._types and span.end > len(hint)
        ]
        for span in self.spans[text, key]:
            self.values.setdefault(text[span.start : span.end], span.type)


def _shifted(span: Span, by: int, length: int) -> Span:
    start, end = max(0, span.start + by), span.end + by
    if not start < end <= length:
        raise ValueError("an engine's span lies outside of its text")
    return Span(start, end, span.type, span.score)


class _Rewriter:
    """Writes every text anew."""

    def __init__(self, hider: Hider, finder: _Finder) -> None:
        self._hider, self._finder = hider, finder

    def text(self, text: str, key: str = "") -> str:
        if is_json(text):
            return self._hider.hidden(rewrite_literals(text, self.text, self.text, self.number))
        return self._hider.hidden(text, self._finder.spans.get((text, key), ()))

    def number(self, token: str, key: str = "") -> str:
        return self._hider.hidden(token, self._finder.spans.get((token, key), ()))

    def fixed(self, text: str) -> None:
        for value, kind in self._finder.values.items():
            if value in text:
                raise _unreachable(kind)


def _unreachable(kind: str) -> RecordError:
    return _failed(
        f"a value of type {kind} is part of a name, a key or a permitted value, which can't be rewritten",
        remedy="take it out of there, or leave its type out of the recipe's redact.types",
    )


def _failed(reason: str, remedy: str = "") -> RecordError:
    return RecordError(reason, code="redaction_failed", remedy=remedy or "the record was not sent")
