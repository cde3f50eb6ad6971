"""The peak of this process's memory since it was last asked for."""

from __future__ import annotations

from pathlib import Path

_PEAK, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_mb() -> int:
    """Resident, in MiB; of the time since the call before. Linux only."""
    line = next(line for line in _PEAK.read_text().splitlines() if line.startswith("VmHWM"))
    _RESET.write_text("5")
    return int(line.split()[1]) >> 10
