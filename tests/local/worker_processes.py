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
