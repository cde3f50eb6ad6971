"""Start and stop the processes of the local stack, each in a process group, so that no child stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from promptmill.domain.errors import UserError

T = TypeVar("T")
TIE = Path(__file__).with_name("parent_watch.py")
_PROC = Path("/proc")
_GRACE_S = 3.0
_POLL_S = 0.05
_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_PRELOAD")  # the last for make test-on, which moves the clock


class ProcessRecord(Struct, frozen=True):
    """A process that leads a process group.

    Attributes:
        mark: A text that stands in the command line of this process only, since process ids are used again.
    """

    name: str
    pid: int
    mark: str


def start(
    name: str,
    command: Sequence[str],
    *,
    mark: str,
    environment: Mapping[str, str],
    log: Path,
    cwd: Path,
    tied: bool,
) -> ProcessRecord:
    """Start a command in the background. A ``tied`` command ends with this process, however this process ends."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-I", str(TIE), *command] if tied else list(command)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            words,
            stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
        )
    _STARTED[process.pid] = process
    return ProcessRecord(name, process.pid, mark)


_STARTED: dict[int, subprocess.Popen[bytes]] = {}
"""The children of this process. They are kept to be reaped, and because closing a pipe would end a tied child."""


def bare_environment(home: Path, temporary: Path) -> dict[str, str]:
    """Return the environment of children. It holds nothing of AWS, no proxies and no configuration files."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {"HOME": str(home), "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", "NO_PROXY": "*"}


def is_alive(record: ProcessRecord) -> bool:
    child = _STARTED.get(record.pid)
    if child is not None:
        return child.poll() is None
    return record.mark in _command_line(record.pid)


def stop(record: ProcessRecord) -> None:
    """End a process and its group, politely first. A process that now has the same id is left alone."""
    _signal_group(record, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_S
    while time.monotonic() < deadline and _group(record):
        time.sleep(_POLL_S)
    _signal_group(record, signal.SIGKILL)
    child = _STARTED.pop(record.pid, None)
    if child is not None:
        child.wait()
        if child.stdin:
            child.stdin.close()


def _signal_group(record: ProcessRecord, number: signal.Signals) -> None:
    if not _group(record):
        return
    try:
        os.killpg(record.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        return


def _group(record: ProcessRecord) -> list[int]:
    """Return the processes of the group that bear the mark. Its leader may have died before them."""
    child = _STARTED.get(record.pid)
    if child is not None:
        child.poll()
    return [pid for pid in _all_pids() if _group_of(pid) == record.pid and record.mark in _command_line(pid)]


def _all_pids() -> list[int]:
    if _PROC.exists():
        return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()]
    return [int(pid) for pid in _ps("-A", "-o", "pid=").split()]


def _group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _command_line(pid: int) -> str:
    if not _PROC.exists():
        return _ps("-o", "command=", "-p", str(pid))
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _ps(*words: str) -> str:
    """Ask ``ps``, on systems without /proc."""
    shown = subprocess.run(["ps", *words], capture_output=True, text=True, check=False)  # noqa: S603, S607 - our own words
    return shown.stdout


def free_port(preferred: int) -> int:
    """Return the preferred port if it is free, else any free port."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise UserError("the loopback interface has no free port", code="no_port")


def wait_until(ready: Callable[[], T | None], record: ProcessRecord, *, log: Path, seconds: float) -> T:
    """Call ``ready`` until it returns something other than None, and return that.

    Raises:
        UserError: The process ended or the time is over. The error quotes the end of the log.
    """
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline and is_alive(record):
            if (found := ready()) is not None:
                return found
            time.sleep(_POLL_S)
    except BaseException:
        stop(record)
        raise
    problem = "did not answer in time" if is_alive(record) else "ended at once"
    stop(record)
    raise UserError(
        f"the {record.name} {problem}; its log ends with: {_tail(log)}", code="not_started", remedy=f"read {log}"
    )


def _tail(log: Path, lines: int = 5) -> str:
    return " | ".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(empty)"
