"""Where the code of functions and layers lies, once it is built."""

from __future__ import annotations

import fcntl
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from promptmill.domain.errors import SettingsError
from promptmill.settings import Stage

Layer = Literal["core", "dependencies"]
LAYERS: tuple[Layer, ...] = get_args(Layer)
ROOT = Path(__file__).parents[1]
BUILT = ROOT / "build" / "layers"
FUNCTIONS = ROOT / "functions"


@dataclass(frozen=True, kw_only=True)
class Assets:
    """``core`` and ``dependencies``: contents of the layers. ``arm``: what the functions run on."""

    core: str
    dependencies: str
    arm: bool = True
    functions: str = str(FUNCTIONS)

    def function(self, name: str) -> str:
        return str(Path(self.functions) / name)


def target_name(stage: Stage) -> str:
    """The local stage runs here, on this machine's interpreter; the others on AWS."""
    return "local" if stage == "local" else "arm64"


def layer_path(layer: Layer, target: str) -> Path:
    return BUILT / f"{layer}-{target}"


def built_assets(stage: Stage) -> Assets:
    """Raises SettingsError, naming the missing step."""
    core, dependencies = (layer_path(layer, target_name(stage)) for layer in LAYERS)
    if not all(path.with_suffix(".sha256").exists() for path in (core, dependencies)):
        raise SettingsError(
            "the layers are not built", code="layers_missing", where=stage, remedy=f"Run: make layers STAGE={stage}"
        )
    arm = stage != "local" or platform.machine().lower() in ("arm64", "aarch64")
    return Assets(core=str(core), dependencies=str(dependencies), arm=arm)


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Waits for other processes that build the same in this clone."""
    lock = ROOT / "build" / f".{name}.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
