"""Find the code of functions and layers, once it is built."""

from __future__ import annotations

import fcntl
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infra.stages import StageValues
from promptmill.domain.errors import SettingsError
from promptmill.settings import Stage

Layer = Literal["core", "dependencies", "tables", "ner"]
ROOT = Path(__file__).parents[1]
BUILT = ROOT / "build" / "layers"
FUNCTIONS = ROOT / "functions"


@dataclass(frozen=True, kw_only=True)
class Assets:
    """The contents of the layers ("" for none), the folder of the functions, and whether they run on arm64."""

    core: str
    dependencies: str
    tables: str
    ner: str = ""
    arm: bool = True
    functions: str = str(FUNCTIONS)

    def function(self, name: str) -> str:
        return str(Path(self.functions) / name)


def target_name(stage: Stage) -> str:
    """Name what a stage is built for: this machine's interpreter for the local stage, arm64 for those on AWS."""
    return "local" if stage == "local" else "arm64"


def layer_path(layer: Layer, target: str) -> Path:
    return BUILT / f"{layer}-{target}"


def layers_of(values: StageValues) -> tuple[Layer, ...]:
    return ("core", "dependencies", "tables", *(("ner",) if values.ner else ()))


def built_assets(values: StageValues) -> Assets:
    """Return the assets of a stage. Raises SettingsError, naming the missing step."""
    stage = values.stage
    paths = {layer: layer_path(layer, target_name(stage)) for layer in layers_of(values)}
    if not all(path.with_suffix(".sha256").exists() for path in paths.values()):
        step = f"make layers STAGE={stage}" + (' CONTEXT="ner=true"' if values.ner else "")
        raise SettingsError("the layers are not built", code="layers_missing", where=stage, remedy=f"Run: {step}")
    arm = stage != "local" or platform.machine().lower() in ("arm64", "aarch64")
    return Assets(arm=arm, **{layer: str(path) for layer, path in paths.items()})


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Wait for other processes that build the same in this clone."""
    lock = ROOT / "build" / f".{name}.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
