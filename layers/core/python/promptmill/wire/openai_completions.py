"""OpenAI's older completions: a text that the model goes on with."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Wire
from promptmill.wire.flat_prompts import flat_prompt
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import convert, estimate_usage, malformed_answer
from promptmill.wire.openai_chat.answer import note_head, read_chunk, read_usage
from promptmill.wire.openai_endpoints import OpenAiEndpoint, refuse_unknown_fields
from promptmill.wire.request_bodies import add_native, refuse_embedding, refuse_fields
from promptmill.wire.stream_events import StreamEvent

WIRE_FORMAT: Final = "openai-completions"
_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "filter"}
_DEFAULT_MAX_TOKENS = 1024
"""The API's own default is 16, which is too short for any answer."""


class _Choice(Struct):
    text: str
    finish_reason: str | None = None


class _Completion(Struct):
    choices: list[_Choice]
    model: str | None = None


def write_request(request: CompletionRequest, *, model: str, provider: Provider, wire: Wire) -> dict[str, Any]:
    """See MakeBody."""
    refuse_embedding(request, by=provider.label)
    refuse_fields(request, provider.unsupported, by=provider.label)
    prompt = flat_prompt(request, wire, by=provider.label)
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
    body = {**named, "prompt": prompt.text, **{name: value for name, value in fields.items() if value is not None}}
    return refuse_unknown_fields(add_native(body, request, wire_format=WIRE_FORMAT), provider)


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """See ReadAnswer."""
    completion = convert(raw, _Completion)
    if completion is None or not completion.choices:
        raise malformed_answer(answer, "the answer has no choices", request_id=request_id)
    choice = completion.choices[0]
    return Completion(
        text=choice.text,
        finish_reason=_FINISH.get(choice.finish_reason or "", "unknown"),
        usage=read_usage(raw) or estimate_usage(request, choice.text, ()),
        raw_finish=choice.finish_reason or "",
        model=completion.model or "",
        request_id=request_id,
        wire_format=WIRE_FORMAT,
        raw=raw,
    )


class CompletionAssembler:
    """See Assembler."""

    def __init__(self) -> None:
        self.is_complete = False
        self._head: dict[str, Any] = {}
        self._texts: list[str] = []
        self._finish: str | None = None

    def add(self, event: StreamEvent) -> bool:
        """See Assembler. GooseAI's streams may end with ``[DONE]`` and no reason."""
        if event.data.strip() == b"[DONE]":
            self.is_complete = bool(self._head)
            return False
        chunk = read_chunk(event)
        if chunk is None:
            return False
        note_head(self._head, chunk)
        pieces = [choice.text for choice in chunk.choices if choice.index == 0 and choice.text]
        self._texts.extend(pieces)
        for choice in chunk.choices:
            if choice.index == 0 and choice.finish_reason:
                self._finish, self.is_complete = choice.finish_reason, True
        return bool(pieces)

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        choice = {"index": 0, "text": "".join(self._texts), "logprobs": None, "finish_reason": self._finish}
        return {"object": "text_completion", **self._head, "choices": [choice]}


COMPLETIONS = OpenAiEndpoint(write_request, read_answer, CompletionAssembler)
