"""Modules that are imported with a break in them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from msgspec import Struct


class Change(Struct, frozen=True):
    """``old`` stands once in the module's source, and becomes ``new``."""

    module: str
    old: str
    new: str


class Mutant(Struct, frozen=True):
    """One deliberate break; ``name`` says what is broken."""

    name: str
    changes: tuple[Change, ...]


class UnknownSourceError(Exception):
    """The engine has changed: the break does not fit any more."""


class Breaking:
    """A finder that changes the sources of some modules before they are compiled."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._changes = changes

    def install(self) -> None:
        """Raises UnknownSourceError if one of the modules is imported already."""
        for change in self._changes:
            if change.module in sys.modules:
                raise UnknownSourceError(f"{change.module} is imported already")
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        changes = [change for change in self._changes if change.module == name]
        spec = PathFinder.find_spec(name, path, target) if changes else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Broken(name, spec.origin, changes)
        return spec


class _Broken(SourceFileLoader):
    def __init__(self, name: str, origin: str, changes: Sequence[Change]) -> None:
        super().__init__(name, origin)
        self._broken = changes

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002  one module a loader
        source = broken(self.get_data(self.path).decode(), self._broken)
        return compile(source, self.path, "exec", dont_inherit=True)


def broken(source: str, changes: Sequence[Change]) -> str:
    """Raises UnknownSourceError: what is to be changed does not stand there once."""
    for change in changes:
        if source.count(change.old) != 1:
            raise UnknownSourceError(f"{change.module}: {source.count(change.old)} times {change.old!r}")
        source = source.replace(change.old, change.new)
    return source
