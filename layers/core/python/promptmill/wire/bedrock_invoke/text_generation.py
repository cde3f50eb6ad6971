"""Bodies of servers for text generation, as SageMaker JumpStart and Hugging Face have them: inputs and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Recipe
from promptmill.wire.bedrock_invoke.vendor import user_messages
from promptmill.wire.json_fields import Fields
from promptmill.wire.openai_chat.request import WIRE_FORMAT, read_messages

_ABOUT_THE_ANSWER = ("details", "decoder_input_details", "top_n_tokens", "watermark")
"""Parameters that ask for more about the answer than its text."""
_NATIVE = ("repetition_penalty", "frequency_penalty", "typical_p")
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {"return_full_text": (False,), "best_of": (1,)}


def is_text_generation(body: Mapping[str, Any]) -> bool:
    return isinstance(body.get("parameters"), dict) and ("messages" in body or isinstance(body.get("inputs"), str))


def read_request(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Return the request. Raise RecordError for what is missing or wrong, or would change the answer."""
    parameters = body.require_object("parameters")
    if "inputs" in body:
        system, messages = "", user_messages(body.require_text("inputs"))
    else:
        system, messages = read_messages(body, recipe)
    asked = [name for name in _ABOUT_THE_ANSWER if parameters.take(name)]
    is_greedy = parameters.take("do_sample") is False
    temperature = parameters.take_number("temperature")
    request = CompletionRequest(
        messages=messages,
        system=system,
        model=body.take_text("model") or "",
        max_output_tokens=parameters.take_integer("max_new_tokens", least=1),
        temperature=0 if is_greedy else temperature,
        top_p=parameters.take_number("top_p"),
        top_k=parameters.take_integer("top_k"),
        seed=parameters.take_integer("seed"),
        stop=parameters.take_texts("stop"),
        wire_format=WIRE_FORMAT,
        native={name: value for name in _NATIVE if (value := parameters.take(name)) is not None} | body.left({}),
        notes=tuple(f"{name} was left out: only the text is answered" for name in asked),
    )
    for name, neutral in _NEUTRAL.items():
        if parameters.peek(name) in neutral:
            parameters.take(name)
    for name in parameters.values():
        raise parameters.unsupported(name, "cannot be carried")
    return request


def write_answer(completion: Completion) -> list[dict[str, Any]]:
    """Return an answer as these servers give it to inputs."""
    return [{"generated_text": completion.text}]
