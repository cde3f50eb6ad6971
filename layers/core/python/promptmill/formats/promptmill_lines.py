"""Promptmill's own lines.

A line is a JSON object with ``prompt`` (a text) or ``messages`` (role and content, as in OpenAI's chat protocol), and
of choice ``id`` (anything), ``system``, ``model``, ``max_output_tokens``, ``temperature``, ``top_p``, ``top_k``,
``seed``, ``stop`` (a text or several) and ``json_schema`` (a JSON schema that the answer must follow). Where the recipe
has a ``prompt`` template, it is filled for lines with ``prompt``: ``{{ text }}`` and ``{{ prompt }}`` are the prompt,
and every further key of the line can be used by name. Keys that nobody uses are refused.

Results are ``{id, record, status, answer | error, …}``: ``record`` is the place in the file, from 0; ``status`` is
``answered``, ``failed`` or ``stopped``; ``json`` is the answer parsed, where a schema was asked for and it parses;
``cost_usd`` is text, of all attempts, or null if it is not known. A route for embeddings answers with ``embedding``.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import structs

from promptmill.domain.completion import Completion, CompletionRequest, JsonSchema, Usage
from promptmill.domain.money import usd_text
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.domain.templates import template_names
from promptmill.formats.lines import JsonLinesFormat
from promptmill.formats.recipe_defaults import answer_schema, ask, prompt_from
from promptmill.wire.json_fields import NOTHING, Fields, decode_json
from promptmill.wire.openai_chat.request import read_messages


def _read(line: Fields, record: RawRecord, recipe: Recipe) -> CompletionRequest:
    line_id = line.take("id")
    settings = _read_settings(line)
    asked = _read_prompt(line, line_id, record, recipe)
    if asked.system and settings.system:
        raise line.error("system", "there is a system message, too", remedy="leave one of them out")
    return structs.replace(settings, messages=asked.messages, system=asked.system or settings.system)


def _write(outcome: Outcome, given: dict[str, Any], recipe: Recipe, _job_id: str) -> dict[str, Any]:
    line = {"id": given.get("id"), "record": outcome.record.index, "status": outcome.status}
    if outcome.failure is not None:
        line["error"] = _error(outcome.failure)
    elif outcome.completion is not None:
        line |= _answer(outcome.completion, answer_schema(recipe, given))
    return line | _facts(outcome)


def _read_settings(line: Fields) -> CompletionRequest:
    schema = line.take_dict("json_schema")
    return CompletionRequest(
        messages=(),
        system=line.take_text("system") or "",
        model=line.take_text("model") or "",
        max_output_tokens=line.take_integer("max_output_tokens", least=1),
        temperature=line.take_number("temperature"),
        top_p=line.take_number("top_p"),
        top_k=line.take_integer("top_k"),
        seed=line.take_integer("seed"),
        stop=line.take_texts("stop"),
        json_schema=JsonSchema(schema) if schema else None,
    )


def _read_prompt(line: Fields, line_id: Any, record: RawRecord, recipe: Recipe) -> CompletionRequest:
    if "messages" in line:
        return _read_conversation(line, recipe)
    prompt = line.require_text("prompt")
    others = {name: _as_text(value) for name, value in line.values().items()}
    template = recipe.prompt
    used = template_names(template)
    for name in [name for name in others if name in used]:
        line.take(name)
    line.refuse_left()
    if template:
        own = {"text": prompt, "prompt": prompt, "id": _as_text(line_id)}
        prompt = prompt_from(template, {**others, **own}, record)
    return ask(prompt, record)


def _read_conversation(line: Fields, recipe: Recipe) -> CompletionRequest:
    if line.take("prompt") not in NOTHING:
        raise line.error("messages", "a line has a prompt or messages, not both", remedy="leave one of them out")
    system, messages = read_messages(line, recipe)
    line.refuse_left()
    return CompletionRequest(messages=messages, system=system)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _error(failure: Failure) -> dict[str, Any]:
    return {"code": failure.code, "message": failure.message, "field": failure.field or None}


def _answer(completion: Completion, schema: dict[str, Any] | None) -> dict[str, Any]:
    if completion.embeddings:
        return {"embedding": completion.embeddings[0]}
    answer: dict[str, Any] = {"answer": completion.text, "finish_reason": completion.finish_reason}
    if schema is not None:
        try:
            answer["json"] = decode_json(completion.text)
        except (msgspec.DecodeError, UnicodeError):
            answer["json"] = None
    if completion.tool_calls:
        answer["tool_calls"] = [
            {"id": call.id, "name": call.name, "arguments": call.arguments} for call in completion.tool_calls
        ]
    return answer


def _facts(outcome: Outcome) -> dict[str, Any]:
    completion, cost = outcome.completion, outcome.cost_nano
    facts: dict[str, Any] = {
        "model": completion.model or None if completion else None,
        "route": outcome.route or None,
        "usage": _usage(completion.usage) if completion else None,
        "cost_usd": None if cost is None else usd_text(cost),
    }
    if outcome.requested_model:
        facts["requested_model"] = outcome.requested_model
    return facts


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_total,
        "cache_read_tokens": usage.cache_read,
        "cache_write_tokens": usage.cache_write,
        "output_tokens": usage.output_total,
        "reasoning_tokens": usage.reasoning,
        "source": usage.source,
    }


FORMAT = JsonLinesFormat("promptmill", _read, _write)
