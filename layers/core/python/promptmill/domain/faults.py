"""Exceptions described for logs: what and where, never what was in them."""

from __future__ import annotations

import traceback

_FRAMES = 8


def fault_of(error: BaseException) -> dict[str, object]:
    """Type, code where it has one, and the innermost frames. The message may quote a prompt: it stays out."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    fault: dict[str, object] = {"error": type(error).__name__, "at": where}
    code = getattr(error, "code", None) or _aws_code(error)
    return fault | {"code": code} if code else fault


def _aws_code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    found = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    return str(found)
