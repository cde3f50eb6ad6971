from __future__ import annotations

from tests.unit.attacks.house import house, wired

__all__ = ["house", "wired"]
