"""Background processes end when they should, with all that they started, and never another one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from promptmill.cli.local.processes import ProcessRecord, bare_environment, is_alive, start, stop, wait_until
from promptmill.domain.errors import UserError

PATIENCE_S = 30
FAMILY = """
import subprocess, sys, time, pathlib
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", sys.argv[1]])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""
PARENT = """
import sys, time
from pathlib import Path
from promptmill.cli.local.processes import start
record = start("family", sys.argv[2:], mark=sys.argv[1], environment={}, log=Path(sys.argv[1] + ".log"), cwd=Path("/"), tied=True)
print(record.pid, flush=True)
time.sleep(600)
"""


def eventually(check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if check():
            return True
        time.sleep(0.02)
    return False


def is_gone(pid: int) -> bool:
    """A zombie counts as gone: whoever started it has only not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "child.pid"


def started(marker: Path, *, tied: bool, environment: dict[str, str] | None = None) -> ProcessRecord:
    record = start(
        "family",
        [sys.executable, "-c", FAMILY, str(marker)],
        mark=str(marker),
        environment=environment or {},
        log=marker.with_suffix(".log"),
        cwd=marker.parent,
        tied=tied,
    )
    assert eventually(lambda: marker.exists() and bool(marker.read_text()))
    return record


@pytest.mark.parametrize("tied", [False, True])
def test_stopping_ends_the_whole_group(marker: Path, *, tied: bool) -> None:
    record = started(marker, tied=tied)
    assert is_alive(record)
    stop(record)
    assert not is_alive(record)
    assert eventually(lambda: is_gone(int(marker.read_text())))
    stop(record)


def test_children_of_a_killed_leader_are_found_by_their_mark(marker: Path) -> None:
    record = started(marker, tied=False)
    os.kill(record.pid, 9)
    assert eventually(lambda: is_gone(record.pid))
    stop(record)
    assert eventually(lambda: is_gone(int(marker.read_text())))


def test_a_process_id_of_somebody_else_is_left_alone(marker: Path) -> None:
    record = started(marker, tied=False)
    stranger = structs.replace(record, mark="no such mark")
    child = int(marker.read_text())
    stop_as_if_from_another_process(stranger)
    assert not is_gone(record.pid)
    assert not is_gone(child)
    stop(record)


def stop_as_if_from_another_process(record: ProcessRecord) -> None:
    code = (
        "import sys; from promptmill.cli.local.processes import ProcessRecord, is_alive, stop;"
        "r = ProcessRecord('x', int(sys.argv[1]), sys.argv[2]); assert not is_alive(r); stop(r)"
    )
    subprocess.run([sys.executable, "-c", code, str(record.pid), record.mark], check=True)


@pytest.fixture
def parent(marker: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", PARENT, str(marker), sys.executable, "-c", FAMILY, str(marker)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def test_a_tied_process_ends_with_its_parent_even_if_that_is_killed(
    parent: subprocess.Popen[str], marker: Path
) -> None:
    assert parent.stdout
    leader = int(parent.stdout.readline())
    assert eventually(lambda: marker.exists() and bool(marker.read_text()))
    parent.kill()
    assert eventually(lambda: is_gone(leader))
    assert eventually(lambda: is_gone(int(marker.read_text())))


def test_children_see_nothing_of_aws_or_proxies(marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "HTTPS_PROXY", "http_proxy", "PYTHONPATH", "SECRET"):
        monkeypatch.setenv(name, "real")
    monkeypatch.setenv("LD_PRELOAD", "moved_clock.so")
    found = bare_environment(marker.parent, marker.parent)
    kept = {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_PRELOAD"}
    assert set(found) <= kept | {"HOME", "TMPDIR", "PYTHONUNBUFFERED", "NO_PROXY"}
    assert found["LD_PRELOAD"] == "moved_clock.so", "a moved clock moves the whole stack"
    assert found["HOME"] == str(marker.parent)


def test_one_that_ends_at_once_quotes_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", "import sys; sys.exit('the port is taken')"]
    record = start("thing", command, mark="x", environment={}, log=log, cwd=tmp_path, tied=False)
    with pytest.raises(UserError, match=r"the thing ended at once.*the port is taken"):
        wait_until(lambda: None, record, log=log, seconds=PATIENCE_S)


def test_one_that_never_answers_is_stopped(marker: Path) -> None:
    record = started(marker, tied=False)
    with pytest.raises(UserError, match="did not answer in time"):
        wait_until(lambda: None, record, log=marker.with_suffix(".log"), seconds=0.1)
    assert is_gone(record.pid)
