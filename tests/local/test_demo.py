"""``make demo``, shortened: real reviews, the real template, and nothing left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from promptmill.cli.local.paths import CLONE, LocalPaths
from promptmill.cli.local.processes import is_alive
from promptmill.cli.local.stack import LocalState, find_running
from tests.local.stack import LocalStack

pytestmark = [pytest.mark.emulator, pytest.mark.usefixtures("local_stack")]
PATIENCE_S = 240


def demo(home: Path, *words: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("promptmill")), "local", "demo", "--home", str(home), *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509  these tests have one thread
    )


def heed_interrupts() -> None:
    """A shell starts what it puts in the background deaf to them, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_demo_answers_counts_and_stops(local_stack: LocalStack, tmp_path: Path) -> None:
    with demo(tmp_path, "--reviews", "6", "--json") as process:
        text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, text
    report = json.loads(text)
    assert report["answered"] == 6
    assert 0 <= report["agreed"] <= 6
    assert report["reply"]["status"] == "answered"
    assert {"results.csv", "attempts.jsonl", "summary.json"} <= {
        path.name for path in Path(report["results"]).iterdir()
    }
    assert find_running(LocalPaths(CLONE, tmp_path / "demo")) is None
    assert not (tmp_path / "demo" / "tmp").exists()
    assert find_running(local_stack.paths) is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_its_stack_and_says_so(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path, "--reviews", "100") as process:
        state = deployed(tmp_path / "demo" / "state.json", process)
        process.send_signal(number)
        text, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, text
    assert "The stack is stopped" in text
    assert not any(is_alive(record) for record in state.processes)


def deployed(file: Path, process: subprocess.Popen[str]) -> LocalState:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if file.exists() and (state := msgspec.json.decode(file.read_bytes(), type=LocalState)).outputs:
            return state
        assert process.poll() is None
        time.sleep(0.05)
    raise AssertionError("it was never deployed")
