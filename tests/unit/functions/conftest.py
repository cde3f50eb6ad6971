from __future__ import annotations

from tests.fakes.deployed import deployed

__all__ = ["deployed"]
