"""A request and an answer in NLP Cloud's generation API: one text in, one text out, the model in the URL."""

from __future__ import annotations

from typing import Any, Final

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Route
from promptmill.wire.flat_prompts import flat_prompt, refuse_all_but
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import count_plain_usage, estimate_usage, malformed_answer
from promptmill.wire.loose_json import as_object, as_text, count_in, is_textual, parse_json
from promptmill.wire.request_bodies import add_native, unsupported
from promptmill.wire.stream_events import StreamEvent
from promptmill.wire.translation import translate

WIRE_FORMAT: Final = "nlpcloud"
LABEL = "NLP Cloud"
DONE = "[DONE]"
"""The mark at the end of a stream's last piece."""
_CARRIED = frozenset({"max_output_tokens", "temperature", "top_p", "top_k", "stop"})


def write_request(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, "nlpcloud", model=route.model)
    refuse_all_but(_CARRIED, request, by=LABEL)
    flat = flat_prompt(request, route.wire, by=LABEL)
    stop = request.stop or flat.stop
    if len(stop) > 1:
        raise unsupported("stop", f"more than one sequence cannot be sent to {LABEL}")
    optional = {
        "max_length": request.max_output_tokens,
        "length_no_input": None if request.max_output_tokens is None else True,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "end_sequence": stop[0] if stop else None,
        "remove_end_sequence": True if stop else None,
    }
    body: dict[str, Any] = {"text": flat.text, "remove_input": True}
    body.update((name, value) for name, value in optional.items() if value is not None)
    return add_native(body, request, wire_format=WIRE_FORMAT)


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    told = as_object(raw)
    usage = count_plain_usage(told.get("nb_input_tokens"), told.get("nb_generated_tokens"))
    if not is_textual(told.get("generated_text", [])):
        raise malformed_answer(answer, "the answer has no generated text", request_id="", usage=usage)
    text, most = as_text(told["generated_text"]), request.max_output_tokens
    is_full = most is not None and count_in(told, "nb_generated_tokens") >= most
    return Completion(
        text=text,
        finish_reason="length" if is_full else "unknown",
        usage=usage or estimate_usage(request, text, ()),
        wire_format=WIRE_FORMAT,
        raw=raw,
    )


class GenerationAssembler:
    """See Assembler. Pieces are plain text, or JSON with ``generated_text``, depending on the model."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        told = as_object(parse_json(event.data)).get("generated_text")
        piece = told if isinstance(told, str) else event.data.decode(errors="replace")
        if piece.endswith(DONE):
            piece, self.is_complete = piece.removesuffix(DONE), True
        self._pieces.append(piece)
        return bool(piece)

    def answer(self) -> dict[str, Any]:
        """See Assembler. A stream does not report its usage."""
        return {"generated_text": "".join(self._pieces)}
