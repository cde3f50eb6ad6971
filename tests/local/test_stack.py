"""The local stack itself: ports, environment, state, and what is left when it is down."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from promptmill.cli.local.paths import CLONE, LocalPaths
from promptmill.cli.local.processes import is_alive, stop
from promptmill.cli.local.stack import down, find_running, up
from tests.local.stack import LocalStack

pytestmark = pytest.mark.emulator
HOSTILE = {
    "AWS_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "AKIAREALREALREAL",
    "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real",
    "AWS_ENDPOINT_URL": "https://example.invalid",
    "AWS_REGION": "eu-west-3",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
}
RECIPE = CLONE / "recipes" / "demo.yaml"


def promptmill(stack: LocalStack, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """As a person types it, with somebody's real-looking variables around."""
    environment = {**os.environ, **HOSTILE, "PROMPTMILL_HOME": str(stack.paths.home), **more}
    command = [str(Path(sys.executable).with_name("promptmill")), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


@pytest.mark.usefixtures("local_stack")
def test_a_command_finds_the_stack_and_says_so(local_stack: LocalStack) -> None:
    shown = promptmill(local_stack, "recipe", "list")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("local\n")
    assert "demo" in shown.stdout


def test_a_file_is_answered_by_the_model_and_costs_what_its_attempts_say(
    local_stack: LocalStack, tmp_path: Path
) -> None:
    file = tmp_path / "ä b+%20 (1).csv"
    file.write_text("id,text\n1,I love it\n2,It broke at once\n")
    done = promptmill(local_stack, "submit", str(file), "--recipe", "demo", "--wait", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["status"]["state"]) == (0, "DONE"), done.stdout
    assert document["target"] == "local"
    fetched = json.loads(
        promptmill(local_stack, "results", document["job_id"], "--out", str(tmp_path / "out"), "--json").stdout
    )
    lines = [json.loads(line) for line in Path(fetched["files"]["attempts"]).read_text().splitlines()]
    costs = json.loads(promptmill(local_stack, "costs", "--job", document["job_id"], "--json").stdout)
    assert costs["attempts"] == len(lines) == 2
    assert costs["nano_usd"] == sum(int(line["cost_usd"].replace(".", "")) for line in lines) > 0
    answers = Path(fetched["files"]["results"]).read_text(encoding="utf-8-sig").splitlines()
    assert answers[0].startswith("id,text,sentiment")
    assert len(answers) == 3


def test_an_estimate_holds_what_the_model_then_takes(local_stack: LocalStack, tmp_path: Path) -> None:
    file = tmp_path / "estimated.csv"
    file.write_text((CLONE / "samples/reviews.csv").read_text())
    shown = promptmill(local_stack, "estimate", str(file), "--recipe", "demo", "--json")
    before = json.loads(shown.stdout)
    assert (shown.returncode, before["seen"]) == (0, 24), shown.stderr
    job = json.loads(promptmill(local_stack, "submit", str(file), "--recipe", "demo", "--wait", "--json").stdout)
    spent = json.loads(promptmill(local_stack, "costs", "--job", job["job_id"], "--json").stdout)
    for quantity in ("input_tokens", "output_tokens"):
        assert before[quantity]["low"] <= spent[quantity] <= before[quantity]["high"], (quantity, before, spent)
    assert before["input_tokens"]["expected"] == spent["input_tokens"]  # the model's server counts them
    assert Decimal(before["cost_usd"]["low"]) <= Decimal(spent["cost_usd"]) <= Decimal(before["cost_usd"]["high"])


def test_doctor_calls_the_model_through_the_real_adapter(local_stack: LocalStack) -> None:
    shown = promptmill(local_stack, "doctor", "demo")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "answered (" in shown.stdout


def test_nothing_of_the_person_reaches_emulator_or_model(local_stack: LocalStack) -> None:
    for record in local_stack.state.processes:
        seen = environment_of(record.pid)
        assert seen.get("AWS_ACCESS_KEY_ID", "test") == "test"
        assert "AWS_PROFILE" not in seen
        assert not [name for name in seen if name.upper() in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")]
        assert seen["HOME"].startswith(str(local_stack.paths.home))


def test_the_port_is_another_one_where_it_is_taken(local_stack: LocalStack) -> None:
    with socket.create_connection(("127.0.0.1", int(local_stack.endpoint.rpartition(":")[2]))):
        pass
    assert up(local_stack.paths, recipes=[]).endpoint == local_stack.endpoint


@pytest.fixture
def second(local_stack: LocalStack, tmp_path: Path) -> Iterator[LocalPaths]:
    """Room for another stack beside the one that is up."""
    del local_stack
    paths = LocalPaths(CLONE, tmp_path / "second")
    yield paths
    down(paths)


def test_a_second_stack_takes_another_port_and_down_leaves_nothing(local_stack: LocalStack, second: LocalPaths) -> None:
    taken = int(local_stack.endpoint.rpartition(":")[2])
    state = up(second, recipes=[RECIPE], tied=True, preferred_port=taken)
    assert state.endpoint != local_stack.endpoint
    assert find_running(second) == state
    assert down(second)
    assert find_running(second) is None
    assert not any(is_alive(record) for record in state.processes)
    assert not second.temporary.exists()
    assert not second.state.exists()
    assert not down(second)
    assert find_running(local_stack.paths) is not None


def test_a_crashed_stack_is_cleared_away(second: LocalPaths) -> None:
    state = up(second, recipes=[], tied=False, preferred_port=0)
    os.kill(state.processes[0].pid, 9)
    deadline = time.monotonic() + 20
    while find_running(second) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert find_running(second) is None
    again = up(second, recipes=[RECIPE], tied=True, preferred_port=0)
    assert not is_alive(state.processes[1])
    assert find_running(second) == again


def test_a_state_file_of_an_older_time_is_no_obstacle(second: LocalPaths) -> None:
    second.home.mkdir(parents=True)
    second.state.write_text('{"endpoint": "http://127.0.0.1:4566", "nonsense": tru')
    assert find_running(second) is None
    assert not down(second)


def test_local_status_and_down_by_hand(second: LocalPaths) -> None:
    state = up(second, recipes=[], tied=True, preferred_port=0)
    stack = LocalStack(second, preferred_port=0)
    shown = json.loads(promptmill(stack, "local", "status", "--json").stdout)
    assert shown["endpoint"] == state.endpoint
    assert promptmill(stack, "local", "down").returncode == 0
    assert promptmill(stack, "local", "status").returncode == 3
    for record in state.processes:
        stop(record)
