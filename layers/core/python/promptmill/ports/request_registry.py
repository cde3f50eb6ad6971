"""Requests by identity."""

from __future__ import annotations

from typing import Protocol

from promptmill.ports.job_store import Claim


class RequestRegistry(Protocol):
    async def claim_request(
        self, recipe: str, request_id: str, *, body_hash: str, owner: str, seen: tuple[int, int] | None, at: str
    ) -> tuple[Claim, bool]:
        """The claim, and whether it is ours. An owned claim is taken over only if (epoch, beat) equal ``seen``.

        Raises:
            RecordError: that id was used with another body (code ``id_reused``).
        """
        ...

    async def beat_request(self, recipe: str, request_id: str, claim: Claim) -> Claim | None:
        """Show life; None if another epoch owns it."""
        ...

    async def release_request(self, recipe: str, request_id: str, claim: Claim) -> bool:
        """Give it back, so that the next claim counts no crash."""
        ...
