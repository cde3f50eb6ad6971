"""How often a function's process collects garbage."""

from __future__ import annotations

import gc

_YOUNG_OBJECTS = 10_000
"""So many more objects than were given back start a collection; Python's own 700 are made by twelve calls."""


def pass_over_what_is_imported() -> None:
    """Freeze imported objects out of the garbage collector: with hundreds of calls in flight, collection takes a fifth of the CPU.

    Collections still come, since calls that fail leave cycles behind that hold their prompts.
    """
    gc.freeze()
    # A group of 50 calls makes some thousands of objects at once, nearly all of which are gone a moment later. A chunk
    # that has ended is garbage that has grown old, with all its answers: so the older generations have their turn soon.
    gc.set_threshold(_YOUNG_OBJECTS, 2, 2)
