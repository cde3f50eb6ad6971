"""Promptmill's own lines, rows of any other JSON lines, and bodies of the APIs as they are.

A line is a JSON object with ``prompt`` (a text) or ``messages`` (role and content, as in OpenAI's chat protocol, with
the other fields of that API; or a body of Anthropic's or Converse's), and of choice ``id`` (anything), ``system``,
``model``, ``max_output_tokens``, ``temperature``, ``top_p``, ``top_k``, ``seed``, ``stop`` (a text or several) and
``json_schema`` (a JSON schema that the answer must follow). A line with neither is a row: the recipe's ``prompt``
template names its columns, also parts of them as in ``{{ turns.0 }}``, or else its column ``prompt`` or ``text`` is the
prompt. In lines with ``prompt``, ``{{ text }}`` and ``{{ prompt }}`` are the prompt. All other columns are kept.

Results are ``{id, record, status, answer | error, …}``: ``record`` is the place in the file, from 0; ``status`` is
``answered``, ``failed`` or ``stopped``; ``json`` is the answer parsed, where a schema was asked for and it parses;
``cost_usd`` is text, of all attempts, or null if it is not known. A route for embeddings answers with ``embedding``.
The line's other columns stand before these, and one that has the name of one of these is called ``input_…``.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any, Literal

import msgspec
from msgspec import structs

from promptmill.domain.completion import Completion, CompletionRequest, JsonSchema, Usage
from promptmill.domain.errors import RecordError
from promptmill.domain.money import usd_text
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.domain.templates import find_value, template_names
from promptmill.formats.columns import as_cell, no_prompt_column, prompt_column, value_at
from promptmill.formats.lines import JsonLinesFormat
from promptmill.formats.recipe_defaults import answer_schema, ask, prompt_from, used_columns
from promptmill.wire.anthropic_messages import request as messages_request
from promptmill.wire.bedrock_converse import request as converse_request
from promptmill.wire.field_rules import BODY_RULES
from promptmill.wire.json_fields import NOTHING, Fields, decode_json
from promptmill.wire.openai_chat import request as chat_request

_SETTINGS = frozenset(
    ("system", "model", "max_output_tokens", "temperature", "top_p", "top_k", "seed", "stop", "json_schema")
)
_OFTEN_COLUMNS = frozenset(
    (
        "audio",
        "functions",
        "image",
        "metadata",
        "moderation",
        "n",
        "prediction",
        "reasoning",
        "store",
        "thinking",
        "user",
    )
)
"""Fields of OpenAI's chat API that are as likely columns of a data set. They are fields beside ``model`` only."""
_READ_OF_CHAT = frozenset(("messages", "max_tokens", "max_completion_tokens", "n", "stream", "stream_options"))
_ADDRESSES = frozenset(
    (
        "api_base",
        "api_key",
        "api_version",
        "base_url",
        "custom_llm_provider",
        "extra_body",
        "extra_headers",
        "extra_query",
    )
)
_LONG_NAMES = ("max_output_tokens", "temperature", "json_schema", "response_format")
_MAX_SLIPS = 0.85


def _read(line: Fields, record: RawRecord, recipe: Recipe) -> CompletionRequest:
    given = line.values()
    for name in given.keys() & _ADDRESSES:
        raise line.unsupported(name, "a line does not choose where it is sent", remedy="leave it out")
    row = line.with_nulls()  # a null cell is an empty one, and no missing column
    line_id = line.take("id")
    if "messages" in line:
        return _read_conversation(line, given, recipe)
    if "prompt" in line:
        return _read_prompt(line, line_id, row, record, recipe)
    if not row.keys() - {"id"}:
        raise line.missing("prompt")
    columns = used_columns(recipe, _cells(row, recipe.prompt)) if recipe.prompt else {}
    request = ask(_fill_row(row, record, recipe), record, columns)
    for name in given:
        line.take(name)
    model = given.get("model")
    is_line_model = recipe.model == "line" and isinstance(model, str)
    return structs.replace(request, model=model) if is_line_model else request


def _write(outcome: Outcome, given: dict[str, Any], recipe: Recipe, _job_id: str) -> dict[str, Any]:
    line = {"id": given.get("id"), "record": outcome.record.index, "status": outcome.status}
    if outcome.failure is not None:
        line["error"] = _error(outcome.failure)
    elif outcome.completion is not None:
        line |= _answer(outcome.completion, answer_schema(recipe, given))
    line |= _facts(outcome)
    columns = _columns_of(given)
    return {f"input_{name}" if name in _OURS else name: value for name, value in columns.items()} | line


_OURS = frozenset(
    (
        *("id", "record", "status", "error", "answer", "finish_reason", "json", "tool_calls", "embedding", "model"),
        *("route", "usage", "cost_usd", "requested_model", "notes"),
    )
)


def _columns_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a line holds beside what is asked: all of a row, and of other lines what no API has a field for."""
    used = {"id"}
    if "messages" in given:
        used |= _SETTINGS | _body_fields(given).keys() | {"messages"}
    elif "prompt" in given:
        used |= _SETTINGS | {"prompt", "max_tokens", "max_completion_tokens"}
    return {name: value for name, value in given.items() if name not in used}


def _read_settings(line: Fields) -> CompletionRequest:
    schema = line.take_dict("json_schema")
    most = [line.take_integer(name, least=1) for name in ("max_output_tokens", "max_completion_tokens", "max_tokens")]
    return CompletionRequest(
        messages=(),
        system=line.take_text("system") or "",
        model=line.take_text("model") or "",
        max_output_tokens=next((limit for limit in most if limit is not None), None),
        temperature=line.take_number("temperature"),
        top_p=line.take_number("top_p"),
        top_k=line.take_integer("top_k"),
        seed=line.take_integer("seed"),
        stop=line.take_texts("stop"),
        json_schema=JsonSchema(schema) if schema else None,
    )


def _read_prompt(
    line: Fields, line_id: Any, given: Mapping[str, Any], record: RawRecord, recipe: Recipe
) -> CompletionRequest:
    settings, prompt = _read_settings(line), line.require_text("prompt")
    _refuse_misspelt(line, recipe)
    if recipe.prompt:
        own = {"text": prompt, "prompt": prompt, "id": as_cell(line_id)}
        cells = {**_cells(given, recipe.prompt), **own}
        prompt, columns = prompt_from(recipe.prompt, cells, record), used_columns(recipe, cells)
        return structs.replace(settings, messages=ask(prompt, record).messages, columns=columns)
    return structs.replace(settings, messages=ask(prompt, record).messages)


def _refuse_misspelt(line: Fields, recipe: Recipe) -> None:
    """Refuse what was meant as a setting, and take everything else as columns, which the result repeats."""
    used = template_names(recipe.prompt)
    for name in line.values():
        line_field = name in BODY_RULES["openai-chat"] and name not in _OFTEN_COLUMNS
        near = [meant for meant in _LONG_NAMES if SequenceMatcher(None, name, meant).ratio() > _MAX_SLIPS]
        if name not in used and (line_field or near):
            remedy = f"write {near[0]}" if near else "write the line with messages, or leave it out"
            raise line.unsupported(name, "a line with a prompt has no such setting", remedy=remedy)
        line.take(name)


def _fill_row(row: Mapping[str, Any], record: RawRecord, recipe: Recipe) -> str:
    if recipe.prompt:
        return prompt_from(recipe.prompt, _cells(row, recipe.prompt), record)
    column = prompt_column(row)
    if column is None:
        raise RecordError(
            no_prompt_column(list(row)),
            code="no_prompt_column",
            where=f"line {record.line}",
            remedy="rename one, or give the recipe a prompt that names columns, as in {{ review }}",
        )
    return as_cell(row[column])


def _cells(row: Mapping[str, Any], template: str) -> dict[str, str]:
    """Return the columns as texts, and the parts of columns that the template names."""
    cells = {name: as_cell(value) for name, value in row.items()}
    parts = {name: value_at(row, name) for name in template_names(template) if find_value(name, cells) is None}
    return {**cells, **{name: as_cell(value) for name, value in parts.items() if value is not None}}


def _read_conversation(line: Fields, given: Mapping[str, Any], recipe: Recipe) -> CompletionRequest:
    if line.take("prompt") not in NOTHING:
        raise line.error("messages", "a line has a prompt or messages, not both", remedy="leave one of them out")
    body = _body_fields(given)
    api = _api_of(given)
    for name in given:
        line.take(name)
    fields = Fields(body, where=line.where)
    if api == "converse":
        return converse_request.read_request(fields, recipe)
    if api == "messages":
        return messages_request.read_request(fields, recipe)
    return _read_chat(fields, recipe)


def _read_chat(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Return the request of OpenAI's body, in which our own settings may stand, too."""
    most, system, schema = (
        body.take_integer("max_output_tokens", least=1),
        body.take_text("system") or "",
        body.take_dict("json_schema"),
    )
    request = chat_request.read_request(body, recipe)
    if request.system and system:
        raise body.error("system", "there is a system message, too", remedy="leave one of them out")
    return structs.replace(
        request,
        system=request.system or system,
        max_output_tokens=request.max_output_tokens if most is None else most,
        json_schema=JsonSchema(schema) if schema else request.json_schema,
    )


def _body_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a line with messages that is a request. Beside ``model``, all of it is."""
    api = _api_of(given)
    if api != "chat" or "model" in given:
        return {name: value for name, value in given.items() if name != "id"}
    known = (_SETTINGS | _READ_OF_CHAT | BODY_RULES["openai-chat"].keys()) - _OFTEN_COLUMNS
    return {name: value for name, value in given.items() if name in known}


def _api_of(given: Mapping[str, Any]) -> Literal["chat", "messages", "converse"]:
    """Return whose body a line with messages is, by the fields and blocks that only one API has."""
    if given.keys() & {"inferenceConfig", "toolConfig"}:
        return "converse"
    if given.keys() & {"anthropic_version", "stop_sequences", "output_config"} or isinstance(given.get("system"), list):
        return "messages"
    messages = given.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else ():
            if isinstance(block, dict) and "type" not in block:
                return "converse"
            if isinstance(block, dict) and block["type"] in _BLOCKS_OF_ANTHROPIC:
                return "messages"
    return "chat"


_BLOCKS_OF_ANTHROPIC = ("tool_use", "tool_result", "thinking", "redacted_thinking", "document", "image")


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
