"""An answer that comes in pieces, restored as it comes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from promptmill.domain.redaction.placeholders import restored, slots

_LONGEST = 64
_MAY_GO_ON = re.compile(r"(?:[<&%\\]|[A-Za-z])[^<>\n.!?,;:()\[\]{}\"]*\Z")


class StreamRestorer:
    """Holds back what could be the beginning of a placeholder, and gives out the rest with its values."""

    def __init__(self, values_by_placeholder: Mapping[str, str]) -> None:
        self._values, self._held = slots(values_by_placeholder), ""

    def feed(self, piece: str) -> str:
        """What can be shown by now."""
        self._held += piece
        cut = self._cut()
        ready, self._held = self._held[:cut], self._held[cut:]
        return restored(ready, self._values)

    def close(self) -> str:
        """What was held back."""
        ready, self._held = self._held, ""
        return restored(ready, self._values)

    def _cut(self) -> int:
        """Where the text ends that no further piece can change: before an open mark or an unfinished word."""
        start = max(0, len(self._held) - _LONGEST)
        match = _MAY_GO_ON.search(self._held, start)
        if match is None:
            return len(self._held) - len(_trailing(self._held))
        at = match.start()
        while at > start and self._held[at - 1] in "<\\*_`& ":
            at -= 1
        return at


def _trailing(text: str) -> str:
    """Marks that belong to what follows, and a bracket that the next piece may still belong to."""
    return text[-1:] if text[-1:] in ("<", "\\", "&", "%", "_", "*", "`") else ""
