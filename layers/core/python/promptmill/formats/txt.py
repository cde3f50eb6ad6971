r"""Plain text: a prompt a line, answered by a line each.

In an answer a backslash, a line feed and a carriage return are written as ``\\``, ``\n`` and ``\r``. A record
without an answer gets a line ``[error] code: message``; an answer that is not whole ends with ``[finish: length]``,
or with another reason.
"""

from __future__ import annotations

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.job_file import FileFacts, FileFormatName
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome, RawRecord
from promptmill.formats.encoding import BOM, as_utf8, clean_text, decode_record
from promptmill.formats.file_format import FileFormat
from promptmill.formats.lines import line_again, split_lines
from promptmill.formats.recipe_defaults import apply_recipe, ask, prompt_from
from promptmill.wire.json_answers import is_partial, tell_finish

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", "\r": r"\r"})


class PlainText:
    name: FileFormatName = "txt"
    extension = "txt"
    split = staticmethod(split_lines)

    def parse(self, record: RawRecord, facts: FileFacts, recipe: Recipe) -> CompletionRequest:
        text = decode_record(record, facts.encoding)
        prompt = prompt_from(recipe.prompt, {"text": text}, record) if recipe.prompt else text
        return apply_recipe(ask(prompt, record), recipe, record)

    def header(self, facts: FileFacts, recipe: Recipe) -> bytes:  # noqa: ARG002 (FileFormat has it)
        return b""

    def render(self, outcome: Outcome, facts: FileFacts, recipe: Recipe, job_id: str) -> bytes:  # noqa: ARG002 (FileFormat has it)
        failure, completion = outcome.failure, outcome.completion
        text = completion.answer_text if completion else ""
        if failure is not None:
            text = f"[error] {failure.code}: {failure.message}"
        elif completion is not None and is_partial(completion):
            text = f"{text} [finish: {tell_finish(completion)}]"
        return clean_text(text.translate(_ESCAPES)).encode() + b"\n"

    def error_header(self, facts: FileFacts) -> bytes:  # noqa: ARG002 (FileFormat has it)
        """Return the mark of UTF-8, so that a bad byte in the file is not taken for cp1252 next time."""
        return BOM

    def render_error(self, record: RawRecord, facts: FileFacts) -> bytes:
        return as_utf8(line_again(record), facts.encoding)


FORMAT: FileFormat = PlainText()
