"""S3's error codes, by what they mean."""

from __future__ import annotations

MISSING = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NotFound"})
TAKEN = frozenset({"412", "PreconditionFailed"})
BEYOND = frozenset({"416", "InvalidRange"})
RACING = frozenset({"409", "ConditionalRequestConflict"})
