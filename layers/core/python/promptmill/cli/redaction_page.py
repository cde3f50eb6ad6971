"""Write the page that people review a redaction policy on: what would be masked, and what may have been missed.

The page shows values of the source. It loads nothing, runs no script, and escapes whatever comes from the source.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from html import escape

from msgspec import Struct

from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction.policy import DETECTOR_VERSIONS, policy_hash
from promptmill.redaction.redact_text import RedactedText, explain_span
from promptmill.redaction.spans import Span

_MAX_EXAMPLES, _MAX_TEXTS_SHOWN, _MAX_SHOWN, _AROUND = 6, 20, 2_000, 36
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--soft:#60646c;--paper:#fff;--card:#f6f7f9;--line:#dfe2e6;--mask:#ffe08a;--doubt:#ffc9c4}
@media(prefers-color-scheme:dark){:root{--ink:#edeef0;--soft:#a3a7ae;--paper:#111315;--card:#191c1f;--line:#2d3136;--mask:#6b5200;--doubt:#7a241c}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:62rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.25rem 0 .5rem}
p{margin:.4rem 0}.soft{color:var(--soft)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1rem 0}
dl div{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.5rem .6rem;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code,pre{font:.85rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}
ul{margin:0;padding:0;list-style:none}li{margin:0 0 .35rem}td.soft{width:15rem}
pre{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.75rem;margin:.4rem 0 1rem}
mark{background:var(--mask);color:inherit;border-radius:.2rem;padding:0 .15rem}mark.doubt{background:var(--doubt)}
@media(max-width:40rem){thead{display:none}tr,td{display:block;border:0}tr{border-bottom:1px solid var(--line);padding:.5rem 0}td,td.n,td.soft{padding:.1rem 0;text-align:left;width:auto}
td.n::before{content:attr(data-name) ": ";color:var(--soft)}}
"""
_DOUBT = ' class="doubt"'
_POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"


class ReviewedText(Struct, frozen=True):
    """A text of the source, and what redaction did to it."""

    id: str
    text: str
    found: RedactedText


def render_redaction_page(source: str, policy: RedactionPolicy, texts: list[ReviewedText]) -> str:
    """Return the page for the texts of a source."""
    csp = _POLICY.format(base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode())
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(csp)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">',
            f"<title>Redaction of {escape(source)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            *_head(source, policy, texts),
            *_doubts(texts),
            *_by_type(texts),
            *_previews(texts),
            "</body>\n</html>\n",
        ]
    )


def _head(source: str, policy: RedactionPolicy, texts: list[ReviewedText]) -> Iterator[str]:
    characters = sum(len(one.text) for one in texts)
    masked = sum(span.end - span.start for one in texts for span in one.found.spans)
    yield f"<h1>Redaction of {escape(source)}</h1>"
    yield "<p>What would be masked before a prompt leaves, and what may have been missed. "
    yield "This page shows values of the file: keep it as you keep the file.</p>"
    engines = ", ".join(f"{name} ({DETECTOR_VERSIONS.get(name, 'a service')})" for name in policy.engines)
    yield f'<p class="soft">Detectors: {escape(engines)}. Policy {policy_hash(policy)}, {len(policy.types)} types.</p><dl>'
    figures = (
        ("texts", f"{len(texts):,}"),
        ("with something masked", f"{sum(bool(one.found.spans) for one in texts):,}"),
        ("values masked", f"{sum(len(one.found.spans) for one in texts):,}"),
        ("of all characters", f"{100 * masked / max(characters, 1):.2f} %"),
        ("likely misses", f"{sum(len(one.found.doubts) for one in texts):,}"),
    )
    yield from (f"<div><dt>{name}</dt><dd>{figure}</dd></div>" for name, figure in figures)
    yield "</dl>"


def _by_type(texts: list[ReviewedText]) -> Iterator[str]:
    yield "<h2>What would be masked</h2>"
    places = _group_places((one, span) for one in texts for span in one.found.spans)
    if not places:
        yield "<p>Nothing was found.</p>"
        return
    yield '<table><thead><tr><th>type</th><th class="n">values</th><th class="n">different</th>'
    yield "<th>examples</th><th>why</th></tr></thead><tbody>"
    for kind, found in places.items():
        reasons = Counter(explain_span(span) for _, span in found).most_common(4)
        why = "".join(f"<li>{escape(reason)} ({times:,})</li>" for reason, times in reasons)
        values = len({one.text[span.start : span.end] for one, span in found})
        yield f'<tr><td><strong>{escape(kind)}</strong></td><td class="n" data-name="values">{len(found):,}</td>'
        yield f'<td class="n" data-name="different">{values:,}</td><td><ul>{_list_examples(found, "")}</ul></td>'
        yield f'<td class="soft"><ul>{why}</ul></td></tr>'
    yield "</tbody></table>"


def _doubts(texts: list[ReviewedText]) -> Iterator[str]:
    yield "<h2>Likely misses</h2>"
    places = _group_places((one, span) for one in texts for span in one.found.doubts)
    if not places:
        yield "<p>Behind every label that was found, something is masked, or nothing there could be a value.</p>"
        return
    yield "<p>Here a label stands before something that could be its value, and nothing is masked. If it is one, write a pattern "
    yield "for it under <code>redact.patterns</code>.</p><table><thead><tr><th>the label says</th>"
    yield '<th class="n">places</th><th>examples</th></tr></thead><tbody>'
    for kind, found in places.items():
        yield f'<tr><td><strong>{escape(kind)}</strong></td><td class="n" data-name="places">{len(found):,}</td>'
        yield f"<td><ul>{_list_examples(found, _DOUBT)}</ul></td></tr>"
    yield "</tbody></table>"


def _group_places(found: Iterable[tuple[ReviewedText, Span]]) -> dict[str, list[tuple[ReviewedText, Span]]]:
    """Return the places by type, the most frequent first."""
    groups: dict[str, list[tuple[ReviewedText, Span]]] = defaultdict(list)
    for one, span in found:
        groups[span.type].append((one, span))
    return dict(sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])))


def _list_examples(found: list[tuple[ReviewedText, Span]], attributes: str) -> str:
    """Return a few places of different values, each with the text around it."""
    shown: dict[str, str] = {}
    for one, span in found:
        value = one.text[span.start : span.end]
        if value not in shown:
            shown[value] = f"<li><code>{_show_place(one, span, attributes)}</code></li>"
        if len(shown) == _MAX_EXAMPLES:
            break
    return "".join(shown.values())


def _show_place(one: ReviewedText, span: Span, attributes: str) -> str:
    start, end = max(0, span.start - _AROUND), min(len(one.text), span.end + _AROUND // 2)
    before, behind = one.text[start : span.start].rpartition("\n")[2], one.text[span.end : end].partition("\n")[0]
    value = one.text[span.start : span.end]
    value = value if len(value) <= _AROUND * 3 else f"{value[: _AROUND * 3]}…"
    before = f"…{before}" if one.text[start - 1 : start].isalnum() and before else before
    return f"{_printable(before)}<mark{attributes}>{_printable(value)}</mark>{_printable(behind)}"


def _previews(texts: list[ReviewedText]) -> Iterator[str]:
    yield "<h2>Text by text</h2>"
    shown = sorted(texts, key=lambda one: (not one.found.doubts, not one.found.spans))[:_MAX_TEXTS_SHOWN]
    if len(texts) > len(shown):
        yield f'<p class="soft">{len(shown)} of {len(texts):,} texts, those with likely misses first.</p>'
    for one in shown:
        yield f"<h3><code>{_printable(one.id)}</code></h3><pre>{''.join(_mark_up(one))}</pre>"


def _mark_up(one: ReviewedText) -> Iterator[str]:
    places = [*((span, "") for span in one.found.spans), *((span, _DOUBT) for span in one.found.doubts)]
    done = 0
    for span, attributes in sorted(places, key=lambda place: place[0].start):
        if span.start >= done and span.end <= _MAX_SHOWN:
            value = _printable(one.text[span.start : span.end])
            yield f'{_printable(one.text[done : span.start])}<mark{attributes} title="{escape(span.type)}">{value}</mark>'
            done = span.end
    yield _printable(one.text[done : max(done, _MAX_SHOWN)])
    if len(one.text) > max(done, _MAX_SHOWN):
        yield "…"


def _printable(text: str) -> str:
    """Return a text as it may stand in the page. Characters that turn the direction of writing or stand for nothing show as a box."""
    return escape("".join(char if char.isprintable() or char in "\n\t" else "\N{WHITE SQUARE}" for char in text))
