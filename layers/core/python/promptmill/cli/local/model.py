"""The embedded model, or a stub that says that it is one."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from msgspec import Struct

from promptmill.cli.local.paths import LocalPaths
from promptmill.cli.local.processes import ProcessRecord, bare_environment, start, wait_until
from promptmill.domain.errors import UserError

MODEL_NAME = "smollm2-135m"
STUB_NAME = "stub-not-a-model"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_START_S = 120
_SERVER = Path(__file__).with_name("model_server.py")
_STUB = Path(__file__).with_name("stub_server.py")


class RunningModel(Struct, frozen=True):
    """``url``: what OpenAI's clients call the base URL."""

    process: ProcessRecord
    url: str
    is_stub: bool


def start_model(paths: LocalPaths, *, tied: bool, threads: int | None = None) -> RunningModel:
    """The embedded model where it is installed, else the stub. Without ``threads`` it takes half of the cores.

    Raises:
        UserError: the weights are not those that were pinned, or it does not start.
    """
    weights = paths.model_file
    ready, log = paths.home / "model.ready.json", paths.logs / "model.log"
    ready.parent.mkdir(parents=True, exist_ok=True)
    paths.temporary.mkdir(parents=True, exist_ok=True)
    ready.unlink(missing_ok=True)
    process = start(
        "model",
        _command(paths, weights, ready, threads),
        mark=str(ready),
        environment=bare_environment(paths.home, paths.temporary),
        log=log,
        cwd=paths.home,
        tied=tied,
    )
    url = wait_until(lambda: _announced(ready), process, log=log, seconds=_START_S)
    return RunningModel(process, f"{url}/v1", weights is None)


def _command(paths: LocalPaths, weights: Path | None, ready: Path, threads: int | None) -> list[str]:
    if weights is None:
        return [sys.executable, "-I", str(_STUB), "--ready", str(ready)]
    _check(weights, paths)
    words = ["--gguf", str(weights), "--name", MODEL_NAME, "--ready", str(ready)]
    words += ["--threads", str(threads)] if threads else []
    return [str(paths.model_python), "-I", str(_SERVER), *words]


def _check(weights: Path, paths: LocalPaths) -> None:
    """Once for each file: hashing takes as long as loading."""
    seen = f"{MODEL_SHA256} {weights.stat().st_mtime_ns} {weights.stat().st_size}"
    stamp = paths.clone / ".local" / "model" / ".checked"
    if stamp.exists() and stamp.read_text() == seen:
        return
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != MODEL_SHA256:
        raise UserError(
            f"{weights.name} is not the file that was pinned (SHA-256 {found})",
            code="model_changed",
            remedy="remove .local/model and run make model",
        )
    stamp.write_text(seen)


def _announced(ready: Path) -> str | None:
    try:
        return str(json.loads(ready.read_text())["url"])
    except FileNotFoundError:
        return None
