"""One prompt from one text or row: the recipe's template, or the text as it is."""

from __future__ import annotations

from collections.abc import Mapping

from promptmill.domain.completion import CompletionRequest, Message, Text
from promptmill.domain.errors import RecordError
from promptmill.domain.record import RawRecord
from promptmill.domain.templates import render_template


def prompt_from(template: str, values: Mapping[str, str], record: RawRecord) -> str:
    """The template with the record's values. Raises RecordError ``unknown_column``, naming the line."""
    try:
        return render_template(template, values)
    except RecordError as error:
        raise RecordError(
            error.reason, code=error.code, where=f"line {record.line}", remedy=error.remedy, field=error.field
        ) from error


def ask(prompt: str, record: RawRecord) -> CompletionRequest:
    """One user message. Raises RecordError ``empty_prompt``."""
    if not prompt.strip():
        raise RecordError(
            "the prompt is empty",
            code="empty_prompt",
            where=f"line {record.line}",
            remedy="write one, or leave the record out",
        )
    return CompletionRequest(messages=user_message(prompt))


def user_message(prompt: str) -> tuple[Message, ...]:
    return (Message("user", (Text(prompt),)),)
