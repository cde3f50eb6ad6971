"""Promptmill: files and messages of prompts in, answers and exact costs out."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Client", "Job"]


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first used: a Lambda function never does."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("promptmill.client.client"), name)
