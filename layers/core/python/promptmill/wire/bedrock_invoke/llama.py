"""Meta Llama's own body on Bedrock: one text, in the template of the model's generation."""

from __future__ import annotations

import re
from typing import Any

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason
from promptmill.domain.recipe import Route
from promptmill.wire.bedrock_invoke.vendor import LABEL, WIRE_FORMAT, read_counted_usage, user_messages
from promptmill.wire.flat_prompts import flat_prompt, refuse_all_but, turns
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import (
    AnswerSource,
    Said,
    count_plain_usage,
    invert_finish_reasons,
    make_completion,
    malformed_answer,
)
from promptmill.wire.json_fields import Fields
from promptmill.wire.loose_json import as_object, as_text, is_textual
from promptmill.wire.request_bodies import add_native, unsupported
from promptmill.wire.translation import translate

BEGIN = "<|begin_of_text|>"
_CARRIED = frozenset({"max_output_tokens", "temperature", "top_p"})
_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_FINISH_NAMES = invert_finish_reasons(_FINISH)
_SPECIAL = re.compile(
    r"<\|(?:begin_of_text|end_of_text|start_header_id|end_header_id|header_start|header_end|eot_id|eot|eom_id|eom|"
    r"python_tag|image)\|>"
)


def read_request(body: Fields) -> CompletionRequest:
    """Return the request. Fields without a place in it stay native. Raise RecordError for what is missing or wrong."""
    if "images" in body:
        raise body.unsupported("images", "images in a native body cannot be read", remedy="write it as Converse")
    return CompletionRequest(
        messages=user_messages(body.require_text("prompt")),
        max_output_tokens=body.take_integer("max_gen_len", least=1),
        temperature=body.take_number("temperature"),
        top_p=body.take_number("top_p"),
        wire_format=WIRE_FORMAT,
        native=body.left({}),
    )


def write_request(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, WIRE_FORMAT, model=route.model)
    refuse_all_but(_CARRIED, request, by=LABEL)
    optional = {
        "max_gen_len": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
    }
    body: dict[str, Any] = {"prompt": _prompt(request, route)}
    body.update((name, value) for name, value in optional.items() if value is not None)
    return add_native(body, request, wire_format=WIRE_FORMAT)


def _prompt(request: CompletionRequest, route: Route) -> str:
    """Return the prompt. A line of this API brings its own template."""
    said = list(turns(request, by=LABEL))
    if request.wire_format == WIRE_FORMAT and len(said) == 1:
        return said[0][1]
    if any(_SPECIAL.search(text) for _, text in said):
        raise unsupported("messages", "holds a token that would end a turn of the model's template")
    if route.wire.turn:
        return flat_prompt(request, route.wire, by=LABEL).text
    head, tail, end = _marks(route.model)
    written = "".join(f"{head}{role}{tail}\n\n{text}{end}" for role, text in said)
    return f"{BEGIN}{written}{head}assistant{tail}\n\n"


def _marks(model: str) -> tuple[str, str, str]:
    if "llama4" in model:
        return "<|header_start|>", "<|header_end|>", "<|eot|>"
    return "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    told = as_object(raw)
    usage = read_counted_usage(answer.headers, raw)
    usage = usage or count_plain_usage(told.get("prompt_token_count"), told.get("generation_token_count"))
    if not is_textual(told.get("generation", [])):
        raise malformed_answer(answer, "the answer has no generation", request_id=request_id, usage=usage)
    text, raw_finish = as_text(told["generation"]), as_text(told.get("stop_reason"))
    source = AnswerSource("", request_id, WIRE_FORMAT, raw)
    finish = (_FINISH.get(raw_finish, "unknown"), raw_finish)
    return make_completion(Said(text, (), ()), source, request, finish, usage)


def write_answer(completion: Completion) -> dict[str, Any]:
    return {
        "generation": completion.text,
        "prompt_token_count": completion.usage.input_total,
        "generation_token_count": completion.usage.output_total,
        "stop_reason": _FINISH_NAMES.get(completion.finish_reason, "stop"),
    }


def ends(chunk: dict[str, Any]) -> bool:
    """Return whether this chunk is the last: it says why the model stopped."""
    return bool(chunk.get("stop_reason"))


def join(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Join chunks, each ``{generation, prompt_token_count, generation_token_count, stop_reason}``. Counts grow."""
    told: dict[str, Any] = {}
    for chunk in chunks:
        told |= {name: value for name, value in chunk.items() if value is not None}
    text = "".join(piece for chunk in chunks if isinstance(piece := chunk.get("generation"), str))
    known = ("prompt_token_count", "generation_token_count", "stop_reason")
    return {"generation": text, **{name: told.get(name) for name in known}}
