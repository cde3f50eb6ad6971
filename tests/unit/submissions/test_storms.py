"""Some storms. ``python -m tests.unit.submissions.storm FIRST NUMBER`` runs as many as one likes."""

from __future__ import annotations

from tests.unit.submissions.storm import run_storms


async def test_storms_lose_nothing() -> None:
    met = await run_storms(range(60))
    assert min(met[name] for name in ("crash", "crash after", "lose", "refuse", "sleep", "lost creates", "adopted")) > 0
