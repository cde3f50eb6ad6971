"""All that a stack holds, as plain values that a reader understands, and back again byte by byte.

A *thing* is one item (in DynamoDB's typed JSON), object, message or event.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.durable.deployment import AN_HOUR_S, BUCKET, Deployment, Message
from tests.durable.kinds import MESSAGES, OBJECTS, TABLES, kind_at

Thing = dict[str, Any]
State = dict[str, list[Thing]]
"""Things by kind."""

_JSON = {"manifest", "segment_totals", "answer"}
_INDENTED = {"status", "summary"}
_PACKED = {"ranges", "chunk_journal", "request_journal"}
_DROPPED = {"dropped_file", "staged_file"}
_SECTIONS = ("results", "errors", "attempts")
_LARGEST = 50_000


def read_state(of: Deployment) -> State:
    """Return everything. An object that is larger than a sample should be is left out."""
    found: State = {}
    for kind, thing in (*_read_items(of), *_read_objects(of), *_read_messages(of), *_read_events(of)):
        if len(msgspec.json.encode(thing)) < _LARGEST:
            found.setdefault(kind, []).append(thing)
    return found


def load_state(state: State, into: Deployment) -> None:
    """Put everything where it was, and let an hour pass. Events, and messages that were worked on, are history."""
    for kind, things in state.items():
        for thing in things:
            _load(kind, thing, into)
    into.clock.advance(AN_HOUR_S)


def body_of(thing: Thing) -> bytes:
    """Return the bytes of an object or of a message."""
    match thing:
        case {"json": value}:
            return msgspec.json.encode(value)
        case {"indented": value}:
            return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
        case {"lines": lines}:
            return "".join(lines).encode()
        case {"packed": value}:
            return _pack(value)
        case {"sections": parts}:
            texts = ["".join(parts[name]).encode() for name in _SECTIONS]
            return b"".join([msgspec.json.encode(parts["header"]), b"\n", *texts, _pack(parts["index"])])
        case _:
            return base64.b64decode(thing["base64"])


def place_of(thing: Thing) -> str:
    """Return the key of an object, or both keys of an item; "" for anything else."""
    return f"{thing['pk']['S']} {thing['sk']['S']}" if "pk" in thing else thing.get("key", "")


def _load(kind: str, thing: Thing, into: Deployment) -> None:
    table = next((name for name, kinds in TABLES.items() if kind in kinds), None)
    if table is not None:
        into.db.put_item(TableName=table, Item={name: _typed(value) for name, value in thing.items()})
    elif kind in OBJECTS:
        version, modified = thing.get("version", ""), thing.get("modified", "")
        into.put(thing["key"], body_of(thing), version=version, modified=modified, content_type=thing["content_type"])
    elif thing.get("waits"):
        more = {name: thing[name] for name in ("sent_ms", "attributes", "delay_s", "received") if name in thing}
        into.waiting.append(Message(MESSAGES[kind], body_of(thing).decode(), thing.get("id", "none"), **more))


def _read_items(of: Deployment) -> Iterator[tuple[str, Thing]]:
    for table, kinds in TABLES.items():
        for item in of.items(table):
            thing = {name: _plain(value) for name, value in sorted(item.items())}
            yield kind_at(place_of(thing), kinds), thing


def _read_objects(of: Deployment) -> Iterator[tuple[str, Thing]]:
    """Yield the latest version of each object."""
    for key in of.object_keys():
        found = of.s3.get_object(Bucket=BUCKET, Key=key)
        kind = kind_at(key, OBJECTS)
        thing: Thing = {"key": key, "content_type": found["ContentType"]}
        if kind in _DROPPED:
            thing |= {"version": found["VersionId"], "modified": of.modified_at(key)}
        yield kind, thing | _body(kind, found["Body"].read())


def _read_messages(of: Deployment) -> Iterator[tuple[str, Thing]]:
    kinds = {queue: kind for kind, queue in MESSAGES.items()}
    for message in of.sent:
        waits = message in (*of.waiting, *of.under_way)
        thing: Thing = {"attributes": message.attributes} if message.attributes else {}
        if waits:
            thing |= {"waits": True, "delay_s": message.delay_s, "received": message.received}
            thing |= {"id": message.id, "sent_ms": message.sent_ms}
        yield kinds[message.queue], thing | {"json": msgspec.json.decode(message.body)}


def _read_events(of: Deployment) -> Iterator[tuple[str, Thing]]:
    for entry in of.events:
        yield "event", entry | {"Detail": msgspec.json.decode(entry["Detail"])}


def _body(kind: str, body: bytes) -> Thing:
    """Raise if what is readable does not lead back to the same bytes."""
    found = _readable_body(kind, body)
    if body_of(found) != body:
        raise AssertionError(f"{kind}: these bytes are not written again as they were")
    return found


def _readable_body(kind: str, body: bytes) -> Thing:
    if kind in _JSON:
        return {"json": msgspec.json.decode(body)}
    if kind in _INDENTED:
        return {"indented": msgspec.json.decode(body)}
    if kind in _PACKED:
        return {"packed": _unpack(body)}
    if kind == "chunk_result":
        return {"sections": _sections(body)}
    try:
        return {"lines": body.decode().splitlines(keepends=True)}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _sections(body: bytes) -> Thing:
    start = body.index(b"\n") + 1
    found: Thing = {"header": msgspec.json.decode(body[:start])}
    for name in _SECTIONS:
        end = start + found["header"][f"{name}_size"]
        found[name] = body[start:end].decode().splitlines(keepends=True)
        start = end
    return found | {"index": _unpack(body[start:])}


def _unpack(packed: bytes) -> Any:
    return _readable(msgspec.msgpack.decode(packed))


def _pack(value: Any) -> bytes:
    return msgspec.msgpack.encode(_raw(value))


def _readable(value: Any) -> Any:
    match value:
        case bytes():
            return {"bytes": value.decode()}
        case list():
            return [_readable(each) for each in value]
        case dict():
            return {name: _readable(each) for name, each in value.items()}
        case _:
            return value


def _raw(value: Any) -> Any:
    match value:
        case {"bytes": text}:
            return text.encode()
        case list():
            return [_raw(each) for each in value]
        case dict():
            return {name: _raw(each) for name, each in value.items()}
        case _:
            return value


def _plain(value: Thing) -> Thing:
    """Return typed JSON with its sets in order. The only binary attribute is packed."""
    match value:
        case {"B": packed}:
            return {"B": {"packed": _unpack(bytes(packed))}}
        case {"SS": members} | {"NS": members}:
            return {next(iter(value)): sorted(members, key=lambda each: (len(each), each))}
        case {"M": members}:
            return {"M": {name: _plain(each) for name, each in sorted(members.items())}}
        case {"L": members}:
            return {"L": [_plain(each) for each in members]}
        case _:
            return value


def _typed(value: Thing) -> Thing:
    return {"B": _pack(value["B"]["packed"])} if "B" in value else value
