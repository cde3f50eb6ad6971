"""Amazon SQS as boto3 shows it, over the simulated queues: the real adapter of the queue ports runs on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from tests.simulation.queues import SimQueue


class SimSqs:
    """The part of the client that the adapter uses. Replies go to any other queue, and are kept in ``replies``.

    Attributes:
        replied: when the first reply to a request was sent, by recipe and id.
    """

    def __init__(self, queues: Sequence[SimQueue], replies: list[tuple[str, str]]) -> None:
        self._queues = {queue.name: queue for queue in queues}
        self._replies = replies
        self.replied: dict[tuple[str, str], float] = {}

    def send_message_batch(self, *, QueueUrl: str, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803  as boto3 names them
        """Take the entries that the queue does not refuse, as SQS does: each for itself."""
        if not 1 <= len(Entries) <= _MAX_ENTRIES:
            raise _error("TooManyEntriesInBatchRequest", "SendMessageBatch")
        queue, failed = self._queues[QueueUrl], []
        for entry in Entries:
            if queue.refuses_entry():
                failed.append({"Id": entry["Id"], "Code": "InternalError", "SenderFault": False})
            else:
                queue.send(entry["MessageBody"], delay_s=entry["DelaySeconds"])
        return {"Failed": failed} if failed else {}

    def send_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MessageBody: str,  # noqa: N803
        DelaySeconds: int = 0,  # noqa: N803
        MessageAttributes: Mapping[str, Mapping[str, str]] | None = None,  # noqa: N803
    ) -> None:
        if QueueUrl not in self._queues:
            self._replies.append((QueueUrl, MessageBody))
            reply = msgspec.json.decode(MessageBody)
            self.replied.setdefault((reply["recipe"], reply["id"]), asyncio.get_running_loop().time())
            return
        attributes = {name: value["StringValue"] for name, value in (MessageAttributes or {}).items()}
        self._queues[QueueUrl].send(MessageBody, attributes=attributes, delay_s=DelaySeconds)

    def get_queue_url(self, *, QueueName: str) -> dict[str, str]:  # noqa: N803
        return {"QueueUrl": QueueName}

    def change_message_visibility(self, *, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:  # noqa: N803
        position, _, receipt = ReceiptHandle.partition(":")
        if int(position) not in self._queues[QueueUrl].messages:
            raise _error("InvalidParameterValue", "ChangeMessageVisibility")
        self._queues[QueueUrl].hide(int(position), int(receipt), VisibilityTimeout)


_MAX_ENTRIES = 10


def _error(code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)
