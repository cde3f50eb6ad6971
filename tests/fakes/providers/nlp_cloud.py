"""NLP Cloud's generation from the server's side; fields as nlpcloud 1.1.47 sends them."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire

KEY = "fake-nlp-cloud-key"
_PATH = re.compile(r"/v1/(?:gpu/)?(?:[a-z]{3}_[A-Za-z]{4}/)?[^/]+/generation")
_TROUBLES: dict[Trouble, tuple[int, str]] = {
    "throttled": (429, "Too many requests"),
    "overloaded": (503, "The model is not available"),
    "unauthorized": (401, "Invalid token."),
    "out_of_money": (402, "Payment required"),
    "too_long": (400, "Input text length should not exceed 8192 tokens"),
    "no_such_model": (404, "Not Found"),
    "bad_field": (422, "temperature: ensure this value is less than 2"),
    "filtered": (400, "no"),
}


class _Body(Struct, forbid_unknown_fields=True):
    """A null is a default: the official client sends one for whatever was not said."""

    text: Annotated[str, Meta(min_length=1)]
    max_length: Annotated[int, Meta(ge=1)] | None = None
    length_no_input: bool | None = None
    end_sequence: str | None = None
    remove_end_sequence: bool | None = None
    remove_input: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    num_beams: int | None = None
    num_return_sequences: int | None = None
    bad_words: list[str] | None = None
    stream: bool = False


class NlpCloud:
    def refusal_of(self, sent: Sent) -> Wire | None:
        if not _PATH.fullmatch(sent.path):
            return _error(404, "Not Found")
        if sent.headers.get("authorization") != f"Token {KEY}":
            return _error(401, "Invalid token.")
        try:
            msgspec.convert(sent.body, _Body)
        except msgspec.ValidationError as error:
            return _error(422, str(error))
        return None

    def refusal(self, behaviour: Refuse) -> Wire:
        wire = _error(*_TROUBLES[behaviour.trouble])
        return msgspec.structs.replace(wire, headers=behaviour.headers)

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        counts = {"nb_input_tokens": behaviour.input_tokens, "nb_generated_tokens": behaviour.output_tokens}
        body = {"generated_text": behaviour.text, **(counts if behaviour.with_usage else {})}
        half = len(behaviour.text) // 2
        pieces = (behaviour.text[:half], behaviour.text[half:], "[DONE]")
        blocks = tuple(piece.encode() + b"\0" for piece in pieces) if sent.body.get("stream") else ()
        return Wire(200, body, {}, blocks, b'{"detail": "The model crashed"}\0')


def _error(status: int, detail: str) -> Wire:
    return Wire(status, {"detail": detail})
