"""The page that people review a redaction policy on: what would be masked, and what may have been missed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from xml.etree.ElementTree import Element

from msgspec import Struct

from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction.policy import DETECTOR_VERSIONS, policy_hash
from promptmill.redaction.redact_text import RedactedText, explain_span
from promptmill.redaction.spans import Span
from promptmill.reports.amounts import count_of, percent
from promptmill.reports.markup import Content, code, foreign, shorten, tag
from promptmill.reports.page import Fact, Page, Section, write_page
from promptmill.reports.pictures import Bar, bars, figure
from promptmill.reports.tables import table

_MAX_EXAMPLES, _MAX_TEXTS_SHOWN, _MAX_SHOWN, _AROUND = 6, 20, 2_000, 36
_DOUBT = "doubt"


class ReviewedText(Struct, frozen=True):
    """A text of the source, and what redaction did to it."""

    id: str
    text: str
    found: RedactedText


Place = tuple[ReviewedText, Span]


def redaction_report(source: str, policy: RedactionPolicy, texts: list[ReviewedText]) -> bytes:
    """Return the page for the texts of a source. It shows values of the source."""
    masked = [(one, span) for one in texts for span in one.found.spans]
    doubts = [(one, span) for one in texts for span in one.found.doubts]
    engines = ", ".join(f"{name} ({DETECTOR_VERSIONS.get(name, 'a service')})" for name in policy.engines)
    return write_page(
        Page(
            kind="Redaction",
            title=tag("span", f"{count_of(len(masked), 'value')} would be masked in ", foreign(source)),
            lead="This page shows values of the file: keep it as you keep the file.",
            meta=f"Detectors: {engines}. Policy {policy_hash(policy)}, {len(policy.types)} types.",
            glance=(
                ("What happened", [f"{count_of(len(texts), 'text')} searched; nothing was sent anywhere."]),
                ("What is true now", list(_what_is_true(texts, masked, doubts))),
                ("What to do next", list(_what_to_do(doubts))),
            ),
            facts=_facts(texts, masked, doubts),
            sections=[_misses(doubts), _masked(masked), _previews(texts)],
            footer="Promptmill. Made by promptmill redact --report.",
        )
    )


def _what_is_true(texts: Sequence[ReviewedText], masked: Sequence[Place], doubts: Sequence[Place]) -> Iterator[str]:
    with_values = sum(bool(one.found.spans) for one in texts)
    yield f"{with_values:,} of {count_of(len(texts), 'text')} would leave with something masked."
    yield f"{count_of(len({span.type for _, span in masked}), 'type')} of values were found."
    if doubts:
        yield f"Behind {count_of(len(doubts), 'label')} stands something that could be a value and is not masked."


def _what_to_do(doubts: Sequence[Place]) -> Iterator[Content]:
    if doubts:
        yield tag(
            "span",
            "Read the likely misses. Where one is a value, write a pattern for it under ",
            tag("code", "redact.patterns"),
            ".",
        )
    yield "Read what is masked: leave types out of the policy that your prompts need in clear."


def _facts(texts: Sequence[ReviewedText], masked: Sequence[Place], doubts: Sequence[Place]) -> list[Fact]:
    characters = sum(len(one.text) for one in texts)
    hidden = sum(span.end - span.start for _, span in masked)
    with_values = sum(bool(one.found.spans) for one in texts)
    return [
        Fact("Texts with a value", f"{with_values:,}", f"of {len(texts):,}"),
        Fact("Values masked", f"{len(masked):,}"),
        Fact("Characters masked", percent(hidden, characters), f"{hidden:,} of {characters:,}"),
        Fact("Likely misses", f"{len(doubts):,}", "labels without a masked value"),
    ]


def _misses(doubts: Sequence[Place]) -> Section:
    if not doubts:
        nothing = tag("p", "Behind every label that was found, something is masked, or nothing there could be a value.")
        return Section("misses", "Likely misses", "What may have been missed", [nothing])
    groups = _group_places(doubts)
    rows: list[list[Content]] = [
        [code(kind), f"{len(found):,}", _examples(found, _DOUBT)] for kind, found in groups.items()
    ]
    caption = "A label stands before something that could be its value, and nothing is masked"
    shown = table(caption, ("The label says", "Places", "Examples"), rows, text={2})
    return Section("misses", "Likely misses", "What may have been missed", [shown])


def _masked(masked: Sequence[Place]) -> Section:
    groups = _group_places(masked)
    if not groups:
        return Section("masked", "Masked", "What would be masked", [tag("p", "Nothing was found.")])
    drawn = bars("Values by type", [Bar(kind, len(found), f"{len(found):,}") for kind, found in groups.items()])
    short: list[list[Content]] = [
        [code(kind), f"{len(found):,}", f"{_different(found):,}"] for kind, found in groups.items()
    ]
    beside = table("Values by type", ("Type", "Values", "Different"), short)
    rows: list[list[Content]] = [[code(kind), _examples(found, ""), _reasons(found)] for kind, found in groups.items()]
    wide = table("Examples, with the text around them", ("Type", "Examples", "Why"), rows, text={1, 2}, wide=True)
    caption = "A value that comes again counts again; of different ones, each counts once."
    return Section(
        "masked", "Masked", "What would be masked", [figure(drawn, beside, caption), tag("h3", "Examples"), wide]
    )


def _group_places(found: Iterable[Place]) -> dict[str, list[Place]]:
    """Return the places by type, the most frequent first."""
    groups: dict[str, list[Place]] = defaultdict(list)
    for one, span in found:
        groups[span.type].append((one, span))
    return dict(sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])))


def _different(found: Sequence[Place]) -> int:
    return len({one.text[span.start : span.end] for one, span in found})


def _reasons(found: Sequence[Place]) -> Element:
    reasons = Counter(explain_span(span) for _, span in found).most_common(4)
    return tag("ul", (tag("li", f"{reason} ({times:,})") for reason, times in reasons), class_="plain")


def _examples(found: Sequence[Place], mark: str) -> Element:
    """Return a few places of different values, each with the text around it."""
    shown: dict[str, Element] = {}
    for one, span in found:
        value = one.text[span.start : span.end]
        if value not in shown:
            shown[value] = tag("li", _place(one, span, mark))
        if len(shown) == _MAX_EXAMPLES:
            break
    return tag("ul", shown.values(), class_="plain")


def _place(one: ReviewedText, span: Span, mark: str) -> Element:
    start, end = max(0, span.start - _AROUND), min(len(one.text), span.end + _AROUND // 2)
    before, behind = one.text[start : span.start].rpartition("\n")[2], one.text[span.end : end].partition("\n")[0]
    cut = "…" if one.text[start - 1 : start].isalnum() and before else ""
    return tag("bdi", tag("code", f"{cut}{before}", _mark(one, span, mark), behind))


def _mark(one: ReviewedText, span: Span, mark: str) -> Element:
    value = shorten(one.text[span.start : span.end], 3 * _AROUND)
    return tag("mark", value, title=span.type, class_=mark or None)


def _previews(texts: list[ReviewedText]) -> Section:
    shown = sorted(texts, key=lambda one: (not one.found.doubts, not one.found.spans))[:_MAX_TEXTS_SHOWN]
    parts: list[Content] = []
    if len(texts) > len(shown):
        parts.append(tag("p", f"{len(shown)} of {len(texts):,} texts, those with likely misses first."))
    for one in shown:
        parts += [tag("h3", code(one.id)), tag("pre", tag("bdi", _marked_up(one)))]
    return Section("texts", "Texts", "Text by text", parts)


def _marked_up(one: ReviewedText) -> Iterator[Content]:
    places = [*((span, "") for span in one.found.spans), *((span, _DOUBT) for span in one.found.doubts)]
    done = 0
    for span, mark in sorted(places, key=lambda place: place[0].start):
        if span.start >= done and span.end <= _MAX_SHOWN:
            yield one.text[done : span.start]
            yield _mark(one, span, mark)
            done = span.end
    yield one.text[done : max(done, _MAX_SHOWN)]
    if len(one.text) > max(done, _MAX_SHOWN):
        yield "…"
