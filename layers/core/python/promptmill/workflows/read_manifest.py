"""Manifests, read once a process."""

from __future__ import annotations

import msgspec

from promptmill.domain import layout
from promptmill.domain.job import Manifest
from promptmill.ports.object_store import ObjectReader

_KEPT = 4


class ReadManifest:
    """A manifest never changes once it is written, so the last few are kept."""

    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects
        self._kept: dict[tuple[str, int], Manifest] = {}

    async def __call__(self, job_id: str, run: int) -> Manifest:
        """Raises MissingObjectError: not planned yet."""
        place = (job_id, run)
        if place not in self._kept:
            data = await self._objects.read(layout.manifest_key(job_id, run))
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[place] = msgspec.json.decode(data, type=Manifest)
        return self._kept[place]
