"""A request of one API as another API can carry it."""

from __future__ import annotations

from promptmill.wire.translation.mend import MENDED
from promptmill.wire.translation.translate import translate, translate_with_notes
from promptmill.wire.translation.work import HINTS

__all__ = ("HINTS", "MENDED", "translate", "translate_with_notes")
