"""Walk every text of a request, and tell those that may be rewritten from those that may not."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from promptmill.domain.completion import (
    Attachment,
    CompletionRequest,
    JsonSchema,
    Message,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from promptmill.domain.errors import RecordError

_SCHEMA_WORDS = frozenset({"description", "title", "$comment", "markdownDescription"})
_SCHEMA_DATA = frozenset({"default", "examples", "example"})
_SCHEMA_NAMES = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_OPAQUE = frozenset(
    {
        "type",
        "role",
        "signature",
        "data",
        "encrypted_content",
        "encrypted_index",
        "redactedContent",
        "thought_signature",
    }
)
_SCHEMA_FIXED = frozenset(
    {"enum", "const", "required", "type", "format", "pattern", "$ref", "$id", "$schema", "$anchor"}
)


class Visitor(Protocol):
    """Sees each text once and returns what stands there from now on."""

    def text(self, text: str, key: str = "") -> str:
        """Take free text. ``key`` is the name that it stands under in a document, "" if there is none."""
        ...

    def number(self, token: str, key: str = "") -> str: ...

    def fixed(self, text: str) -> None:
        """Take a text that can't be rewritten: a name, a key, an id, an enum's value."""
        ...


def rewrite_request(request: CompletionRequest, visitor: Visitor) -> CompletionRequest:
    """Return the request with every text as ``visitor`` returns it. Attachments can't be read and stay as they are."""
    visitor.fixed(request.tool_choice.name if request.tool_choice else "")
    return msgspec.structs.replace(
        request,
        system=visitor.text(request.system),
        messages=tuple(
            Message(m.role, tuple(_rewrite_part(part, visitor) for part in m.parts), _rewrite_block(m.extra, visitor))
            for m in request.messages
        ),
        stop=tuple(visitor.text(stop) for stop in request.stop),
        json_schema=_rewrite_json_schema(request.json_schema, visitor),
        tools=tuple(_rewrite_tool(tool, visitor) for tool in request.tools),
        native={name: _rewrite_data(value, visitor, name, keys_fixed=True) for name, value in request.native.items()},
    )


def _rewrite_part(part: Part, visitor: Visitor) -> Part:
    match part:
        case Text():
            return Text(visitor.text(part.text), _rewrite_block(part.extra, visitor))
        case ToolCall():
            visitor.fixed(part.id)
            visitor.fixed(part.name)
            arguments = _rewrite_data(part.arguments, visitor, "")
            return ToolCall(part.id, part.name, arguments, _rewrite_block(part.extra, visitor))
        case ToolResult():
            return _rewrite_result(part, visitor)
        case Attachment() if part.holds_text and part.native is not None:
            return msgspec.structs.replace(part, native=_rewrite_block(part.native, visitor))
        case Attachment():
            return part


def _rewrite_result(result: ToolResult, visitor: Visitor) -> ToolResult:
    visitor.fixed(result.call_id)
    blocks = tuple(_rewrite_part(block, visitor) for block in result.blocks)
    return msgspec.structs.replace(
        result, text=visitor.text(result.text), blocks=blocks, extra=_rewrite_block(result.extra, visitor)
    )


def _rewrite_block(block: dict[str, Any], visitor: Visitor) -> dict[str, Any]:
    """Return a block or its fields with every text as the visitor returns it.

    What a provider has encrypted stays as it is, and what it has signed can't be rewritten.
    """
    if not block:
        return block
    if "signature" in block:
        return _keep_signed(block, visitor)
    return {name: value if name in _OPAQUE else _rewrite_field(name, value, visitor) for name, value in block.items()}


def _keep_signed(block: dict[str, Any], visitor: Visitor) -> dict[str, Any]:
    """Return the block as it is. Raise RecordError if something in it had to be hidden."""
    for name, value in block.items():
        if name not in _OPAQUE and isinstance(value, str) and visitor.text(value) != value:
            reason = (
                "what the model thought holds sensitive data, and is signed by the provider, so that it can't be hidden"
            )
            raise RecordError(reason, code="redaction_failed", field=name, remedy="leave that block out")
    return block


def _rewrite_field(name: str, value: Any, visitor: Visitor) -> Any:
    if isinstance(value, dict):
        return _rewrite_block(value, visitor)
    if isinstance(value, list):
        return [_rewrite_field(name, item, visitor) for item in value]
    return _rewrite_data(value, visitor, name, keys_fixed=True)


def _rewrite_tool(tool: Tool, visitor: Visitor) -> Tool:
    visitor.fixed(tool.name)
    description, parameters = visitor.text(tool.description), _rewrite_schema(tool.parameters, visitor)
    extra = _rewrite_block(tool.extra, visitor)
    return msgspec.structs.replace(tool, description=description, parameters=parameters, extra=extra)


def _rewrite_json_schema(schema: JsonSchema | None, visitor: Visitor) -> JsonSchema | None:
    if schema is None:
        return None
    visitor.fixed(schema.name)
    return msgspec.structs.replace(schema, schema=_rewrite_schema(schema.schema, visitor))


def _rewrite_data(value: Any, visitor: Visitor, key: str, *, keys_fixed: bool = False) -> Any:
    """Rewrite the values of a document, and its keys too unless they are field names that somebody defined."""
    if isinstance(value, str):
        return visitor.text(value, key)
    if isinstance(value, dict):
        return {
            _rewrite_key(k, visitor, keys_fixed=keys_fixed): _rewrite_data(v, visitor, k, keys_fixed=keys_fixed)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [_rewrite_data(item, visitor, key, keys_fixed=keys_fixed) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        token = repr(value)
        new = visitor.number(token, key)
        return value if new == token else new
    return value


def _rewrite_key(key: str, visitor: Visitor, *, keys_fixed: bool) -> str:
    if not keys_fixed:
        return visitor.text(key)
    visitor.fixed(key)
    return key


def _rewrite_schema(schema: Any, visitor: Visitor) -> Any:
    """Rewrite the words and examples of a JSON schema. Its keys, names and permitted values can't be rewritten."""
    if isinstance(schema, list):
        return [_rewrite_schema(item, visitor) for item in schema]
    if isinstance(schema, str):
        return visitor.text(schema)
    if not isinstance(schema, dict):
        return schema
    return {name: _rewrite_keyword(name, value, visitor) for name, value in schema.items()}


def _rewrite_keyword(name: str, value: Any, visitor: Visitor) -> Any:
    visitor.fixed(name)
    if name in _SCHEMA_FIXED:
        _visit_fixed(value, visitor)
        return value
    if name in _SCHEMA_WORDS and isinstance(value, str):
        return visitor.text(value)
    if name in _SCHEMA_DATA:
        return _rewrite_data(value, visitor, "")
    if name in _SCHEMA_NAMES and isinstance(value, dict):
        _visit_fixed(list(value), visitor)
        return {key: _rewrite_schema(item, visitor) for key, item in value.items()}
    return _rewrite_schema(value, visitor)


def _visit_fixed(value: Any, visitor: Visitor) -> None:
    if isinstance(value, str):
        visitor.fixed(value)
    elif isinstance(value, dict):
        _visit_fixed([*value.keys(), *value.values()], visitor)
    elif isinstance(value, list | tuple):
        for item in value:
            _visit_fixed(item, visitor)
