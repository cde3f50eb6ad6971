from __future__ import annotations

from tests.iam.functions import deployed

__all__ = ["deployed"]
