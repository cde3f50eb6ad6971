"""Rules find spans. One RE2 set tells which rules have anything to look for in a text, and only those look."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from promptmill.redaction.patterns.folded_text import FoldedText, make_span
from promptmill.redaction.spans import RedactionType, Span

_SET_MEMORY = 48 << 20
Find = Callable[[FoldedText], Iterable[Span]]
Valid = Callable[[FoldedText, int, int], bool]


class Rule(Struct, frozen=True):
    """A rule. ``gate`` is an RE2 pattern that matches in every text in which ``find`` finds something."""

    gate: str
    find: Find


def make_rule(
    name: str, kind: RedactionType, pattern: str, score: float, valid: Valid, *, group: int = 0, gate: str = ""
) -> Rule:
    """Make a rule of a pattern and a check of what the pattern found.

    A ``gate`` that is shorter than the pattern spares the set of all rules from counting what the pattern counts.
    """

    def find(folded: FoldedText) -> Iterator[Span]:
        for start, end in folded.find_spans(pattern, group=group):
            if valid(folded, start, end):
                yield make_span(folded, start, end, kind, score, name)

    return Rule(gate or pattern, find)


class Gate:
    """Asks all rules at once. It is built when first needed, since patterns take a while to compile.

    Rules come in a few groups, each a set of its own: what one automaton has to remember multiplies with every rule, and the
    first texts pay for it.
    """

    def __init__(self, *groups: Sequence[Rule]) -> None:
        self._groups = tuple((_compile_set([rule.gate for rule in group]), tuple(group)) for group in groups)

    def find(self, folded: FoldedText) -> list[Span]:
        """Return what all rules find, in no order. Spans overlap where rules disagree."""
        return [
            span
            for patterns, rules in self._groups
            for index in patterns.Match(folded.raw) or ()
            for span in rules[index].find(folded)
        ]


def _compile_set(patterns: Iterable[str]) -> Any:
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = _SET_MEMORY
    options.log_errors = False
    patterns_set = re2.Set.SearchSet(options)
    for pattern in patterns:
        patterns_set.Add(pattern.encode("latin-1"))
    patterns_set.Compile()
    return patterns_set
