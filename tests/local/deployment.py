"""Drop files into a running local stack and wait for what comes of them."""

from __future__ import annotations

import itertools
import secrets
import time
from typing import Any

import msgspec

from promptmill.cli.target import AwsTarget
from promptmill.domain import layout
from promptmill.domain.job import JobRun, Source, make_job_id
from promptmill.domain.money import parse_usd

PATIENCE_S = 600.0
_names = itertools.count()


class Deployment:
    """One running stack. Its tables and bucket are read as a person would: by the public ports."""

    def __init__(self, target: AwsTarget) -> None:
        self.target, self.services, self.settings = target, target.services, target.settings
        self.s3, self.sqs = target.services.client("s3"), target.services.client("sqs")

    def push(self, name: str, document: str) -> str:
        """A recipe; gives its name."""
        self.s3.put_object(Bucket=self.settings.bucket, Key=layout.recipe_key(name), Body=document.encode())
        return name

    def drop(self, key: str, body: bytes) -> str:
        """The id of the job that this starts."""
        tagged = "promptmill-again=true"  # tests drop the same bytes as others did
        self.s3.put_object(Bucket=self.settings.bucket, Key=key, Body=body, Tagging=tagged)
        found = self.services.run(self.services.objects.head(key))
        assert found is not None
        return make_job_id(Source(key, found.version, found.size, found.modified_at))

    def wait(self, job_id: str, *, patience_s: float = PATIENCE_S) -> JobRun:
        """Until it is over."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            job: JobRun | None = self.services.run(self.services.jobs.read(job_id, 1))
            if job is not None and job.state.terminal:
                return job
            time.sleep(0.2)
        raise AssertionError(f"{job_id} did not end: {self.read_status(job_id)}")

    def mill(self, key: str, body: bytes) -> JobRun:
        return self.wait(self.drop(key, body))

    def file(self, job: JobRun, name: str) -> bytes:
        data: bytes = self.services.run(self.services.objects.read(job.files[name]))
        return data

    def lines(self, job: JobRun, name: str) -> list[Any]:
        return [msgspec.json.decode(line) for line in self.file(job, name).splitlines()]

    def status(self, job: JobRun) -> dict[str, Any]:
        data = self.services.run(self.services.objects.read(f"{job.results_prefix}status.json"))
        found: dict[str, Any] = msgspec.json.decode(data)
        return found

    def read_status(self, job_id: str) -> Any:
        return self.services.run(self.services.jobs.read(job_id, 1))

    def spent(self, job: JobRun) -> int:
        """Nano-dollars, by the ledger."""

        async def fold() -> int:
            return sum([charge.nano_usd async for charge in self.services.ledger.charges_of(job.job_id)])

        total: int = self.services.run(fold())
        return total

    def attempted(self, job: JobRun) -> int:
        """Nano-dollars, by the lines of attempts.jsonl."""
        return sum(parse_usd(line["cost_usd"]) for line in self.lines(job, "attempts") if line["cost_usd"])

    def ask(self, message: dict[str, Any]) -> None:
        body = msgspec.json.encode(message).decode()
        self.sqs.send_message(QueueUrl=self.settings.requests_queue, MessageBody=body)

    def reply_to(self, request_id: str, *, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next reply on the stack's own queue that carries the id."""
        queue = self.target.outputs["RepliesQueue"]
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            for message in self.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []):
                found: dict[str, Any] = msgspec.json.decode(message["Body"])
                self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                if found["id"] == request_id:
                    return found
        raise AssertionError(f"no reply to {request_id}")


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{next(_names)}-{secrets.token_hex(3)}"
