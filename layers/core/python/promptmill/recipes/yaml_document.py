"""Operators' YAML, read safely: no tags, no repeated keys, no bombs, and numbers keep every digit."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import yaml
from msgspec import Struct

MAX_BYTES = 256 * 1024
_MAX_NODES = 20_000
_MAX_DEPTH = 40
_YAML_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d{0,39})")
_DECIMAL = re.compile(r"[+-]?(?:\d{1,40}\.\d{0,40}|\.\d{1,40}|\d{1,40})(?:[eE][+-]?\d{1,3})?")
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

Path = tuple[str | int, ...]


class Problem(Struct, frozen=True):
    """A problem in a document. ``path`` is written ``routes[1].model``; ``line`` counts from 1 and is 0 if unknown."""

    path: str
    reason: str
    line: int = 0

    @property
    def place(self) -> str:
        if not self.line:
            return self.path
        return f"{self.path} (line {self.line})" if self.path else f"line {self.line}"

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason


class Document(Struct, frozen=True):
    """The plain data of a document (dicts with text keys, lists, str, int, Decimal, bool, None) and each path's line."""

    data: Any
    lines: dict[Path, int]
    problems: tuple[Problem, ...]

    def problem(self, path: Path, reason: str) -> Problem:
        """Return a problem at this path, on the line of the path's nearest part that stands in the document."""
        known = next((path[:end] for end in range(len(path), -1, -1) if path[:end] in self.lines), ())
        return Problem(path_text(path), reason, self.lines.get(known, 0))


def path_text(path: Path) -> str:
    """Write ``("routes", 1, "model")`` as ``routes[1].model``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def read_yaml(text: str | bytes) -> Document:
    """Return the document. It has ``problems`` and no data if it cannot be read at all."""
    try:
        root = _compose(text)
    except _UnreadableError as error:
        return Document(None, {}, (error.problem,))
    reader = _Reader()
    try:
        data = reader.value(root, (), 0) if root is not None else None
    except _UnreadableError as error:
        return Document(None, {}, (error.problem,))
    return Document(data, reader.lines, tuple(reader.problems))


class _UnreadableError(Exception):
    def __init__(self, reason: str, line: int = 0) -> None:
        self.problem = Problem("", reason, line)
        super().__init__(reason)


def _compose(text: str | bytes) -> yaml.Node | None:
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    if len(raw) > MAX_BYTES:
        raise _UnreadableError(f"the document is larger than {MAX_BYTES // 1024} KiB")
    try:
        node: yaml.Node | None = yaml.compose(raw.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise _UnreadableError("the document is not UTF-8") from error
    except RecursionError as error:
        raise _UnreadableError("the document is nested too deeply") from error
    except yaml.YAMLError as error:
        raise _from_yaml(error) from error
    return node


def _from_yaml(error: yaml.YAMLError) -> _UnreadableError:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    return _UnreadableError(f"not valid YAML: {reason}", mark.line + 1 if mark else 0)


class _Reader:
    """Turns nodes into data. It counts its visits, because an alias is visited again wherever it stands."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self._visited = 0

    def value(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self._visited += 1
        line = node.start_mark.line + 1
        self.lines[path] = line
        if self._visited > _MAX_NODES or depth > _MAX_DEPTH:
            raise _UnreadableError("the document is too large or nested too deeply, its aliases counted in full", line)
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_YAML_TAG}map":
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_YAML_TAG}seq":
            return [self.value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in mapping:
                self._problem((*path, key), "the key is there twice", key_node)
                continue
            mapping[key] = self.value(value_node, (*path, key), depth + 1)
            self.lines[*path, key] = key_node.start_mark.line + 1
        return mapping

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{_YAML_TAG}str":
            return str(node.value)
        shown = f" {node.value}" if isinstance(node, yaml.ScalarNode) else ""
        self._problem(path, f"the key{shown} is not text: put it in quotes", node)
        return None

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        kind, text = node.tag.removeprefix(_YAML_TAG), str(node.value)  # a collection with a tag of its own ends below
        if kind in ("str", "timestamp"):
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return _WORDS[text.lower()]
        if kind == "int" and _INTEGER.fullmatch(text):
            return int(text)
        if kind == "float" and _DECIMAL.fullmatch(text):
            return Decimal(text)
        if kind in ("int", "float"):
            self._problem(path, f"{text!r} is no plain number: write it out, or put it in quotes", node)
        else:
            self._problem(path, f"the tag {node.tag} is not supported", node)
        return None

    def _problem(self, path: Path, reason: str, node: yaml.Node) -> None:
        self.problems.append(Problem(path_text(path), reason, node.start_mark.line + 1))
