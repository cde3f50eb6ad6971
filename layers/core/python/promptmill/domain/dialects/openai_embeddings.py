"""The body of an OpenAI embeddings call, as a request."""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import CompletionRequest, Message, Text
from promptmill.domain.dialects.fields import Fields

_NEUTRAL: dict[str, tuple[Any, ...]] = {"encoding_format": ("float",)}
_MOST_TEXTS = 2048


def read_embeddings_body(body: Fields) -> CompletionRequest:
    """Every field is mapped, kept as ``native``, dropped as neutral, or refused by name (RecordError)."""
    if body.peek("encoding_format") not in (None, "float"):
        raise body.unsupported("encoding_format", "vectors are written as numbers")
    texts = _texts(body)
    return CompletionRequest(
        messages=tuple(Message("user", (Text(text),)) for text in texts),
        model=body.take_text("model") or "",
        kind="embedding",
        dimensions=body.take_integer("dimensions", least=1),
        protocol="openai-embeddings",
        native=body.left(_NEUTRAL),
    )


def _texts(body: Fields) -> list[str]:
    """Of a text or a list of texts. Tokens instead of texts belong to one model's alphabet, and can't be redacted."""
    given = body.peek("input")
    if given is None:
        raise body.missing("input")
    texts = given if isinstance(given, list) else [given]
    if not all(isinstance(text, str) for text in texts):
        raise body.unsupported("input", "a text or a list of texts is wanted", remedy="write tokens as text")
    if not 0 < len(texts) <= _MOST_TEXTS:
        raise body.error("input", f"1 to {_MOST_TEXTS} texts are wanted")
    body.take("input")
    return texts
