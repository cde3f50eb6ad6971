"""OpenAI's older completions: a text that the model goes on with."""

from __future__ import annotations

from typing import Any, Final

from promptmill.domain.completion import Attachment, Completion, CompletionRequest, tokens_of
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Wire
from promptmill.wire.flat_prompts import FlatPrompt, flat_prompt
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import AnswerSource, Said, make_completion, malformed_answer, note_choices
from promptmill.wire.loose_json import as_object, as_objects, as_text
from promptmill.wire.openai.endpoints import OpenAiEndpoint, refuse_unknown_fields
from promptmill.wire.openai_chat.answer import (
    FINISH,
    first_choice,
    first_choices,
    is_end,
    note_head,
    read_chunk,
    read_content,
)
from promptmill.wire.openai_chat.usage import read_usage
from promptmill.wire.request_bodies import add_native, refuse_embedding, refuse_fields
from promptmill.wire.stream_events import StreamEvent
from promptmill.wire.translation import translate

WIRE_FORMAT: Final = "openai-completions"
_DEFAULT_MAX_TOKENS = 1024
"""The API's own default is 16, which is too short for any answer."""


def write_request(request: CompletionRequest, *, model: str, provider: Provider, wire: Wire) -> dict[str, Any]:
    """See MakeBody."""
    request = translate(request, WIRE_FORMAT, model=model, lacks=provider.unsupported)
    refuse_embedding(request, by=provider.label)
    refuse_fields(request, provider.unsupported, by=provider.label)
    tokens = _tokens_asked(request)
    prompt = FlatPrompt("", request.stop) if tokens else flat_prompt(request, wire, by=provider.label)
    fields = {
        wire.max_tokens or "max_tokens": request.max_output_tokens
        or provider.default_max_tokens
        or _DEFAULT_MAX_TOKENS,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "stop": list(prompt.stop) or None,
    }
    named = {} if "{model}" in provider.paths["completions"] else {"model": model}
    body = {
        **named,
        "prompt": tokens or prompt.text,
        **{name: value for name, value in fields.items() if value is not None},
    }
    return refuse_unknown_fields(add_native(body, request, wire_format=WIRE_FORMAT), provider)


def _tokens_asked(request: CompletionRequest) -> list[int]:
    """Return the prompt's tokens where a line of this API wrote it so."""
    parts = [part for message in request.messages for part in message.parts]
    match parts:
        case [Attachment() as part] if request.wire_format == WIRE_FORMAT:
            return tokens_of(part)
    return []


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """See ReadAnswer."""
    choice, usage = first_choice(raw), read_usage(raw)
    model, unknown = as_text(as_object(raw).get("model")), list[str]()
    if not choice:
        reason = "the answer has no choices"
        raise malformed_answer(answer, reason, request_id=request_id, usage=usage, model=model)
    text = read_content(choice.get("text"), unknown)
    raw_finish = as_text(choice.get("finish_reason"))
    finish = (FINISH.get(raw_finish.lower(), "unknown"), raw_finish)
    source = AnswerSource(model, request_id, WIRE_FORMAT, raw)
    notes = note_choices(len(as_objects(as_object(raw).get("choices"))))
    return make_completion(Said(text, (), unknown), source, request, finish, usage, notes=notes)


class CompletionAssembler:
    """See Assembler."""

    def __init__(self) -> None:
        self.is_complete = False
        self._head: dict[str, Any] = {}
        self._texts: list[str] = []
        self._finish: str | None = None

    def add(self, event: StreamEvent) -> bool:
        """See Assembler. GooseAI's streams may end with ``[DONE]`` and no reason."""
        if is_end(event):
            self.is_complete = bool(self._head)
            return False
        chunk = read_chunk(event)
        if chunk is None:
            return False
        note_head(self._head, chunk)
        choices = first_choices(chunk)
        pieces = [piece for choice in choices if (piece := as_text(choice.get("text")))]
        self._texts.extend(pieces)
        for choice in choices:
            if choice.get("finish_reason"):
                self._finish, self.is_complete = as_text(choice["finish_reason"]), True
        return bool(pieces)

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        choice = {"index": 0, "text": "".join(self._texts), "logprobs": None, "finish_reason": self._finish}
        return {"object": "text_completion", **self._head, "choices": [choice]}


COMPLETIONS = OpenAiEndpoint(write_request, read_answer, CompletionAssembler)
