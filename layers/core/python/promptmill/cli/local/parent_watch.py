"""Run a command, and end it when the parent process ends, which closes this script's standard input."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

GRACE_S = 2


def main() -> int:
    """Run the command. This script leads a process group, so that children of the command end with it."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)  # noqa: S603 - our own arguments
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    threading.Thread(target=_end_with_parent, args=(child,), daemon=True).start()
    code = child.wait()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    return code


def _end_with_parent(child: subprocess.Popen[bytes]) -> None:
    """Wait until standard input is closed, then end the child, politely first."""
    sys.stdin.buffer.read()
    child.terminate()
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main())
