"""The ``EventBus`` port on Amazon EventBridge."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from promptmill.aws.failures import raise_for_entries
from promptmill.aws.threads import to_thread
from promptmill.domain.errors import PromptmillError

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient


SOURCE = "promptmill"


class EventRefusedError(PromptmillError):
    """EventBridge did not take an event."""


class EventBridgeBus:
    """One bus. Events have the source ``promptmill``; ``kind`` is the detail-type, as in ``Job done``.

    Args:
        make_client: called once, at the first event: a client takes time to make, and most functions publish none.
    """

    def __init__(self, make_client: Callable[[], EventBridgeClient], bus: str) -> None:
        self._make_client, self._bus = make_client, bus

    @cached_property
    def _events(self) -> EventBridgeClient:
        return self._make_client()

    async def publish(self, kind: str, detail: dict[str, str | int | None]) -> None:
        sent = await to_thread(
            lambda: self._events.put_events(
                Entries=[
                    {
                        "Source": SOURCE,
                        "DetailType": kind,
                        "Detail": msgspec.json.encode(detail).decode(),
                        "EventBusName": self._bus,
                    }
                ]
            )
        )
        if sent["FailedEntryCount"]:
            codes = [entry.get("ErrorCode", "") for entry in sent["Entries"]]
            raise_for_entries(codes, "events", {"Entries": [{"EventBusName": self._bus}]}, action="events:PutEvents")
            raise EventRefusedError(kind)
