"""The dialects by name."""

from __future__ import annotations

from collections.abc import Mapping

from promptmill.domain.job_file import DialectName
from promptmill.formats.anthropic_batch import ANTHROPIC
from promptmill.formats.bedrock_batch import BEDROCK
from promptmill.formats.csv_table import CsvDialect
from promptmill.formats.file_format import Dialect
from promptmill.formats.openai_batch import OPENAI
from promptmill.formats.promptmill_lines import PROMPTMILL
from promptmill.formats.txt import TxtDialect

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
