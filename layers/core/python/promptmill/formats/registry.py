"""The dialects by name."""

from __future__ import annotations

from collections.abc import Mapping

from promptmill.domain.job_file import FileFormatName
from promptmill.formats.anthropic_batch import ANTHROPIC
from promptmill.formats.bedrock_batch import BEDROCK
from promptmill.formats.csv_table import CsvDialect
from promptmill.formats.file_format import FileFormat
from promptmill.formats.openai_batch import OPENAI
from promptmill.formats.promptmill_lines import PROMPTMILL
from promptmill.formats.txt import TxtDialect

_DIALECTS: Mapping[FileFormatName, FileFormat] = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "bedrock": BEDROCK,
    "promptmill": PROMPTMILL,
    "txt": TxtDialect(),
    "csv": CsvDialect(),
}


def format_named(name: FileFormatName) -> FileFormat:
    return _DIALECTS[name]
