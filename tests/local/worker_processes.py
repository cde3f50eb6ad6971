"""The processes that the emulator runs ``run_chunk`` in, and their sudden end. Found by /proc."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.local.deployment import Deployment

CAN_FIND = Path("/proc").is_dir()
_FUNCTION = "promptmill-local-run-chunk"


def workers(bucket: str) -> list[int]:
    """Process ids. ``bucket``: the stack's; another stack may run beside it."""
    wanted = {f"AWS_LAMBDA_FUNCTION_NAME={_FUNCTION}".encode(), f"PROMPTMILL_BUCKET={bucket}".encode()}
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if wanted <= set((directory / "environ").read_bytes().split(b"\0")):
                found.append(int(directory.name))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return sorted(found)


def at_work(bucket: str, port: int) -> list[int]:
    """Those that have called AWS, at the emulator's ``port``.

    One that ends before its first line of ours leaves its message hidden for the whole visibility timeout, 16 minutes.
    """
    connections = _connections(port)
    return [pid for pid in workers(bucket) if connections & _sockets(pid)]


def _connections(port: int) -> set[str]:
    """Inodes of the sockets that are connected to it."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if int(row[2].rpartition(":")[2], 16) == port}


def _sockets(pid: int) -> set[str]:
    """Their inodes."""
    found = set()
    try:
        for file in Path(f"/proc/{pid}/fd").iterdir():
            name = str(file.readlink())
            if name.startswith("socket:["):
                found.add(name[8:-1])
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return set()
    return found


def kill(pid: int) -> bool:
    """Whether it was still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_workers(deployment: Deployment) -> int:
    """All of them; how many."""
    return sum(kill(pid) for pid in workers(deployment.settings.bucket))
