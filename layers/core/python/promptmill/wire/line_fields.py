"""The fields of a line that may go out on the line's word alone, and those that a route has to allow.

Fields that every API has are read into a request. What else a line holds stays native, and is checked here against the
rules of its API (``field_rules``): a field that no rule knows is refused, at any depth.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from promptmill.domain.completion import Attachment, CompletionRequest, Message, ToolResult, attachments_of
from promptmill.domain.errors import RecordError
from promptmill.domain.json_schemas import has_remote_reference
from promptmill.domain.provider_table import RESERVED_BODY_FIELDS
from promptmill.wire.public_addresses import is_public_address

NEVER_FROM_A_LINE = RESERVED_BODY_FIELDS | {
    *("api_base", "api_key", "api_version", "base_url", "organization", "user_config", "custom_llm_provider"),
    *("extra_headers", "extra_body", "extra_query", "headers", "callbacks", "mock_response", "fallbacks", "models"),
    *("tools.mcp", "tools.mcp_toolset", "private_address", "remote_schema"),
}
"""Permissions that no recipe can give: these fields hold addresses, keys and other models."""

LINKS_ALLOWED = "urls"
"""The permission to name addresses that the provider fetches: a recipe gives it by ``attachments: pass``."""

_VERSION = re.compile(r"_\d{4}_?\d{2}_?\d{2}$")
_MAX_PATH = 200
_INDEX = re.compile(r"\[\d+\]")


class Reach(Struct, frozen=True):
    """A field that reaches out, so that a route has to allow it. The reason completes "this field …".

    Attributes:
        values: what a line may ask for all the same.
        moves_price: the cost of a call with it is not known.
        name: the permission, "" for the field's own path.
    """

    reason: str
    values: tuple[Any, ...] = ()
    moves_price: bool = True
    name: str = ""


class OwnTools(Struct, frozen=True):
    """A list of tools. Those of ``own`` types are run by the user, with fields by ``rule``; others by the provider.

    ``type_of`` tells a tool's type.
    """

    rule: Mapping[str, Rule]
    type_of: Callable[[Mapping[str, Any]], str]
    own: tuple[str, ...] = ()


class Link(Struct, frozen=True):
    """An address that the provider fetches."""


class AnyJson(Struct, frozen=True):
    """Whatever the user writes: words, a schema, arguments. A schema may refer only to its own parts."""


class Scalars(Struct, frozen=True):
    """A text, a number or a flag, or a list or a map of them."""


ANY: Final = AnyJson()
PLAIN: Final = Scalars()
LINK: Final = Link()
Rule = AnyJson | Scalars | Link | Reach | OwnTools | Mapping[str, Any] | list[Any]
"""A mapping holds the rules of an object's fields, and a list the rule of its items."""


_UNKNOWN = "this field is not among those that a line may set on its own"
_REMOTE = "a schema may refer only to its own parts"
_REMOTE_REMEDY = "write what `$ref` points to into the schema, under `$defs`"


class Need(Struct, frozen=True):
    """A permission that a request needs from the route that answers it.

    Attributes:
        path: the field's path in the line.
        name: the permission.
        reason: why it is needed.
        remedy: what to do about it, where that is not the permission.
    """

    path: str
    name: str
    reason: str
    moves_price: bool = False
    remedy: str = ""


def needs_of(request: CompletionRequest) -> list[Need]:
    """Return the permissions that a request needs, the first field first."""
    from promptmill.wire.field_rules import BLOCK_RULES, BODY_RULES, MESSAGE_RULES  # noqa: PLC0415 (few lines hold native fields)

    rules = BODY_RULES.get(request.wire_format, {})
    found = [need for name, value in request.native.items() for need in _check(rules.get(name), value, name)]
    block = BLOCK_RULES.get(request.wire_format, {})
    for part in attachments_of(request):
        if part.native is not None and not part.holds_text:
            of_part = BLOCK_RULES.get(part.wire_format, {})
            found += [need for name, value in part.native.items() for need in _check_block(of_part, part, name, value)]
    words = MESSAGE_RULES.get(request.wire_format, {})
    for message in request.messages:
        found += [need for name, value in message.extra.items() for need in _check(words.get(name), value, name)]
        for holder in message.parts:
            found += [need for name, value in holder.extra.items() for need in _check(block.get(name), value, name)]
    return found


def may_need(request: CompletionRequest) -> bool:
    """Return False for a request that surely needs no permission, as most do."""
    return bool(request.native) or any(map(_holds_native, request.messages))


def _holds_native(message: Message) -> bool:
    if message.extra:
        return True
    for part in message.parts:
        if part.extra or (isinstance(part, Attachment) and part.native is not None):
            return True
        if isinstance(part, ToolResult) and part.blocks:
            return True
    return False


def refuse_unallowed(
    request: CompletionRequest, allowed: Collection[str], *, where: str = "", inside: str = ""
) -> None:
    """Raise RecordError for the first field that needs a permission which is not among ``allowed``.

    ``inside`` is the part of the line that holds the body.
    """
    _refuse_remote_schemas(request, where)
    if not may_need(request):
        return
    for need in needs_of(request):
        if need.name in NEVER_FROM_A_LINE:
            remedy = need.remedy or "leave it out: the recipe decides this"
        elif need.name not in allowed:
            remedy = f"leave it out, or ask for a recipe with a route that has `allow: [{need.name[:_MAX_PATH]}]`"
        else:
            continue
        path = need.path if not inside or need.path.startswith(f"{inside}.") else f"{inside}.{need.path}"
        path = path[:_MAX_PATH]
        reason = f"{path}: {need.reason}"
        raise RecordError(reason, code="unsupported_field", where=where, field=path, remedy=remedy)


def _refuse_remote_schemas(request: CompletionRequest, where: str) -> None:
    schema = request.json_schema
    if schema is not None and has_remote_reference(schema.schema):
        raise RecordError(_REMOTE, code="invalid_field", where=where, field="json_schema", remedy=_REMOTE_REMEDY)
    if any(has_remote_reference(tool.parameters) for tool in request.tools):
        raise RecordError(_REMOTE, code="invalid_field", where=where, field="tools", remedy=_REMOTE_REMEDY)


def moved_by(request: CompletionRequest) -> frozenset[str]:
    """Return the names of the request's fields that make its calls cost more than their tokens."""
    if not may_need(request):
        return frozenset()
    return frozenset(need.name for need in needs_of(request) if need.moves_price)


def tool_kind(tool: Mapping[str, Any]) -> str:
    """Return the kind of a tool in any API, without the date of its version."""
    system = tool.get("systemTool")
    named = tool.get("type") or (system.get("name") if isinstance(system, Mapping) else None)
    return _VERSION.sub("", str(named or next(iter(tool), "")))


def _check_block(rules: Mapping[str, Any], part: Attachment, name: str, value: Any) -> Iterator[Need]:
    return _check(rules.get(name), value, f"{part.where.removesuffix(f'.{name}')}.{name}", name)


def _check(rule: Any, value: Any, path: str, name: str = "") -> Iterator[Need]:
    """Yield what a value needs. ``name`` is the permission, by default the path without places in lists."""
    name = name or _INDEX.sub("", path)
    if value is None:
        return
    match rule:
        case list():
            for place, item in enumerate(value if isinstance(value, list) else [value]):
                yield from _check(rule[0], item, f"{path}[{place}]", name)
        case Mapping():
            yield from _check_object(rule, value, path, name)
        case OwnTools():
            yield from _check_tools(rule, value, path, name)
        case _:
            yield from _check_value(rule, value, path, name)


def _check_object(rules: Mapping[str, Any], value: Any, path: str, name: str) -> Iterator[Need]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _check(rules.get(key), item, f"{path}.{key}", f"{name}.{key}")
    elif isinstance(value, list):
        yield Need(path, name, _UNKNOWN)


def _check_value(rule: Any, value: Any, path: str, name: str) -> Iterator[Need]:
    match rule:
        case AnyJson():
            if has_remote_reference(value):
                yield Need(path, "remote_schema", _REMOTE, remedy=_REMOTE_REMEDY)
        case Scalars():
            items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
            if any(isinstance(item, Mapping | list) for item in items):
                yield Need(path, name, "this field holds more than plain values")
        case Link():
            yield from _check_link(value, path)
        case Reach():
            if value not in rule.values:
                yield Need(path, rule.name or name, f"this field {rule.reason}", rule.moves_price)
        case _:
            yield Need(path, name, _UNKNOWN)


def _check_link(value: Any, path: str) -> Iterator[Need]:
    """Yield what an address needs that the provider is to fetch."""
    if isinstance(value, str) and is_public_address(value):
        yield Need(path, LINKS_ALLOWED, "this address would be fetched by the provider")
    else:
        reason = "this is not an address in the public network"
        yield Need(path, "private_address", reason, remedy="use an https: address, or send the content itself")


def _check_tools(rule: OwnTools, value: Any, path: str, name: str) -> Iterator[Need]:
    for place, tool in enumerate(value if isinstance(value, list) else [value]):
        where = f"{path}[{place}]"
        kind = rule.type_of(tool) if isinstance(tool, Mapping) else ""
        if kind in rule.own and isinstance(tool, Mapping):
            yield from _check(rule.rule, tool, where, name)
        else:
            tool_name = f"tools.{_VERSION.sub('', kind)}" if kind else name
            yield Need(
                where, tool_name, "this tool is run or built in by the provider, and may cost extra", moves_price=True
            )
