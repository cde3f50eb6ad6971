"""The stack on this machine: an emulator of AWS, an embedded model, and the synthesised template deployed to them."""

from __future__ import annotations
