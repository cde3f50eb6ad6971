"""Queues and events in memory."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.domain.errors import RecordError
from promptmill.domain.messages import Message
from promptmill.ports.message_queue import RequestCopy
from tests.fakes.failing import FailsOnRequest


class FakeWorkQueue(FailsOnRequest):
    """``waiting`` holds what was sent and not taken."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.sent: list[tuple[Message, int]] = []

    async def send(self, messages: Sequence[Message], *, delay_s: int = 0) -> None:
        self.waiting.extend(messages)
        self.sent.extend((message, delay_s) for message in messages)


class FakeLease(FailsOnRequest):
    """Counts renewals."""

    def __init__(self) -> None:
        self.renewals: list[int] = []

    async def renew(self, seconds: int) -> None:
        self.renewals.append(seconds)


class FakeReplies(FailsOnRequest):
    """``missing`` names queues that do not exist."""

    def __init__(self, *, missing: Sequence[str] = ()) -> None:
        self.sent: list[tuple[str, str]] = []
        self._missing = missing

    async def reply(self, queue: str, body: str) -> None:
        if queue in self._missing:
            raise RecordError("the reply queue cannot be used", code="reply_refused", field="reply_to")
        self.sent.append((queue, body))


class FakeCopies(FailsOnRequest):
    """Requests sent again."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, tuple[int, int] | None]] = []
        self.copies: list[RequestCopy] = []

    async def send_again(self, copy: RequestCopy, *, delay_s: int) -> None:
        del delay_s
        self.copies.append(copy)
        self.sent.append((copy.body, copy.copied_id, copy.owner_seen))


class FakeEvents(FailsOnRequest):
    """The bus."""

    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, str | int | None]]] = []

    async def publish(self, kind: str, detail: dict[str, str | int | None]) -> None:
        self.published.append((kind, detail))
