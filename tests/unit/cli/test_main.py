"""The command as a person starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from promptmill import __version__
from tests.fakes.recipes import recipe
from tests.unit.cli.fake_target import FakeTarget, typed

COMMANDS = ("submit", "status", "costs", "results", "recipe", "limits", "doctor", "local")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("promptmill")), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_version_help_and_wrong_usage() -> None:
    assert run("--version").stdout.strip().endswith(__version__)
    assert all(command in run("--help").stdout for command in COMMANDS)
    wrong = run("nonsense")
    assert (wrong.returncode, "No such command" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = typed(None, command, "--help")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 5


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("status", "nope"),
        ("costs", "--day", "today"),
        ("recipe", "list"),
        ("doctor",),
        ("results", "nope"),
    ],
)
def test_every_command_says_its_target_first(words: tuple[str, ...]) -> None:
    target = FakeTarget(recipe())
    assert typed(target, *words).stdout.splitlines()[0] == target.name
    assert target.stages == [None]


def test_the_stage_is_passed_on() -> None:
    target = FakeTarget(recipe())
    typed(target, "status", "--stage", "prod")
    typed(target, "status", PROMPTMILL_STAGE="dev")
    assert target.stages == ["prod", "dev"]
    assert typed(target, "status", "--stage", "production").exit_code == 2


def test_a_defect_is_not_hidden() -> None:
    def broken(stage: object, _name: str) -> FakeTarget:
        raise ZeroDivisionError(stage)

    assert isinstance(typed(broken, "status").exception, ZeroDivisionError)
