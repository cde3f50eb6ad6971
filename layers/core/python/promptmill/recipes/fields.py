"""Checks of single values in a recipe document. Reasons never repeat a value that could be a secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from promptmill.domain.json_schemas import has_remote_reference
from promptmill.domain.names import did_you_mean
from promptmill.domain.templates import template_fault
from promptmill.redaction import ALL_TYPES, KNOWN_TYPES
from promptmill.redaction.policy import WHOLE_FIELD, is_pattern, pattern_fault
from promptmill.wire.line_fields import NEVER_FROM_A_LINE

_MAX_USD = 1_000_000
_SECRET_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+){1,2}-\d{1,2}|[a-z]+-[a-z]+\d{1,2}|global|us|eu")
"""A region of AWS or of Google."""
_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,80}(?:\.fifo)?")
_RANDOM_LOOKING = re.compile(
    r"(?=[A-Za-z]*\d)(?=[a-z0-9]*[A-Z])(?=[A-Z0-9]*[a-z])[A-Za-z0-9]{20,}|[0-9a-fA-F]{32,}|[^/]{80,}"
)
_MAX_SCHEMA_DEPTH = 32
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_LINE_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}(?:\.[A-Za-z0-9_-]{1,64}){0,3}")
_HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_HEADERS_OF_HTTP = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent", "cookie")
)


class FieldError(ValueError):
    """A value is wrong; the message tells its author why."""


def price_text(value: Any) -> str:
    """Return a price in USD, exactly as it was written."""
    amount = Decimal(value) if isinstance(value, str) and re.fullmatch(r"\d{1,20}(?:\.\d{1,20})?", value) else value
    if isinstance(amount, bool) or not isinstance(amount, int | Decimal):
        raise FieldError('a price is a number such as "0.25"')
    if not 0 <= amount <= _MAX_USD:
        raise FieldError(f"a price lies between 0 and {_MAX_USD:,}")
    return format(Decimal(amount), "f")


def price_fault(given: dict[str, Any]) -> str:
    """Return what is wrong with a price as a whole, or "". A part that is left out by mistake would cost nothing."""
    if not given.keys() & {"input_usd_per_mtok", "output_usd_per_mtok", *_OTHER_PRICES}:
        return f"a price has input_usd_per_mtok and output_usd_per_mtok, or one of {', '.join(_OTHER_PRICES)}"
    per_token = {"input_usd_per_mtok", "output_usd_per_mtok"} - given.keys()
    if len(per_token) == 1 and not ("usd_per_request" in given and "output_usd_per_mtok" in given):
        return f"{per_token.pop()} is missing: write 0 where it costs nothing"
    for name, beside in (("covered_output_tokens", "usd_per_request"), ("calls_at_once", "usd_per_hour")):
        if name in given and beside not in given:
            return f"{name} goes with {beside}"
    return ""


_OTHER_PRICES = ("usd_per_request", "usd_per_second", "usd_per_hour")


def field_name(value: str) -> str:
    if not _FIELD_NAME.fullmatch(value):
        raise FieldError("must be the name of a field of the request's body")
    return value


def line_field(value: str) -> str:
    """Return the name of a field that lines may set, or of a tool."""
    if not _LINE_FIELD.fullmatch(value):
        raise FieldError("must be the name of a field, such as service_tier, or of a tool, such as tools.web_search")
    if value in NEVER_FROM_A_LINE or value.partition(".")[0] in NEVER_FROM_A_LINE:
        raise FieldError("lines can't be allowed to set this: it names an address, a key or a model")
    return value


def field_names(value: dict[str, str]) -> dict[str, str]:
    return {field_name(ours): field_name(theirs) for ours, theirs in value.items()}


def header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value) or value.lower() in _HEADERS_OF_HTTP:
        raise FieldError("must be the name of a header for the key, such as Authorization or api-key")
    return value


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise FieldError("must be a number")
    return float(value)


def digits_as_text(value: Any) -> Any:
    """Return a number as text, because YAML reads a version such as 3 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def hours(value: Any) -> int:
    """Return the hours in ``36h`` or ``3d``."""
    match = re.fullmatch(r"([1-9]\d{0,3})\s*(h|d)", str(value))
    if match is None:
        raise FieldError("write hours or days, as in 36h or 3d")
    return int(match[1]) * (24 if match[2] == "d" else 1)


def plain(value: Any) -> Any:
    """Return the value with JSON's numbers in place of decimals, for fields that are sent as they are."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def template(value: str) -> str:
    if fault := template_fault(value):
        raise FieldError(fault)
    return value


def secret_name(value: str) -> str:
    if not _SECRET_NAME.fullmatch(value) or _looks_secret(value):
        raise FieldError(
            "this is the name of a secret in Secrets Manager, such as anthropic, and must not be the key itself"
        )
    return value


def foreign_secret_fault(name: str, prefix: str) -> str:
    """Return what is wrong with a secret that is another deployment's, or none of ours; "" if nothing is.

    A name without a slash is short for one below the deployment's prefix. Without a prefix, every name is good.
    """
    last = name.rpartition("/")[2]
    if name.startswith(prefix) or name == last:
        return ""
    return (
        f"the secret {name} is none of this deployment, whose secrets begin with {prefix}: write `key: {last}`, "
        f"and keep the key in the secret {prefix}{last} (docs/deploy.md says how to go on with older names)"
    )


def whole_secret_name(name: str, prefix: str) -> str:
    """Return the name by which Secrets Manager knows one of the deployment's secrets."""
    return name if not name or name.startswith(prefix) else f"{prefix}{name}"


def _looks_secret(value: str) -> bool:
    from promptmill.redaction.patterns.structured import StructuredDetector  # noqa: PLC0415 (few recipes need it)

    return bool(_RANDOM_LOOKING.search(value)) or any(s.type == "api_key" for s in StructuredDetector().find(value))


def region(value: str) -> str:
    if not _REGION.fullmatch(value):
        raise FieldError("a region is called something like eu-central-1")
    return value


def address(value: str, *, stage: str) -> str:
    """Return an endpoint's base URL, without a slash at its end."""
    parts = _parts(value)
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise FieldError("an address holds no user name or password: name the secret in `key`")
    if parts.query or parts.fragment:
        raise FieldError("a base address has no ? or #")
    if parts.scheme != "https" and not (parts.scheme == "http" and stage == "local"):
        raise FieldError("an address starts with https://" + (" or http://" if stage == "local" else ""))
    return value.rstrip("/")


def _parts(value: str) -> Any:
    try:
        parts = urlsplit(value)
        valid = bool(parts.hostname) and (parts.port is None or parts.port > 0) and value.isprintable()
    except ValueError:
        valid = False
    if not valid or " " in value or "\\" in value:
        raise FieldError("must be an address such as https://host/path")
    return parts


def reply_queue(value: str, *, stage: str) -> str:
    return value if _QUEUE.fullmatch(value) else address(value, stage=stage)


def redaction_types(value: Any) -> tuple[str, ...]:
    """Return all types, none, or those listed, in the order of precedence."""
    if value in ("all", "none"):
        return ALL_TYPES if value == "all" else ()
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise FieldError("must be all, none, or a list of types")
    for name in value:
        _check_type(name)
    return tuple(name for name in KNOWN_TYPES if name in value)


def _check_type(name: str) -> None:
    if name not in KNOWN_TYPES:
        raise FieldError(
            f"no type is called {name}; {did_you_mean(name, KNOWN_TYPES) or 'known: ' + ', '.join(KNOWN_TYPES)}"
        )


def own_type(value: str) -> str:
    if value in KNOWN_TYPES or value == WHOLE_FIELD:
        raise FieldError(f"{value} is a type already: choose a name of your own")
    return value


def own_pattern(value: str) -> str:
    """Return the pattern. It must be RE2's, and find more than empty texts."""
    if fault := pattern_fault(value):
        raise FieldError(f"not a pattern for RE2: {fault}")
    return value


def allowed_value(value: str) -> str:
    if not value.strip():
        raise FieldError("an empty value allows nothing")
    return f"/{own_pattern(value[1:-1])}/" if is_pattern(value) else value


def answer_schema(value: Any) -> dict[str, Any]:
    """Return an object schema that a model can be made to follow."""
    schema = plain(value)
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise FieldError("must be a schema with `type: object`")
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        raise FieldError("`properties` names at least one property")
    required = schema.get("required", [])
    if not isinstance(required, list) or not set(map(str, required)) <= set(properties):
        raise FieldError("`required` lists names of `properties`")
    _check_schema(schema, "", 0)
    if has_remote_reference(schema):
        raise FieldError("references point inside of the schema")
    return schema


def _check_schema(schema: Any, where: str, depth: int) -> None:
    if depth > _MAX_SCHEMA_DEPTH:
        raise FieldError("the schema is nested too deeply")
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise FieldError(f"`{where or 'schema'}` is not a schema")
    reference = schema.get("$ref", "#")
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise FieldError("`$ref` points inside of the schema")
    _check_enum(schema, where)
    for key, check in _SUBSCHEMAS.items():
        if key in schema:
            check(schema[key], f"{where}.{key}".removeprefix("."), depth + 1)


def _check_enum(schema: dict[str, Any], where: str) -> None:
    values = schema.get("enum", [None])
    if not isinstance(values, list) or not values:
        raise FieldError(f"`{where}.enum` is a list with at least one value".replace("`.", "`"))


def _check_each(schemas: Any, where: str, depth: int) -> None:
    if not isinstance(schemas, dict):
        raise FieldError(f"`{where}` is a map from names to schemas")
    for name, schema in schemas.items():
        _check_schema(schema, f"{where}.{name}", depth)


def _check_all(schemas: Any, where: str, depth: int) -> None:
    if not isinstance(schemas, list):
        raise FieldError(f"`{where}` is a list of schemas")
    for index, schema in enumerate(schemas):
        _check_schema(schema, f"{where}[{index}]", depth)


_SUBSCHEMAS: dict[str, Callable[[Any, str, int], None]] = {
    "properties": _check_each,
    "$defs": _check_each,
    "definitions": _check_each,
    "items": _check_schema,
    "additionalProperties": _check_schema,
    "anyOf": _check_all,
    "oneOf": _check_all,
    "allOf": _check_all,
}
