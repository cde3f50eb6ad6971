"""Put the values back into an answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest, ToolCall
from promptmill.redaction.json_text import is_json, rewrite_literals
from promptmill.redaction.placeholders import (
    Slot,
    find_slots,
    find_unknown_slots,
    read_slots,
    restore_exact_placeholders,
    restore_placeholders,
)

_FENCED = re.compile(r"(?<=```json\n)[^`]*(?=\n\s{0,8}```)|(?<=```\n)[^`]*(?=\n\s{0,8}```)")


def restore_completion(completion: Completion, values_by_placeholder: Mapping[str, str]) -> Completion:
    """Restore the text, the tool arguments and the provider's body; JSON in any of them stays JSON.

    Unknown placeholders stay. A body that is nested too deeply to walk is returned as it came.
    """
    if not values_by_placeholder:
        return completion
    values = read_slots(values_by_placeholder)
    calls = tuple(ToolCall(c.id, c.name, _restore_document(c.arguments, values)) for c in completion.tool_calls)
    raw = _restore_document(completion.raw, values)
    return msgspec.structs.replace(completion, text=restore_text(completion.text, values), tool_calls=calls, raw=raw)


def count_unrestored(
    completion: Completion, values_by_placeholder: Mapping[str, str], request: CompletionRequest
) -> dict[str, int]:
    """Count the placeholders in an answer, not yet restored, that stand for no value of its record, by type.

    One that ``request`` holds does not count: it was there before, and the answer quotes it. Where nothing was redacted,
    nothing is a placeholder.
    """
    if not values_by_placeholder:
        return {}
    values = read_slots(values_by_placeholder)
    texts = (completion.text, *(text for call in completion.tool_calls for text in _iterate_texts(call.arguments)))
    found = [slot for text in texts for slot in find_unknown_slots(text, values)]
    asked = find_slots([msgspec.json.encode(request).decode()], {kind for kind, _ in found}) if found else ()
    return dict(Counter(kind for kind, number in found if (kind, number) not in asked))


def _iterate_texts(value: Any) -> Iterator[str]:
    """Yield the keys and the texts of a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        yield from (text for item in value.values() for text in _iterate_texts(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _iterate_texts(item))


def restore_text(text: str, values: Mapping[Slot, str]) -> str:
    """Restore placeholders in one pass, so that what a value holds is never read as a placeholder."""
    if is_json(text):
        return _restore_json(text, values)
    pieces, done = [], 0
    for match in _FENCED.finditer(text):
        if is_json(match[0]):
            pieces += [restore_placeholders(text[done : match.start()], values), _restore_json(match[0], values)]
            done = match.end()
    return "".join([*pieces, restore_placeholders(text[done:], values)])


def _restore_json(text: str, values: Mapping[Slot, str]) -> str:
    return rewrite_literals(
        text,
        lambda content, _key: restore_text(content, values),
        lambda key, _: restore_exact_placeholders(key, values),
        lambda token, _key: token,
    )


def _restore_document(document: dict[str, Any], values: Mapping[Slot, str]) -> dict[str, Any]:
    try:
        return {_restore_key(key, document, values): _restore_data(value, values) for key, value in document.items()}
    except RecursionError:
        return document


def _restore_data(value: Any, values: Mapping[Slot, str]) -> Any:
    if isinstance(value, str):
        return restore_text(value, values)
    if isinstance(value, dict):
        return {_restore_key(key, value, values): _restore_data(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_restore_data(item, values) for item in value]
    return value


def _restore_key(key: str, among: Mapping[str, Any], values: Mapping[Slot, str]) -> str:
    new = restore_exact_placeholders(key, values)
    return key if new in among else new
