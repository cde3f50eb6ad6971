"""Start the embedded model or, where it cannot be installed, a stub that says that it is one."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from pathlib import Path

from msgspec import Struct

from promptmill.cli.local.paths import LocalPaths
from promptmill.cli.local.processes import ProcessRecord, bare_environment, start, wait_until
from promptmill.domain.errors import UserError

MODEL_NAME = "smollm2-135m"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_START_S = 120
_MEASURE_S = 0.4
_MAX_THREADS = 4
_SERVER = Path(__file__).with_name("model_server.py")
_STUB = Path(__file__).with_name("stub_server.py")


class RunningModel(Struct, frozen=True):
    """A model server that answers. ``url`` is the base URL for clients of OpenAI's API."""

    process: ProcessRecord
    url: str
    is_stub: bool


def start_model(paths: LocalPaths, *, tied: bool, threads: int | None = None) -> RunningModel:
    """Start the embedded model if it is installed, else the stub. Without ``threads`` it uses half of the cores.

    Raises:
        UserError: The weights are not the pinned ones, or the server does not start.
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
    url = wait_until(lambda: _read_url(ready), process, log=log, seconds=_START_S)
    return RunningModel(process, f"{url}/v1", weights is None)


def _command(paths: LocalPaths, weights: Path | None, ready: Path, threads: int | None) -> list[str]:
    if weights is None:
        return [sys.executable, "-I", str(_STUB), "--ready", str(ready)]
    _check_weights(weights, paths)
    words = ["--gguf", str(weights), "--name", MODEL_NAME, "--ready", str(ready)]
    words += ["--threads", str(threads)] if threads else []
    return [str(paths.model_python), "-I", str(_SERVER), *words]


def _check_weights(weights: Path, paths: LocalPaths) -> None:
    """Check the hash of the weights once for each file, since hashing takes as long as loading."""
    seen = f"{MODEL_SHA256} {weights.stat().st_mtime_ns} {weights.stat().st_size}"
    stamp = paths.clone / ".local" / "model" / ".checked"
    if stamp.exists() and stamp.read_text() == seen:
        return
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != MODEL_SHA256:
        raise UserError(
            f"{weights.name} is not the pinned file (its SHA-256 is {found})",
            code="model_changed",
            remedy="delete .local/model, then run make model",
        )
    stamp.write_text(seen)


def _read_url(ready: Path) -> str | None:
    try:
        return str(json.loads(ready.read_text())["url"])
    except FileNotFoundError:
        return None


def count_idle_cores() -> int:
    """Return how many cores are idle now, from 1 to 4, or half of all cores if the system does not say."""
    try:
        before = _idle_seconds()
        time.sleep(_MEASURE_S)
        idle = (_idle_seconds() - before) / _MEASURE_S
    except FileNotFoundError:  # no /proc
        idle = (os.cpu_count() or 2) / 2
    return max(1, min(_MAX_THREADS, round(idle)))


def _idle_seconds() -> float:
    """Return the idle time of all cores together since the machine started."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()
    return int(fields[4]) / os.sysconf("SC_CLK_TCK")
