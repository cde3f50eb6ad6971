"""What a run has no result of yet."""

from __future__ import annotations

from promptmill.domain import layout
from promptmill.domain.job import Manifest
from promptmill.ports.object_store import ObjectLister


async def missing_chunks(manifest: Manifest, *, most: int, objects: ObjectLister) -> list[int]:
    """The first chunks without a result, at most so many: one pass over a listing that is in their order."""
    job_id, run = manifest.job_id, manifest.run
    there = aiter(objects.under(layout.chunk_results_prefix(job_id, run)))
    found, missing = await anext(there, None), list[int]()
    for chunk in manifest.to_run:
        key = layout.chunk_result_key(job_id, run, chunk)
        while found is not None and found.key < key:
            found = await anext(there, None)
        if found is None or found.key != key:
            missing.append(chunk)
            if len(missing) == most:
                break
    return missing
