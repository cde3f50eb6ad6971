"""The queue ports on Amazon SQS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from promptmill.aws.error_kinds import classify, code_of
from promptmill.aws.failures import raise_for_entries
from promptmill.aws.threads import to_thread
from promptmill.domain import messages
from promptmill.domain.errors import PromptmillError, RecordError
from promptmill.domain.messages import ChunkMessage, FinishMessage, Message, PlanMessage, StepMessage
from promptmill.requests.envelope import copy_attributes

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

    from promptmill.ports.message_queue import RequestCopy


_BATCH = 10
_TRIES = 3
_MAX_DELAY_S = 900


class QueueRefusedError(PromptmillError):
    """SQS took a batch but not all of its messages, several times over."""


class SqsWorkQueue:
    """The ``WorkQueue`` port: each kind of message goes to the queue of its kind; steps are the work of those who run chunks."""

    def __init__(self, client: SQSClient, *, uploads: str, chunks: str, finish: str) -> None:
        self._sqs = client
        self._urls: Mapping[type[Message], str] = {
            PlanMessage: uploads,
            ChunkMessage: chunks,
            StepMessage: chunks,
            FinishMessage: finish,
        }

    async def send(self, messages_: Sequence[Message], *, delay_s: int = 0) -> None:
        for kind, url in self._urls.items():
            bodies = [messages.encode(m) for m in messages_ if isinstance(m, kind)]
            for i in range(0, len(bodies), _BATCH):
                await self._send_batch(url, bodies[i : i + _BATCH], min(delay_s, _MAX_DELAY_S))

    async def _send_batch(self, url: str, bodies: Sequence[str], delay_s: int) -> None:
        entries: list[Any] = [
            {"Id": str(i), "MessageBody": body, "DelaySeconds": delay_s} for i, body in enumerate(bodies)
        ]
        for _ in range(_TRIES):
            sent = await to_thread(self._sqs.send_message_batch, QueueUrl=url, Entries=entries)
            refused = {failed["Id"]: failed["Code"] for failed in sent.get("Failed", [])}
            if not refused:
                return
            raise_for_entries(refused.values(), "sqs", {"QueueUrl": url}, action="sqs:SendMessage")
            entries = [entry for entry in entries if entry["Id"] in refused]
        raise QueueRefusedError(f"{len(entries)} messages were not taken")


class SqsMessageLease:
    """The ``MessageLease`` port: the visibility of one received message."""

    def __init__(self, client: SQSClient, queue_url: str, receipt_handle: str) -> None:
        self._sqs, self._url, self._receipt = client, queue_url, receipt_handle

    async def renew(self, seconds: int) -> None:
        try:
            await to_thread(
                self._sqs.change_message_visibility,
                QueueUrl=self._url,
                ReceiptHandle=self._receipt,
                VisibilityTimeout=seconds,
            )
        except ClientError as error:
            # A message that has come to somebody else is no longer ours. Where AWS refuses for good, the queue's own
            # visibility has to do: it is longer than any invocation.
            if classify(error, "sqs") == "retry":
                raise


class SqsReplySender:
    """The ``ReplySender`` port: replies go to a queue by name or URL."""

    def __init__(self, client: SQSClient) -> None:
        self._sqs = client

    async def reply(self, queue: str, body: str) -> None:
        try:
            url = queue if queue.startswith("http") else await self._url_of(queue)
            await to_thread(self._sqs.send_message, QueueUrl=url, MessageBody=body)
        except ClientError as error:
            # The publisher names the queue: what is wrong with the call is wrong with that name.
            if classify(error, "sqs") != "retry":
                raise RecordError(
                    f"the reply queue cannot be used ({code_of(error)})",
                    code="reply_refused",
                    field="reply_to",
                    remedy="create the queue, and list its ARN in reply_queues of the stage",
                ) from error
            raise

    async def _url_of(self, name: str) -> str:
        found = await to_thread(self._sqs.get_queue_url, QueueName=name)
        return found["QueueUrl"]


class SqsRequestQueue:
    """The ``RequestCopies`` port: the requests queue takes copies of requests that cannot run now.

    Args:
        read_seal_key: returns the key that copies are sealed with.
    """

    def __init__(self, client: SQSClient, url: str, read_seal_key: Callable[[], Awaitable[bytes]]) -> None:
        self._sqs, self._url, self._read_seal_key = client, url, read_seal_key

    async def send_again(self, copy: RequestCopy, *, delay_s: int) -> None:
        """Send a copy. The request's identity travels with it, in sealed attributes."""
        attributes = copy_attributes(copy, await self._read_seal_key())
        typed: Any = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        await to_thread(
            self._sqs.send_message,
            QueueUrl=self._url,
            MessageBody=copy.body,
            DelaySeconds=min(delay_s, _MAX_DELAY_S),
            MessageAttributes=typed,
        )
