"""Queues and events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from promptmill.domain.messages import Message


class WorkQueue(Protocol):
    async def send(self, messages: Sequence[Message], *, delay_s: int = 0) -> None:
        """Send all messages, each to the queue of its kind. Raises if any of them was not taken."""
        ...


class MessageLease(Protocol):
    """The message that is being worked on."""

    async def renew(self, seconds: int) -> None:
        """Keep the message hidden for that long from now, unless it has come to somebody else since."""
        ...


class ReplySender(Protocol):
    async def reply(self, queue: str, body: str) -> None:
        """Send a reply to a queue by its name or URL.

        Raises:
            RecordError: no such queue, or not ours to send to (code ``reply_refused``).
        """
        ...


class EventBus(Protocol):
    async def publish(self, kind: str, detail: dict[str, str | int | None]) -> None: ...


class RequestCopy(Protocol):
    """A request that is sent again, with its identity, the owner that a deferral saw, when and by whom it was published."""

    @property
    def body(self) -> str: ...

    @property
    def copied_id(self) -> str: ...

    @property
    def owner_seen(self) -> tuple[int, int] | None: ...

    @property
    def since(self) -> int: ...

    @property
    def sender(self) -> str: ...


class RequestCopies(Protocol):
    async def send_again(self, copy: RequestCopy, *, delay_s: int) -> None:
        """Put a request back on the requests queue."""
        ...
