"""Tests see none of the developer's AWS settings and proxies, whatever the shell has: none may reach a real account."""

from __future__ import annotations

import os

for name in list(os.environ):
    if name.startswith("AWS_") or name.lower().endswith("_proxy"):
        del os.environ[name]
