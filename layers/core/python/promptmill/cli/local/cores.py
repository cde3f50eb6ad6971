"""How busy this machine is."""

from __future__ import annotations

import os
import time
from pathlib import Path

_LOOK_S = 0.4
_MOST = 4


def idle_cores() -> int:
    """As of now, 1 to 4; half of the cores where the system does not say."""
    try:
        before = _idle_seconds()
        time.sleep(_LOOK_S)
        idle = (_idle_seconds() - before) / _LOOK_S
    except FileNotFoundError:  # no /proc
        idle = (os.cpu_count() or 2) / 2
    return max(1, min(_MOST, round(idle)))


def _idle_seconds() -> float:
    """Of all cores together, since the machine started."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()
    return int(fields[4]) / os.sysconf("SC_CLK_TCK")
