"""Leak on what redaction has never seen: half of its labels and of its formats are taken out, and the values of that half searched.

``python -m tests.bench.redaction_folds [GOLD.jsonl...]`` prints, for each type, the share of characters left where all labels
and formats are known, and on the half that is not, over both halves. The halves are drawn once, by a hash, and nothing is
tuned on them. GOLD holds {"id", "text", "spans": [{"start", "end", "type", "group"}]}; secrets and structured values count.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from promptmill.redaction.patterns import identity_kinds
from promptmill.redaction.patterns.data_files import read_tables
from promptmill.redaction.patterns.identity_kinds import IdentityKind
from promptmill.redaction.patterns.labels import read_table, words_of

_LAYOUTS = (
    "{label}: {value}",
    '{{"{label}": "{value}"}}',
    "name,{label}\nBob,{value}\n",
    "{label} = {value}\n",
    "{label} is {value}.",
)
_GROUPS = ("structured", "secret")
Counts = dict[str, list[int]]
"""Characters left, and all of them, by what they belong to."""


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--fold"]:
        print(json.dumps(_measure(arguments[1], arguments[2:])))
        return
    whole, first, second = (_run(fold, arguments) for fold in ("none", "0", "1"))
    print(f"{'what':44} {'n':>6} {'all known':>10} {'half left out':>14}")
    for name, (left, of) in sorted(whole.items()):
        out = [first.get(name, [0, 0])[at] + second.get(name, [0, 0])[at] for at in (0, 1)]
        print(f"{name:44} {of:6} {left / max(of, 1):10.3f} {out[0] / max(out[1], 1):14.3f}")


def _run(fold: str, paths: list[str]) -> Counts:
    """Measure in a process of its own: patterns are compiled once in a process."""
    command = [sys.executable, "-m", "tests.bench.redaction_folds", "--fold", fold, *paths]
    found: Counts = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def _measure(fold: str, paths: list[str]) -> Counts:
    left_out = dict(_leave_out_labels(fold))
    _leave_out_formats(fold)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name, text, places in [*_labelled(left_out), *_keys(fold), *_people(), *_gold(paths)]:
        found = _covered(text)
        wanted = {at for start, end in places for at in range(start, end) if not text[at].isspace()}
        counts[name][0] += len(wanted - found)
        counts[name][1] += len(wanted)
    return dict(counts)


def _is_out(name: str, fold: str) -> bool:
    return fold != "none" and hashlib.sha256(name.encode()).digest()[0] % 2 == int(fold)


def _leave_out_labels(fold: str) -> Iterator[tuple[int, list[str]]]:
    """Take half of the labels out of the table, and yield them by row; with no fold, yield all and take none."""
    for number, row in enumerate(read_table()):
        words = words_of(row)
        out = {word for word in words if _is_out(word.lower(), fold)}
        for language, listed in row.items():
            if isinstance(listed, list) and language != "examples":
                row[language] = [word for word in listed if word not in out]
        yield number, sorted(out) if fold != "none" else words


def _leave_out_formats(fold: str) -> None:
    for service in [service for service in _FORMATS if _is_out(service, fold)]:
        del _FORMATS[service]
    _thin(identity_kinds.NUMBER_IDS, fold)
    _thin(identity_kinds.SHAPES, fold)
    identity_kinds.MIXED = tuple(one for one in identity_kinds.MIXED if not _is_out(one[1].name, fold))
    identity_kinds.WITH_SEPARATORS = tuple(
        one for one in identity_kinds.WITH_SEPARATORS if not _is_out(one[1].name, fold)
    )


def _thin(kinds: dict[Any, tuple[IdentityKind, ...]], fold: str) -> None:
    for key, listed in kinds.items():
        kinds[key] = tuple(kind for kind in listed if not _is_out(kind.name, fold))


def _labelled(left_out: dict[int, list[str]]) -> Iterator[tuple[str, str, list[tuple[int, int]]]]:
    rows = read_table()
    for number, words in left_out.items():
        for word in words:
            for value in rows[number]["examples"]:
                for layout in _LAYOUTS:
                    text = layout.format(label=word, value=value)
                    at = text.rindex(value)
                    yield f"label of {rows[number]['type']}", text, [(at, at + len(value))]


def _keys(fold: str) -> Iterator[tuple[str, str, list[tuple[int, int]]]]:
    """Yield keys of services. A key counts with a half if the format that it begins like was left out of it."""
    from tests.fakes.secret_lines import keys_alone, keys_by_context, keys_in_files

    starts = {start for start, service in _SERVICES.items() if _is_out(service, fold)}
    for name, make in (("alone", keys_alone), ("by words", keys_by_context), ("in files", keys_in_files)):
        for seed in range(3):
            for text, start, end in make(seed):
                if fold == "none" or any(text.startswith(begin, start) for begin in starts):
                    yield f"key {name}", text, [(start, end)]


_FORMATS = read_tables("tokens.toml")["formats"][0]
_SERVICES = {start: service for service, formats in _FORMATS.items() for start, _, _ in formats}


def _people() -> Iterator[tuple[str, str, list[tuple[int, int]]]]:
    from tests.fakes.personal_lines import LINES

    for line in LINES:
        for start, end, kind in line.values:
            yield f"line of people, {kind}", line.text, [(start, end)]


def _gold(paths: Iterable[str]) -> Iterator[tuple[str, str, list[tuple[int, int]]]]:
    for path in paths:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            record: dict[str, Any] = json.loads(line)
            by_group = Counter(span["group"] for span in record["spans"])
            for group in _GROUPS:
                if by_group[group]:
                    places = [(span["start"], span["end"]) for span in record["spans"] if span["group"] == group]
                    yield f"{Path(path).stem}, {group}", record["text"], places


def _covered(text: str) -> set[int]:
    # Imported when the tables are thinned, since patterns are made of them at import.
    from promptmill.redaction.patterns.structured import StructuredDetector

    return {at for span in StructuredDetector().find(text) for at in range(span.start, span.end)}


if __name__ == "__main__":
    main(sys.argv[1:])
