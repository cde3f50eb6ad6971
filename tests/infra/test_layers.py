"""The core layer is built for real; the others need a network: see test_layer_of_the_model.py, and what uses them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import build_layers
from infra.assets import Layer, layers_of
from infra.build_layers import PACKAGE, REQUIREMENTS, Target, build, content_digest, find_python, target_of
from infra.stages import StageValues
from promptmill.domain.errors import SettingsError

HERE = Target(name="here", compiler=sys.executable, options=())
UNCHECKED_HASH = 0b01
BOTH: tuple[Layer, ...] = ("core", "dependencies")
SKIPPED = ("cli", "client", "__pycache__")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy: somebody may be writing the original."""
    copy = tmp_path / "source" / PACKAGE.name
    shutil.copytree(PACKAGE, copy)
    monkeypatch.setattr(build_layers, "PACKAGE", copy)
    return copy


@pytest.fixture
def core(tmp_path: Path, package: Path) -> Path:
    assert package.is_dir()
    return _core(tmp_path / "core", HERE)


def test_core_holds_the_package_without_its_command_line(core: Path, package: Path) -> None:
    there = {p.relative_to(core / "python").as_posix() for p in core.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    ours = (p.relative_to(package) for p in package.rglob("*") if p.is_file())
    assert there == {f"promptmill/{p.as_posix()}" for p in ours if not set(SKIPPED) & set(p.parts)}
    assert "promptmill/settings.py" in there
    assert not (core / "python" / "promptmill" / "cli").exists()


def test_every_module_is_compiled_and_its_date_never_asked(core: Path) -> None:
    for source in core.rglob("*.py"):
        compiled = Path(importlib.util.cache_from_source(str(source)))
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == UNCHECKED_HASH


def test_same_sources_make_the_same_bytes_and_modes(core: Path, tmp_path: Path, package: Path) -> None:
    for path in package.rglob("*"):
        path.chmod(0o700)  # as another machine's umask leaves them
    again = _core(tmp_path / "elsewhere" / "core", HERE)
    assert _content(again) == _content(core)
    assert content_digest(again) == content_digest(core)


def test_layer_imports_without_writing_anything(core: Path) -> None:
    code = "import promptmill.settings, promptmill.domain.layout; print(promptmill.settings.__file__)"
    before = _content(core)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(core / "python")},
    )
    assert ran.stdout.strip() == str(core / "python" / "promptmill" / "settings.py")
    assert _content(core) == before


def test_without_the_runtimes_interpreter_nothing_is_compiled(tmp_path: Path) -> None:
    core = _core(tmp_path / "core", Target(name="here", compiler=None, options=()))
    assert list(core.rglob("*.pyc")) == []


def test_what_no_import_needs_is_pruned(tmp_path: Path) -> None:
    kept = (
        "pkg/__init__.py",
        "pkg/core.so",
        "pkg/data.dat",
        "pkg-1.dist-info/METADATA",
        "pkg-1.dist-info/licenses/LICENSE",
    )
    pruned = ("bin/pkg", "pkg/tests/test_a.py", "pkg/core.pyx", "pkg/core.pyi", "pkg-1.dist-info/RECORD", ".lock")
    for name in kept + pruned:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    build_layers._prune(tmp_path)
    assert {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()} == set(kept)


def test_an_interpreter_that_is_not_there_is_not_found() -> None:
    assert find_python("2.1") is None


def test_a_name_with_nothing_behind_it_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_python("3.99") is None
    real = tmp_path / "versions" / "3.99.1" / "bin" / "python3.99"
    real.parent.mkdir(parents=True)
    real.write_text("#!/bin/sh\necho 3.99\n")
    real.chmod(0o755)
    assert find_python("3.99") == str(real)


def test_the_running_interpreter_serves_its_own_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_python(f"{sys.version_info.major}.{sys.version_info.minor}") == sys.executable


def test_cloud_stages_share_their_layers() -> None:
    assert target_of("dev") == target_of("prod") != target_of("local")


class TestBuild:
    @pytest.fixture
    def filled(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Which layers were filled, each with one file."""
        names: list[str] = []

        def fill(name: str) -> None:
            def write(python: Path, _: Target) -> None:
                names.append(name)
                python.mkdir(parents=True)
                (python / "module.py").write_text("x = 1\n")

            monkeypatch.setattr(build_layers, f"_fill_{name}", write)

        for layer in ("core", "dependencies", "tables", "ner"):
            fill(layer)
        monkeypatch.setattr(build_layers, "layer_path", lambda layer, target: tmp_path / f"{layer}-{target}")
        monkeypatch.setattr(build_layers, "ROOT", tmp_path)
        monkeypatch.setattr(build_layers, "_digest", lambda sources, _: str(REQUIREMENTS in sources))
        return names

    def test_is_done_once(self, filled: list[str]) -> None:
        first, second = list(build(HERE, BOTH)), list(build(HERE, BOTH))
        assert filled == ["dependencies", "core"]
        assert [": built, " in line for line in first] == [True, True]
        assert [": as it was, " in line for line in second] == [True, True]

    def test_takes_in_the_layers_that_are_wanted(self, filled: list[str]) -> None:
        list(build(HERE, layers_of(StageValues(stage="dev", ner=True))))
        assert filled == ["dependencies", "tables", "ner", "core"]

    def test_ends_when_lambda_would_not_take_them(
        self, filled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        list(build(HERE, BOTH))
        two = build_layers.check_size(tmp_path / f"{layer}-here" for layer in BOTH)
        monkeypatch.setattr(build_layers, "MAX_BYTES", two)
        list(build(HERE, BOTH))
        with pytest.raises(SettingsError, match="the layers have 0 MiB") as raised:
            list(build(HERE, (*BOTH, "ner")))
        assert raised.value.code == "layers_too_large"
        assert "ner" in filled

    def test_is_done_again_when_cut_short(self, filled: list[str], tmp_path: Path) -> None:
        list(build(HERE, BOTH))
        (tmp_path / "core-here.sha256").unlink()
        list(build(HERE, BOTH))
        assert filled == ["dependencies", "core", "core"]


def test_digest_follows_content_and_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_layers, "ROOT", tmp_path)
    source = tmp_path / "requirements.txt"
    source.write_text("a==1")
    first = build_layers._digest([source], HERE)
    assert build_layers._digest([source], HERE) == first
    assert build_layers._digest([source], Target(name="here", compiler=None, options=())) != first
    source.write_text("a==2")
    assert build_layers._digest([source], HERE) != first


def _core(path: Path, target: Target) -> Path:
    build_layers._fill_core(path / "python", target)
    build_layers._compile(path, target.compiler)
    build_layers._set_modes(path)
    return path


def _content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
