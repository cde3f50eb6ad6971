"""The tables beside the patterns are TOML, and every example in them is found."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from promptmill.redaction.patterns import data_files
from promptmill.redaction.patterns.structured import StructuredDetector

DETECTOR = StructuredDetector()
FORMATS = data_files.read_tables("tokens.toml")["formats"][0]
SENTENCES = ("'{}'", "key: '{}'\n", '{{"value": "{}"}}', "{}", "the key {} is it", "Mail it, {}.", "x={}&y=1")
QUOTED = 3


@pytest.mark.parametrize("file", ["labels.toml", "tokens.toml"])
def test_a_table_is_toml_and_json_alike(file: str) -> None:
    document = tomllib.loads(Path(data_files.__file__).with_name(file).read_text(encoding="utf-8"))
    rows = {name: rows if isinstance(rows, list) else [rows] for name, rows in document.items()}
    assert data_files.read_tables(file) == rows


@pytest.mark.parametrize("service", FORMATS)
def test_the_example_of_a_format_is_hidden_as_a_whole(service: str) -> None:
    for start, rest, example in FORMATS[service]:
        match = re.match(re.escape(start) + rest, f'{start}{example}"')
        assert match is not None
        assert match[0] == start + example
        assert not example.startswith(start)
        for sentence in SENTENCES[: QUOTED if "(?=" in rest else None]:
            text = sentence.format(start + example)
            at = text.index(start + example)
            found = {place for span in DETECTOR.find(text) for place in range(span.start, span.end)}
            assert set(range(at + len(start), at + len(start + example))) <= found, sentence


def test_keys_are_called_by_their_service() -> None:
    wrong = [
        service
        for service, formats in FORMATS.items()
        for start, _, example in formats
        if service not in {span.rule for span in DETECTOR.find(f"it is '{start}{example}'")}
    ]
    assert wrong == []
