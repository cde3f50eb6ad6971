"""Translate the fields of a request that only its own API has: settings, thinking, who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptmill.domain.completion import (
    JsonSchema,
    Tool,
    ToolChoice,
)
from promptmill.domain.json_schemas import lower_types
from promptmill.wire.request_bodies import unsupported
from promptmill.wire.translation.work import HINTS, LABELS, Translation

_LEVELS = ("minimal", "low", "medium", "high")
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}
_MIN_BUDGET = 1024


def translate_fields(work: Translation) -> dict[str, Any]:
    """Read the native fields into words that APIs share, and the rest into ``left``. Return changes of the request."""
    readers = {
        "openai-chat": _read_chat,
        "openai-responses": _read_responses,
        "anthropic-messages": _read_messages,
        "bedrock-converse": _read_converse,
        "vertex-generate": _read_gemini,
    }
    reader = readers.get(work.request.wire_format)
    changes = reader(work) if reader else {}
    for name in [name for name in work.left if name in HINTS]:
        del work.left[name]
        work.drop(name)
    return changes


def _read_chat(work: Translation) -> dict[str, Any]:
    left, changes = work.left, dict[str, Any]()
    work.say("user", left.pop("user", None) or left.pop("safety_identifier", None))
    left.pop("safety_identifier", None)
    for name in ("parallel_tool_calls", "metadata", "verbosity", "frequency_penalty", "presence_penalty"):
        work.say(name, left.pop(name, None))
    for name in ("logprobs", "top_logprobs"):
        work.say(name, left.pop(name, None))
    work.say("effort", left.pop("reasoning_effort", None))
    _read_thinking(work, left.pop("thinking", None))
    for name in ("reasoning", "output_config"):  # as gateways write it
        match left.get(name):
            case {"effort": effort, **others} if not others:
                del left[name]
                work.say("effort", effort)
    if isinstance(functions := left.pop("functions", None), list):
        changes["tools"] = tuple(_make_tool(function) for function in functions if isinstance(function, dict))
    match left.pop("function_call", None):
        case "auto" | "none" as mode:
            changes["tool_choice"] = ToolChoice(mode)
        case {"name": str(name)}:
            changes["tool_choice"] = ToolChoice("named", name)
    match left.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema), **others}}:
            del left["response_format"]
            work.drop("response_format.json_schema.description")
            changes["json_schema"] = JsonSchema(
                schema, str(others.get("name") or "answer"), strict=bool(others.get("strict"))
            )
    return changes


def _make_tool(function: dict[str, Any]) -> Tool:
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return Tool(str(function.get("name") or ""), str(function.get("description") or ""), parameters)


def _read_responses(work: Translation) -> dict[str, Any]:
    left = work.left
    work.say("user", left.pop("user", None) or left.pop("safety_identifier", None))
    for name in ("parallel_tool_calls", "metadata", "top_logprobs"):
        work.say(name, left.pop(name, None))
    match left.get("reasoning"):
        case {"effort": effort, **others} if not set(others) - {"summary", "generate_summary"}:
            del left["reasoning"]
            work.say("effort", effort)
    match left.get("text"):
        case {"verbosity": verbosity, **others} if not others:
            del left["text"]
            work.say("verbosity", verbosity)
    if left.get("include") and work.said.get("top_logprobs") is not None:
        del left["include"]
        work.said["logprobs"] = True
    return {}


def _read_messages(work: Translation) -> dict[str, Any]:
    left, changes = work.left, dict[str, Any]()
    match left.pop("metadata", None):
        case {"user_id": user}:
            work.say("user", user)
    _read_thinking(work, left.pop("thinking", None))
    match left.get("output_config"):
        case {"effort": effort, **others} if not others:
            del left["output_config"]
            work.say("effort", effort)
    match left.get("tool_choice"):
        case {"type": "auto" | "any" | "none" | "tool" as kind, **others}:
            del left["tool_choice"]
            modes = {"any": "required", "tool": "named"}
            changes["tool_choice"] = ToolChoice(modes.get(kind, kind), str(others.get("name") or ""))
            if others.get("disable_parallel_tool_use"):
                work.said["parallel_tool_calls"] = False
    return changes


def _read_thinking(work: Translation, thinking: Any) -> None:
    match thinking:
        case {"type": "enabled", "budget_tokens": int(budget)}:
            work.say("budget", budget)
        case {"type": "disabled"}:
            work.say("budget", 0)
        case dict():
            work.drop("thinking")


def _read_converse(work: Translation) -> dict[str, Any]:
    left, changes = work.left, dict[str, Any]()
    work.say("metadata", left.pop("requestMetadata", None))
    fields = dict(left.pop("additionalModelRequestFields", None) or {})
    match fields.pop("inferenceConfig", None):
        case {"topK": int(top_k)}:
            changes["top_k"] = top_k
    for name in ("top_k", "topK", "k"):
        if isinstance(fields.get(name), int):
            changes["top_k"] = fields.pop(name)
    work.say("effort", fields.pop("reasoning_effort", None))
    _read_thinking(work, fields.pop("thinking", None) or fields.pop("reasoning_config", None))
    if fields:
        left["additionalModelRequestFields"] = fields
    return changes


def _read_gemini(work: Translation) -> dict[str, Any]:
    left = work.left
    work.say("metadata", left.pop("labels", None))
    config = dict(left.pop("generationConfig", None) or {})
    for name, other in (("frequencyPenalty", "frequency_penalty"), ("presencePenalty", "presence_penalty")):
        work.say(other, config.pop(name, None))
    work.say("logprobs", config.pop("responseLogprobs", None))
    work.say("top_logprobs", config.pop("logprobs", None))
    match config.pop("thinkingConfig", None):
        case {"thinkingBudget": int(budget)} if budget >= 0:
            work.say("budget", budget)
        case {"thinkingLevel": str(level)}:
            work.say("effort", level.lower())
    changes: dict[str, Any] = {}
    if isinstance(config.get("responseSchema"), dict):
        changes["json_schema"] = JsonSchema(lower_types(config.pop("responseSchema")), strict=False)
        config.pop("responseMimeType", None)
    config.pop("mediaResolution", None)
    if config:
        left["generationConfig"] = config
    return changes


def write_said(work: Translation, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the native fields of the target that say the same. What it has no word for is dropped or left."""
    writers = {
        "openai-chat": _write_chat,
        "openai-responses": _write_responses,
        "anthropic-messages": _write_messages,
        "bedrock-converse": _write_converse,
        "vertex-generate": _write_gemini,
    }
    writer = writers.get(work.target)
    native: dict[str, Any] = writer(work, changes) if writer else {}
    said = work.said
    if said.get("parallel_tool_calls") is True:
        del said["parallel_tool_calls"]  # every API's default
    for name, value in said.items():
        if name in ("user", "metadata", "verbosity", "effort", "budget"):
            work.drop({"effort": "reasoning_effort", "budget": "thinking"}.get(name, name))
        elif value not in (0, False) or name == "parallel_tool_calls":
            raise unsupported(name, f"cannot be sent to {LABELS.get(work.target, 'this API')}")
    return native


def _take(work: Translation, *names: str) -> dict[str, Any]:
    return {name: work.said.pop(name) for name in names if name in work.said}


def _effort(work: Translation) -> str | None:
    """Return how hard to think: as said, or by the budget."""
    effort, budget = work.said.pop("effort", None), work.said.pop("budget", None)
    if effort is not None or budget is None:
        return None if effort is None else str(effort)
    if not budget:
        return "none"
    return next((level for level in _LEVELS[1:] if budget <= 4 * _BUDGETS[level] // 2), "high")


def _write_chat(work: Translation, _changes: Mapping[str, Any]) -> dict[str, Any]:
    native = _take(work, "parallel_tool_calls", "user", "metadata", "verbosity", "frequency_penalty")
    native |= _take(work, "presence_penalty", "logprobs", "top_logprobs")
    effort = _effort(work)
    return native if effort is None else {**native, "reasoning_effort": effort}


def _write_responses(work: Translation, _changes: Mapping[str, Any]) -> dict[str, Any]:
    native = _take(work, "parallel_tool_calls", "user", "metadata")
    if work.said.pop("logprobs", None):
        native |= {"include": ["message.output_text.logprobs"], **_take(work, "top_logprobs")}
    if verbosity := work.said.pop("verbosity", None):
        native["text"] = {"verbosity": verbosity}
    effort = _effort(work)
    return native if effort is None else {**native, "reasoning": {"effort": effort}}


def _write_messages(work: Translation, changes: Mapping[str, Any]) -> dict[str, Any]:
    native: dict[str, Any] = {}
    if user := work.said.pop("user", None):
        native["metadata"] = {"user_id": user}
    if work.said.pop("parallel_tool_calls", None) is False:
        native["tool_choice"] = _serial_choice(work, changes)
    return native | _think_as_claude(work)


def _serial_choice(work: Translation, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choice of tools that allows one call at a time."""
    choice: ToolChoice | None = changes.get("tool_choice", work.request.tool_choice)
    one = {"disable_parallel_tool_use": True}
    match choice and choice.mode:
        case "named" if choice:
            return {"type": "tool", "name": choice.name, **one}
        case "required":
            return {"type": "any", **one}
        case "none":
            return {"type": "none"}
    return {"type": "auto", **one}


def _think_as_claude(work: Translation) -> dict[str, Any]:
    budget = work.said.pop("budget", None)
    if budget is not None:
        work.said.pop("effort", None)
        return {"thinking": {"type": "enabled", "budget_tokens": max(_MIN_BUDGET, budget)}} if budget else {}
    effort = work.said.pop("effort", None)
    if effort is None or effort == "none":
        return {}
    return {"output_config": {"effort": "low" if effort == "minimal" else effort}}


def _write_converse(work: Translation, changes: Mapping[str, Any]) -> dict[str, Any]:
    native: dict[str, Any] = {}
    metadata = work.said.get("metadata")
    if isinstance(metadata, dict) and all(isinstance(value, str) and value for value in metadata.values()):
        native["requestMetadata"] = work.said.pop("metadata")
    if "anthropic." in work.model:
        fields = _think_as_claude(work)
        if work.said.pop("parallel_tool_calls", None) is False:
            fields["tool_choice"] = _serial_choice(work, changes)
    else:
        fields = _think_by_model(work)
    return {**native, "additionalModelRequestFields": fields} if fields else native


def _think_by_model(work: Translation) -> dict[str, Any]:
    if "openai." in work.model:
        effort = _effort(work)
        return {} if effort is None else {"reasoning_effort": effort}
    if "amazon.nova-2" in work.model:
        effort = _effort(work)
        if effort in (None, "none"):
            return {}
        level = effort if effort in _LEVELS[1:] else "low" if effort == "minimal" else "high"
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}
    return {}


def _write_gemini(work: Translation, _changes: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    names = {"frequency_penalty": "frequencyPenalty", "presence_penalty": "presencePenalty"}
    names |= {"logprobs": "responseLogprobs", "top_logprobs": "logprobs"}
    for name, theirs in names.items():
        if name in work.said:
            config[theirs] = work.said.pop(name)
    effort, budget = work.said.pop("effort", None), work.said.pop("budget", None)
    if budget is None and effort is not None:
        budget = _BUDGETS.get(effort)
    if budget is not None:
        config["thinkingConfig"] = {"thinkingBudget": budget}
    return {"generationConfig": config} if config else {}
