"""Every field of the official request types has been decided: read, sent, or refused until a route allows it.

The types are those of the official SDKs and of botocore's service model, so that a new version with a new field, a new
tool or a new block fails here until somebody decides. (What nobody has decided is refused meanwhile.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Literal, Union, get_args, get_origin

import botocore.session
import pytest
import typing_extensions

from promptmill.domain.completion import CompletionRequest, Message, Text, WireFormat
from promptmill.wire.field_rules import BLOCK_RULES, BODY_RULES
from promptmill.wire.line_fields import NEVER_FROM_A_LINE, AnyJson, Link, OwnTools, Reach, Scalars, needs_of

OPENAI, ANTHROPIC = "openai.types", "anthropic.types"
BETA = f"{ANTHROPIC}.beta.message_create_params.MessageCreateParamsNonStreaming"
TYPES: dict[str, tuple[WireFormat, frozenset[str]]] = {
    f"{OPENAI}.chat.completion_create_params.CompletionCreateParamsNonStreaming": (
        "openai-chat",
        frozenset(
            (
                *("messages", "model", "max_completion_tokens", "max_tokens", "n", "seed", "stop", "stream"),
                *("stream_options", "temperature", "top_p"),
            )
        ),
    ),
    f"{OPENAI}.responses.response_create_params.ResponseCreateParamsNonStreaming": (
        "openai-responses",
        frozenset(
            (
                *("input", "instructions", "max_output_tokens", "model", "stream", "stream_options", "temperature"),
                "top_p",
            )
        ),
    ),
    f"{OPENAI}.completion_create_params.CompletionCreateParamsNonStreaming": (
        "openai-completions",
        frozenset(
            ("prompt", "model", "max_tokens", "seed", "stop", "stream", "stream_options", "temperature", "top_p")
        ),
    ),
    f"{OPENAI}.embedding_create_params.EmbeddingCreateParams": (
        "openai-embeddings",
        frozenset(("input", "model", "dimensions", "encoding_format")),
    ),
    f"{OPENAI}.moderation_create_params.ModerationCreateParams": ("openai-moderations", frozenset(("input", "model"))),
    f"{ANTHROPIC}.message_create_params.MessageCreateParamsNonStreaming": (
        "anthropic-messages",
        frozenset(("max_tokens", "messages", "model", "stop_sequences", "stream", "system")),
    ),
    BETA: ("anthropic-messages", frozenset(("max_tokens", "messages", "model", "stop_sequences", "stream", "system"))),
}
"""The types of an SDK, each with its API and the fields that are read into a request."""


@cache
def type_named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def arms(annotation: Any) -> Iterator[Any]:
    """Yield the types that a union, an alias or a required field stands for."""
    origin = get_origin(annotation)
    if isinstance(annotation, typing_extensions.TypeAliasType):
        yield from arms(annotation.__value__)
    elif origin is Union or str(origin) == "<class 'types.UnionType'>":
        for arm in get_args(annotation):
            yield from arms(arm)
    elif origin in (typing_extensions.Required, typing_extensions.NotRequired, typing_extensions.Annotated):
        yield from arms(get_args(annotation)[0])
    else:
        yield annotation


def fields_of(typed_dict: Any) -> dict[str, Any]:
    return typing_extensions.get_type_hints(typed_dict)


def is_list(annotation: Any) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Iterable) and not issubclass(origin, Mapping)


def kinds_of(typed_dict: Any) -> list[str]:
    """Return the values of the field ``type``, "" for a type without one."""
    values = [
        value
        for arm in arms(fields_of(typed_dict).get("type", str))
        if get_origin(arm) is Literal
        for value in get_args(arm)
    ]
    return [str(value) for value in values] or [""]


def undecided(annotation: Any, rule: Any, path: str) -> Iterator[str]:
    """Yield the paths of fields that no rule decides."""
    if isinstance(rule, AnyJson | Reach | Link):
        return
    for arm in arms(annotation):
        if is_list(arm):
            yield from _undecided_items(get_args(arm)[0], rule, path)
        elif typing_extensions.is_typeddict(arm):
            yield from _undecided_fields(arm, rule, path)
        elif rule is None:
            yield path


def _undecided_items(annotation: Any, rule: Any, path: str) -> Iterator[str]:
    if isinstance(rule, OwnTools):
        for arm in arms(annotation):
            kinds = kinds_of(arm) if typing_extensions.is_typeddict(arm) else []
            if any(rule.type_of({"type": kind}) in rule.own for kind in kinds):
                yield from _undecided_fields(arm, rule.rule, f"{path}[]")
    else:
        yield from undecided(annotation, rule[0] if isinstance(rule, list) else rule, f"{path}[]")


def _undecided_fields(typed_dict: Any, rule: Any, path: str) -> Iterator[str]:
    if isinstance(rule, Scalars):  # a map of plain values: nothing in it may be more than that
        nested = [
            name
            for name, field in fields_of(typed_dict).items()
            if any(map(typing_extensions.is_typeddict, arms(field)))
        ]
        yield from (f"{path}.{name}" for name in nested)
    elif isinstance(rule, Mapping):
        for name, field in fields_of(typed_dict).items():
            yield from undecided(field, rule.get(name), f"{path}.{name}")
    else:
        yield path


LEFT_TO_REFUSE: dict[str, frozenset[str]] = {
    f"{OPENAI}.responses.response_create_params.ResponseCreateParamsNonStreaming": frozenset(
        {
            ".prompt_cache_options.comparison_response_id",
            ".prompt_cache_options.prewarm",
            ".reasoning.context",
            ".tools[].async",
        }
    ),
    BETA: frozenset(
        {".output_config.format", ".output_config.task_budget", ".thinking.block_binding", ".fallbacks", ".mcp_servers"}
    ),
    f"{ANTHROPIC}.message_create_params.MessageCreateParamsNonStreaming": frozenset({".output_config.format"}),
}
"""Fields without a rule on purpose: they are refused until an operator allows them by name."""


@pytest.mark.parametrize("path", TYPES)
def test_every_field_of_a_request_is_decided(path: str) -> None:
    wire_format, read = TYPES[path]
    rules, given = BODY_RULES[wire_format], fields_of(type_named(path))
    assert read <= given.keys()
    found = {
        place
        for name, annotation in given.items()
        if name not in read
        for place in undecided(annotation, rules.get(name), f".{name}")
    }
    assert {place for place in found if not _is_left(place, path)} == set()


def _is_left(place: str, path: str) -> bool:
    return any(place == one or place.startswith((f"{one}.", f"{one}[")) for one in LEFT_TO_REFUSE.get(path, ()))


def tool_types(path: str) -> Iterator[str]:
    annotation = fields_of(type_named(path))["tools"]
    for arm in arms(annotation):
        if is_list(arm):
            for tool in arms(get_args(arm)[0]):
                yield from kinds_of(tool)


OWN_TOOLS = {"", "function", "custom"}


@pytest.mark.parametrize("path", [path for path in TYPES if "tools" in fields_of(type_named(path))])
def test_every_tool_that_is_not_the_users_own_has_to_be_allowed_and_has_no_price(path: str) -> None:
    wire_format, _ = TYPES[path]
    hosted = {kind for kind in tool_types(path) if kind not in OWN_TOOLS}
    assert hosted or wire_format == "openai-chat"
    for kind in hosted:
        (need,) = needs_of(native(wire_format, tools=[{"type": kind, "name": "x"}]))
        assert need.name.startswith("tools.")
        assert not re.search(r"\d{4}_?\d{2}_?\d{2}", need.name)
        assert need.moves_price


def native(wire_format: WireFormat, **fields: Any) -> CompletionRequest:
    return CompletionRequest((Message("user", (Text("Hi"),)),), wire_format=wire_format, native=fields)


def block_types(path: str) -> dict[str, Any]:
    """Return the blocks of a message's content by their type."""
    found = {}
    for arm in arms(fields_of(type_named(path))["messages"]):
        for message in arms(get_args(arm)[0]) if is_list(arm) else ():
            for content in arms(fields_of(message).get("content", str)):
                blocks = arms(get_args(content)[0]) if is_list(content) else ()
                for block in filter(typing_extensions.is_typeddict, blocks):
                    found.update(dict.fromkeys(kinds_of(block), block))
    return found


CHAT, MESSAGES = next(iter(TYPES)), next(path for path in TYPES if path.startswith(f"{ANTHROPIC}.message_create"))
BLOCKS = {
    CHAT: (("image_url", "input_audio", "file"), {"text", "refusal"}),
    MESSAGES: (
        ("document", "search_result", "container_upload", "image"),
        {
            *("text", "tool_use", "tool_result"),
            *("thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result", "web_fetch_tool_result"),
            *("code_execution_tool_result", "bash_code_execution_tool_result", "tool_search_tool_result"),
            "text_editor_code_execution_tool_result",
        },
    ),
}
"""The blocks that stay as they came, and those that are read, or refused by their type, without that."""


@pytest.mark.parametrize("path", BLOCKS)
def test_every_field_of_a_block_is_decided(path: str) -> None:
    kept, others = BLOCKS[path]
    types = block_types(path)
    assert types.keys() == {*kept, *others}
    rules = BLOCK_RULES[TYPES[path][0]]
    assert [place for kind in kept for place in _undecided_fields(types[kind], rules, kind)] == []


def shape_fields(shape: Any, rule: Any, path: str) -> Iterator[str]:
    """Yield the paths below a shape of botocore's that no rule decides."""
    if isinstance(rule, AnyJson | Reach | Link) or (isinstance(rule, Scalars) and shape.type_name != "structure"):
        return
    if isinstance(rule, OwnTools):
        members = shape.member.members
        for name in rule.own:
            yield from shape_fields(members[name], rule.rule.get(name), f"{path}[].{name}")
    elif shape.type_name == "list":
        yield from shape_fields(shape.member, rule[0] if isinstance(rule, list) else rule, f"{path}[]")
    elif shape.type_name == "structure" and isinstance(rule, Mapping) and not shape.members:
        return  # a document: only the fields of the rule may stand in it
    elif shape.type_name == "structure" and isinstance(rule, Mapping):
        for name, member in shape.members.items():
            yield from shape_fields(member, rule.get(name), f"{path}.{name}")
    else:
        yield path


READ_BY_CONVERSE = {"modelId", "messages", "system", "inferenceConfig"}
REFUSED_BY_CONVERSE = {
    *("text", "toolUse", "toolResult", "guardContent", "cachePoint", "reasoningContent", "citationsContent"),
    *("toolAddition", "toolRemoval"),
}
"""Blocks that are read, left out or refused by their kind, and so never sent as they came."""
OF_TOOL_BLOCKS = {"status", "type"}
"""Fields inside of toolUse and toolResult."""
NOT_A_LINES = {"document.error", "image.error", "audio.error", "video.error"}
"""Part of an answer only; refused."""


@cache
def converse_input() -> Any:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    return model.operation_model("Converse").input_shape


def test_every_field_of_converse_is_decided() -> None:
    members, rules = converse_input().members, BODY_RULES["bedrock-converse"]
    assert members.keys() >= READ_BY_CONVERSE
    rest = {name: member for name, member in members.items() if name not in READ_BY_CONVERSE}
    assert [place for name, member in rest.items() for place in shape_fields(member, rules.get(name), name)] == []


def test_every_field_of_a_converse_block_is_decided() -> None:
    members = converse_input().members["messages"].member.members["content"].member.members
    rules = BLOCK_RULES["bedrock-converse"]
    assert members.keys() == {*rules.keys() - OF_TOOL_BLOCKS, *REFUSED_BY_CONVERSE}
    found = {
        place for name in rules.keys() - OF_TOOL_BLOCKS for place in shape_fields(members[name], rules[name], name)
    }
    assert found <= NOT_A_LINES


def test_tools_of_converse_that_are_not_the_users_own_are_noticed() -> None:
    tools = converse_input().members["toolConfig"].members["tools"].member.members
    own = BODY_RULES["bedrock-converse"]["toolConfig"]["tools"].own
    for name in tools.keys() - set(own):
        (need,) = needs_of(native("bedrock-converse", toolConfig={"tools": [{name: {"name": "grounding"}}]}))
        assert (need.name, need.moves_price) == ("tools.grounding", True)


GEMINI: Sequence[tuple[str, Any]] = (
    ("cachedContent", "projects/p/locations/l/cachedContents/1"),
    ("tools", [{"googleSearch": {}}]),
    ("tools", [{"codeExecution": {}}]),
    ("tools", [{"urlContext": {}}]),
    ("tools", [{"retrieval": {"vertexAiSearch": {"datastore": "d"}}}]),
    ("generationConfig", {"candidateCount": 8}),
    ("generationConfig", {"responseModalities": ["TEXT", "IMAGE"]}),
    ("generationConfig", {"routingConfig": {"manualMode": {"modelName": "m"}}}),
    ("modelArmorConfig", {"promptTemplateName": "t"}),
    ("toolConfig", {"retrievalConfig": {"latLng": {}}}),
)


@pytest.mark.parametrize(("name", "value"), GEMINI)
def test_what_reaches_out_at_gemini_has_to_be_allowed(name: str, value: Any) -> None:
    assert needs_of(native("vertex-generate", **{name: value}))


def test_what_is_harmless_at_gemini_goes_out() -> None:
    harmless = native(
        "vertex-generate",
        labels={"team": "a"},
        generationConfig={"thinkingConfig": {"thinkingBudget": 512}, "candidateCount": 1},
        safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        tools=[{"functionDeclarations": [{"name": "f"}]}],
    )
    assert needs_of(harmless) == []


@pytest.mark.parametrize("name", sorted(NEVER_FROM_A_LINE - {"private_address", "remote_schema"}))
@pytest.mark.parametrize("wire_format", BODY_RULES)
def test_no_api_takes_addresses_keys_and_models_from_a_line(wire_format: WireFormat, name: str) -> None:
    field = "tools" if name.startswith("tools.") else name
    value: Any = [{"type": name.removeprefix("tools.")}] if field == "tools" else 7
    rule = BODY_RULES[wire_format].get(field)
    assert rule is None or needs_of(native(wire_format, **{field: value}))
