"""The dialects by name."""

from __future__ import annotations

from collections.abc import Mapping

from promptmill.domain.dialects.anthropic import ANTHROPIC
from promptmill.domain.dialects.bedrock import BEDROCK
from promptmill.domain.dialects.csv_table import CsvDialect
from promptmill.domain.dialects.dialect import Dialect, DialectName
from promptmill.domain.dialects.openai import OPENAI
from promptmill.domain.dialects.promptmill import PROMPTMILL
from promptmill.domain.dialects.txt import TxtDialect

_DIALECTS: Mapping[DialectName, Dialect] = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "bedrock": BEDROCK,
    "promptmill": PROMPTMILL,
    "txt": TxtDialect(),
    "csv": CsvDialect(),
}


def dialect_named(name: DialectName) -> Dialect:
    return _DIALECTS[name]
