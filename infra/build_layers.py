"""Build the two layers of a stage, without Docker: ``python -m infra.build_layers dev``.

The same sources make the same bytes. What is there and still fits is left as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.assets import ROOT, Layer, layer_path, one_at_a_time, target_name
from infra.stages import LAMBDA_PYTHON
from promptmill.settings import STAGES, Stage

REQUIREMENTS = ROOT / "layers" / "dependencies" / "requirements.txt"
PACKAGE = ROOT / "layers" / "core" / "python" / "promptmill"
EMULATOR_PYTHON = ROOT / ".local" / "emulator" / "bin" / "python"
LAMBDA_PLATFORM = "aarch64-manylinux_2_28"
_NOT_IN_THE_LAYER = ("cli", "__pycache__")
_USELESS = (
    *("bin", ".lock", "**/tests", "**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.pxi", "**/*.c", "**/*.h", "**/*.hash"),
    *(f"*.dist-info/{name}" for name in ("RECORD", "INSTALLER", "REQUESTED")),
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What layers are built for.

    Attributes:
        name: as in the folders' names.
        compiler: an interpreter of the runtime's own version, None where this machine has none.
        options: of ``uv pip install``.
    """

    name: str
    compiler: str | None
    options: tuple[str, ...]


def target_of(stage: Stage) -> Target:
    if stage == "local":
        python = str(EMULATOR_PYTHON) if EMULATOR_PYTHON.exists() else sys.executable
        return Target(name=target_name(stage), compiler=python, options=("--python", python))
    options = ("--python-platform", LAMBDA_PLATFORM, "--python-version", LAMBDA_PYTHON)
    return Target(name=target_name(stage), compiler=find_python(LAMBDA_PYTHON), options=options)


def find_python(version: str) -> str | None:
    """One that runs: a version manager may put a name on PATH with nothing behind it."""
    name = f"python{version}"
    managed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (shutil.which(name), sys.executable, *sorted(map(str, managed.glob(f"{version}.*/bin/{name}")))):
        if candidate and _version(candidate) == version:
            return candidate
    return None


def _version(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    asked = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603  a Python
    return asked.stdout.strip() if asked.returncode == 0 else ""


def build(target: Target) -> Iterator[str]:
    """What was done, a line a layer."""
    parts: tuple[tuple[Layer, Callable[[Path, Target], None], list[Path]], ...] = (
        ("dependencies", _fill_dependencies, [REQUIREMENTS]),
        ("core", _fill_core, list(_files(PACKAGE))),
    )
    for layer, fill, sources in parts:
        path, digest = layer_path(layer, target.name), _digest([*sources, Path(__file__)], target)
        stamp = path.with_suffix(".sha256")
        fits = path.is_dir() and stamp.exists() and stamp.read_text() == digest
        if not fits:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)
            fill(path / "python", target)
            _compile(path, target.compiler)
            stamp.write_text(digest)
        yield _described(path, "as it was" if fits else "built")


def _fill_dependencies(python: Path, target: Target) -> None:
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--link-mode", "copy"]
    checks = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    _run(*install, *checks, *target.options, "--target", str(python), "-r", str(REQUIREMENTS))
    _prune(python)


def _prune(python: Path) -> None:
    for pattern in _USELESS:
        for path in sorted(python.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _fill_core(python: Path, _: Target) -> None:
    shutil.copytree(PACKAGE, python / PACKAGE.name, ignore=shutil.ignore_patterns(*_NOT_IN_THE_LAYER))


def _compile(layer: Path, compiler: str | None) -> None:
    """Unchecked: a zip has no dates, and Python would compile again at every cold start.

    One process and a fixed hash seed, since the bytes depend on both.
    """
    if compiler is None:
        return
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    where = ["-s", str(layer), "-p", "/opt", str(layer / "python")]
    unchecked = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    _run(compiler, *unchecked, *where, environment=plain | {"PYTHONHASHSEED": "0"})


def _run(*command: str, environment: Mapping[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=environment)  # noqa: S603  the commands are the two above


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not set(_NOT_IN_THE_LAYER) & set(path.relative_to(folder).parts):
            yield path


def _digest(sources: list[Path], target: Target) -> str:
    digest = hashlib.sha256(repr((target, platform.machine(), target.compiler and _version(target.compiler))).encode())
    for path in sources:
        digest.update(f"\n{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _described(path: Path, how: str) -> str:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return f"{path.relative_to(ROOT)}: {how}, {size / 1e6:.1f} MB"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    target = target_of(parser.parse_args().stage)
    with one_at_a_time("layers"):
        for line in build(target):
            sys.stdout.write(f"{line}\n")
    if target.compiler is None:
        sys.stdout.write(f"no python{LAMBDA_PYTHON} here: no .pyc in these layers, so cold starts are slower\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
