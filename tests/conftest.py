"""Tests see none of the developer's AWS settings and proxies, whatever the shell has: none may reach a real account."""

from __future__ import annotations

import os

from hypothesis import settings

for name in list(os.environ):
    if name.startswith("AWS_") or name.lower().endswith("_proxy"):
        del os.environ[name]

# An example that takes long on a busy machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
