"""A request of one API as another API can carry it.

What has a counterpart there is translated. What only hints is left out with a note, or refused where the recipe says so:
seeds, identities, cache marks. What would change the answer stays where it is, and the writer of that API refuses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, structs

from promptmill.domain.completion import (
    Attachment,
    CompletionRequest,
    JsonSchema,
    Message,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    WireFormat,
)
from promptmill.domain.json_schemas import lower_types
from promptmill.wire.json_fields import decode_json
from promptmill.wire.request_bodies import unsupported

LABELS: Mapping[WireFormat, str] = {
    "openai-chat": "the chat API",
    "openai-responses": "the responses API",
    "openai-completions": "the completions API",
    "openai-embeddings": "the embeddings API",
    "anthropic-messages": "Anthropic's API",
    "bedrock-converse": "Converse",
    "bedrock-invoke": "this model's own body",
    "vertex-generate": "Gemini's API",
    "vertex-embeddings": "Vertex AI's API for vectors",
    "replicate": "Replicate's API",
    "nlpcloud": "NLP Cloud's API",
}
_WITHOUT_SEED: frozenset[WireFormat] = frozenset(
    (
        *("openai-responses", "openai-embeddings", "anthropic-messages", "bedrock-converse", "bedrock-invoke"),
        *("vertex-embeddings", "nlpcloud"),
    )
)
_SYSTEM_ANYWHERE: frozenset[WireFormat] = frozenset(("openai-chat", "openai-responses"))
_LEADING_SYSTEM: frozenset[WireFormat] = frozenset(("anthropic-messages", "bedrock-converse"))
_CACHES: frozenset[WireFormat] = frozenset(("anthropic-messages", "bedrock-converse"))
HINTS = frozenset(
    (
        *(
            "user",
            "metadata",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
        ),
        *("store", "service_tier", "verbosity", "cache_control", "anthropic_beta", "betas", "speed", "requestMetadata"),
        *("performanceConfig", "serviceTier", "additionalModelResponseFieldPaths", "labels", "safetySettings"),
        *("reasoning_effort", "thinking", "truncation", "include", "input_type", "truncate"),
    )
)
"""Fields of all APIs without which the answer is as good: who asks, what to cache, how to bill, how long to think."""

_LEVELS = ("minimal", "low", "medium", "high")
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 32768, "max": 32768}
_MIN_BUDGET = 1024


class _Translation:
    """One translation: the words that all APIs share (``said``), fields that are left, and notes."""

    def __init__(self, request: CompletionRequest, target: WireFormat, model: str) -> None:
        self.request, self.target, self.model = request, target, model
        self.left = dict(request.native) if request.wire_format != target else {}
        self.said: dict[str, Any] = {}
        self.notes: list[str] = []

    def drop(self, name: str) -> None:
        """Leave out a hint, with a note. Raise RecordError if the recipe refuses that."""
        label = LABELS.get(self.target, "this API")
        if self.request.refuse_hints:
            raise unsupported(name, f"{label} has no such field, and the recipe says unknown_fields: refuse")
        note = f"{name} was left out: {label} has no such field"
        if note not in self.notes:
            self.notes.append(note)

    def say(self, name: str, value: Any) -> None:
        if value is not None:
            self.said[name] = value


class Translated(Struct, frozen=True):
    """A request as its API takes it, and what was left out or put elsewhere."""

    request: CompletionRequest
    notes: tuple[str, ...]


def translate(
    request: CompletionRequest, target: WireFormat, *, model: str = "", lacks: Iterable[str] = ()
) -> CompletionRequest:
    """Return the request for another API; see ``translate_with_notes``."""
    return translate_with_notes(request, target, model=model, lacks=lacks).request


def translate_with_notes(
    request: CompletionRequest, target: WireFormat, *, model: str = "", lacks: Iterable[str] = ()
) -> Translated:
    """Return the request for another API, with notes.

    Args:
        request: of any API.
        target: the API of the route.
        model: the route's, on which the names of some fields depend.
        lacks: fields of the API that the provider does not know.

    Raises:
        RecordError: a hint has no place there, and the recipe refuses that.
    """
    work = _Translation(request, target, model)
    changes: dict[str, Any] = {}
    if request.seed is not None and (target in _WITHOUT_SEED or "seed" in lacks):
        work.drop("seed")
        changes["seed"] = None
    if request.wire_format not in (target, ""):
        changes |= _translate_fields(work)
        changes |= _translate_conversation(work)
        changes["wire_format"] = target if not work.left else request.wire_format
        changes["native"] = work.left or _write_said(work, changes)
    if not changes:
        return Translated(request, ())
    return Translated(structs.replace(request, **changes), tuple(work.notes))


def _translate_fields(work: _Translation) -> dict[str, Any]:
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


def _read_chat(work: _Translation) -> dict[str, Any]:
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


def _read_responses(work: _Translation) -> dict[str, Any]:
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


def _read_messages(work: _Translation) -> dict[str, Any]:
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


def _read_thinking(work: _Translation, thinking: Any) -> None:
    match thinking:
        case {"type": "enabled", "budget_tokens": int(budget)}:
            work.say("budget", budget)
        case {"type": "disabled"}:
            work.say("budget", 0)
        case dict():
            work.drop("thinking")


def _read_converse(work: _Translation) -> dict[str, Any]:
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


def _read_gemini(work: _Translation) -> dict[str, Any]:
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


def _write_said(work: _Translation, changes: Mapping[str, Any]) -> dict[str, Any]:
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


def _take(work: _Translation, *names: str) -> dict[str, Any]:
    return {name: work.said.pop(name) for name in names if name in work.said}


def _effort(work: _Translation) -> str | None:
    """Return how hard to think: as said, or by the budget."""
    effort, budget = work.said.pop("effort", None), work.said.pop("budget", None)
    if effort is not None or budget is None:
        return None if effort is None else str(effort)
    if not budget:
        return "none"
    return next((level for level in _LEVELS[1:] if budget <= 4 * _BUDGETS[level] // 2), "high")


def _write_chat(work: _Translation, _changes: Mapping[str, Any]) -> dict[str, Any]:
    native = _take(work, "parallel_tool_calls", "user", "metadata", "verbosity", "frequency_penalty")
    native |= _take(work, "presence_penalty", "logprobs", "top_logprobs")
    effort = _effort(work)
    return native if effort is None else {**native, "reasoning_effort": effort}


def _write_responses(work: _Translation, _changes: Mapping[str, Any]) -> dict[str, Any]:
    native = _take(work, "parallel_tool_calls", "user", "metadata")
    if work.said.pop("logprobs", None):
        native |= {"include": ["message.output_text.logprobs"], **_take(work, "top_logprobs")}
    if verbosity := work.said.pop("verbosity", None):
        native["text"] = {"verbosity": verbosity}
    effort = _effort(work)
    return native if effort is None else {**native, "reasoning": {"effort": effort}}


def _write_messages(work: _Translation, changes: Mapping[str, Any]) -> dict[str, Any]:
    native: dict[str, Any] = {}
    if user := work.said.pop("user", None):
        native["metadata"] = {"user_id": user}
    if work.said.pop("parallel_tool_calls", None) is False:
        native["tool_choice"] = _serial_choice(work, changes)
    return native | _think_as_claude(work)


def _serial_choice(work: _Translation, changes: Mapping[str, Any]) -> dict[str, Any]:
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


def _think_as_claude(work: _Translation) -> dict[str, Any]:
    budget = work.said.pop("budget", None)
    if budget is not None:
        work.said.pop("effort", None)
        return {"thinking": {"type": "enabled", "budget_tokens": max(_MIN_BUDGET, budget)}} if budget else {}
    effort = work.said.pop("effort", None)
    if effort is None or effort == "none":
        return {}
    return {"output_config": {"effort": "low" if effort == "minimal" else effort}}


def _write_converse(work: _Translation, changes: Mapping[str, Any]) -> dict[str, Any]:
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


def _think_by_model(work: _Translation) -> dict[str, Any]:
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


def _write_gemini(work: _Translation, _changes: Mapping[str, Any]) -> dict[str, Any]:
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


def _translate_conversation(work: _Translation) -> dict[str, Any]:
    """Return the messages and the system text as the target has them, and the tools."""
    request, target = work.request, work.target
    messages = [_translate_message(message, work) for message in _with_call_ids(request.messages)]
    system, kept = [request.system] if request.system else [], list[Message]()
    for message in messages:
        if message.role != "system" or target in _SYSTEM_ANYWHERE or (target in _LEADING_SYSTEM and not kept):
            kept.append(message)
            continue
        if kept:
            work.notes.append("a system message in mid-conversation was put before the conversation")
        system.append("\n\n".join(part.text for part in message.parts if isinstance(part, Text)))
    if all(message.role == "system" for message in kept) and target not in _SYSTEM_ANYWHERE:
        work.notes.append("the system message was sent as the user's, since there is no other")
        said = tuple(part for message in kept for part in message.parts)
        kept = [Message("user", said or (Text("\n\n".join(system)),))]
        system = system if said else []
    tools = tuple(_translate_tool(tool, work) for tool in request.tools)
    found: dict[str, Any] = {"messages": tuple(kept), "system": "\n\n".join(system)}
    return {**found, "tools": tools} if tools else found


def _with_call_ids(messages: Iterable[Message]) -> Iterable[Message]:
    """Yield the messages with ids for calls of the older kind (``function_call``), which have none."""
    last = ""
    for place, message in enumerate(messages):
        call = message.extra.get("function_call")
        extra = {name: value for name, value in message.extra.items() if name not in ("function_call", "role", "name")}
        if isinstance(call, dict):
            last = f"call_{place}"
            made = ToolCall(last, str(call.get("name") or ""), _arguments(call.get("arguments")))
            yield Message(message.role, (*message.parts, made), extra)
        elif message.extra.get("role") == "function":
            results = (structs.replace(part, call_id=last) for part in message.parts if isinstance(part, ToolResult))
            yield Message("user", tuple(results), extra)
        else:
            yield message


def _arguments(written: Any) -> dict[str, Any]:
    try:
        value = decode_json(written or "{}")
    except (ValueError, TypeError):
        return {"arguments": written}
    return value if isinstance(value, dict) else {"arguments": written}


def _translate_message(message: Message, work: _Translation) -> Message:
    parts: list[Part] = []
    for part in message.parts:
        _add_part(parts, part, work)
    if refusal := message.extra.get("refusal"):
        parts.append(Text(str(refusal)))
    keeps_role = work.target in _SYSTEM_ANYWHERE and message.extra.get("role") == "developer"
    for name in message.extra.keys() - {"refusal", "role", "annotations"}:
        if name == "audio":
            raise unsupported("audio", "an answer in sound that is stored at the provider cannot be sent elsewhere")
        work.drop(name)
    return Message(message.role, tuple(parts), {"role": "developer"} if keeps_role else {})


def _add_part(parts: list[Part], part: Part, work: _Translation) -> None:
    match part:
        case Attachment(kind="cachePoint"):
            _mark_last(parts, work)
        case Attachment() if part.holds_text:
            if (said := _translate_words(part, work)) is not None:
                parts.append(said)
        case ToolResult():
            parts.append(_translate_result(part, work))
        case ToolCall() if "input" in part.extra:
            raise unsupported("tool_calls", "a call of a custom tool can be sent to the chat API only")
        case _:
            parts.append(structs.replace(part, extra={}))
    if "cache_control" in getattr(part, "extra", {}):
        _add_mark(parts, part, work)
    for name in getattr(part, "extra", {}).keys() - {"cache_control", "name", "response"}:
        work.drop(name)


def _add_mark(parts: list[Part], part: Part, work: _Translation) -> None:
    """Mark what was added last as the end of a prefix to cache, as the target does it."""
    mark = part.extra.get("cache_control") if not isinstance(part, Attachment) or part.extra else None
    if work.target == "bedrock-converse":
        parts.append(Attachment("cachePoint", "", wire_format=work.target, native=_cache_point(mark), holds_text=True))
    else:
        work.drop("cache_control")


def _cache_point(mark: Any) -> dict[str, Any]:
    ttl = {"ttl": mark["ttl"]} if isinstance(mark, dict) and mark.get("ttl") else {}
    return {"cachePoint": {"type": "default", **ttl}}


def _mark_last(parts: list[Part], work: _Translation) -> None:
    if work.target == "anthropic-messages" and parts:
        parts[-1] = structs.replace(parts[-1], extra={"cache_control": {"type": "ephemeral"}})
    else:
        work.drop("cachePoint")


def _translate_words(part: Attachment, work: _Translation) -> Part | None:
    """Return what the model thought or refused as the target has it, or None where it has no place for it."""
    native, target = part.native or {}, work.target
    if part.kind == "refusal":
        return Text(str(native.get("refusal") or ""))
    there: dict[str, Any] | None = None
    if target == "bedrock-converse" and part.kind == "thinking":
        text = {"text": native.get("thinking"), "signature": native.get("signature")}
        there = {"reasoningContent": {"reasoningText": text}}
    elif target == "bedrock-converse" and part.kind == "redacted_thinking":
        there = {"reasoningContent": {"redactedContent": native.get("data")}}
    elif target == "anthropic-messages":
        match native.get("reasoningContent"):
            case {"reasoningText": {"text": text, "signature": signature}}:
                there = {"type": "thinking", "thinking": text, "signature": signature}
            case {"redactedContent": data}:
                there = {"type": "redacted_thinking", "data": data}
    if there is None:
        work.drop(part.kind)
        return None
    return Attachment(part.kind, part.where, wire_format=target, native=there, holds_text=True)


def _translate_result(result: ToolResult, work: _Translation) -> ToolResult:
    blocks: list[Part] = []
    for block in result.blocks:
        if isinstance(block, Attachment) and block.kind == "json":
            blocks.append(Text(""))
        else:
            _add_part(blocks, block, work)
    kept = tuple(block for block in blocks if isinstance(block, Text | Attachment))
    has_more = any(isinstance(block, Attachment) for block in kept)
    return structs.replace(result, blocks=kept if has_more else (), extra={})


def _translate_tool(tool: Tool, work: _Translation) -> Tool:
    if not tool.extra:
        return tool
    extra: dict[str, Any] = {}
    if work.target == "bedrock-converse" and "cache_control" in tool.extra:
        extra = _cache_point(tool.extra["cache_control"])
    elif work.target == "anthropic-messages" and "cachePoint" in tool.extra:
        extra = {"cache_control": {"type": "ephemeral"}}
    else:
        work.drop(next(iter(tool.extra)))
    return structs.replace(tool, extra=extra)
