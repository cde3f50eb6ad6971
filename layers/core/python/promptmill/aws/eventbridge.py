"""The ``EventBus`` port on Amazon EventBridge."""

from __future__ import annotations

from asyncio import to_thread
from typing import TYPE_CHECKING

import msgspec

from promptmill.domain.errors import PromptmillError

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient


SOURCE = "promptmill"


class EventRefusedError(PromptmillError):
    """EventBridge did not take an event."""


class EventBridgeBus:
    """One bus. Events have the source ``promptmill``; ``kind`` is the detail-type, as in ``Job done``."""

    def __init__(self, client: EventBridgeClient, bus: str) -> None:
        self._events, self._bus = client, bus

    async def publish(self, kind: str, detail: dict[str, str | int | None]) -> None:
        sent = await to_thread(
            self._events.put_events,
            Entries=[
                {
                    "Source": SOURCE,
                    "DetailType": kind,
                    "Detail": msgspec.json.encode(detail).decode(),
                    "EventBusName": self._bus,
                }
            ],
        )
        if sent["FailedEntryCount"]:
            raise EventRefusedError(kind)
