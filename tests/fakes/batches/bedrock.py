"""Bedrock's batch inference from the server's side: botocore's service model judges calls, patterns included."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from functools import cache
from typing import Any, Literal

import botocore.session
import msgspec
from botocore.model import Shape, StructureShape
from botocore.validate import ParamValidator

from promptmill.domain.errors import MissingObjectError
from promptmill.domain.times import rfc3339
from tests.fakes.batches.fates import Fate, FateOf, Told, all_answered, tell
from tests.fakes.batches.server import Cut, FakeBatchServer, Operation, Says, Seen, Trouble
from tests.fakes.clock import FakeClock
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.providers import bedrock as live
from tests.fakes.providers import bedrock_native as native
from tests.fakes.providers.aws_signature import signature_problem
from tests.fakes.providers.behaviours import Answer, Sent

BUCKET, ROLE = "mill-bucket", "arn:aws:iam::123456789012:role/promptmill-batches"
_JOB = re.compile(r"/model-invocation-job(?:/(?P<id>arn:.*?|[a-z0-9]{12})(?P<verb>/stop)?)?")
_ARN = "arn:aws:bedrock:eu-west-1:123456789012:model-invocation-job/job{:09d}"
_ENDINGS = {"completed": "Completed", "expired": "PartiallyCompleted", "cancelled": "Stopped", "failed": "Failed"}
_ERRORS: dict[Fate, tuple[int | str, str]] = {
    "refuse": (400, "Input is too long for requested model."),
    "overload": ("ThrottlingException", "Too many requests"),
    "zero": (500, "internal"),
    "no_money": ("AccessDeniedException", "You don't have access to the model."),
}
Ending = Literal["completed", "expired", "cancelled", "failed"]


class Bucket(FakeObjectStore):
    """The bucket that Bedrock reads and writes. ``troubles`` are those of the next readings."""

    def __init__(self, clock: FakeClock, troubles: Any) -> None:
        super().__init__(clock)
        self._read_troubles = troubles

    async def stream(
        self, key: str, *, start: int = 0, end: int | None = None, version: str = ""
    ) -> AsyncIterator[bytes]:
        trouble: Trouble | None = self._read_troubles.popleft() if self._read_troubles else None
        if isinstance(trouble, Says):
            raise MissingObjectError(key)
        async for block in super().stream(key, start=start, end=end, version=version):
            if isinstance(trouble, Cut):
                yield block[: len(block) // 2]
                raise ConnectionResetError
            yield block


class BedrockBatchServer(FakeBatchServer):
    """Takes a job through Submitted, Validating and Scheduled, one state a poll, and runs it until ``finish``.

    Attributes:
        minimum: the fewest records of a job; fewer fail it while it is validated.
        quotas, default_quotas: what Service Quotas knows by name, for this account and for all.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.fate_of: FateOf = all_answered
        self.minimum = 1
        self.quotas: dict[str, float] = {}
        self.default_quotas: dict[str, float] = {}
        self.objects = Bucket(clock, self._troubles["read"])
        self.batches: dict[str, dict[str, Any]] = {}

    def stage(self, folder: str, data: bytes) -> None:
        """Put the lines where a submission stages them, as two parts."""
        lines = data.splitlines(keepends=True)
        half = len(lines) // 2
        for place, part in enumerate((lines[:half], lines[half:])):
            self.objects.put(f"{folder}part-{place}.jsonl", b"".join(part))

    def operation_of(self, seen: Seen) -> Operation:
        if seen.path == "/" and seen.method == "POST":
            return "quotas"
        if seen.path == "/model-invocation-jobs":
            return "list" if seen.method == "GET" else ""
        found = _JOB.fullmatch(seen.path)
        names: dict[tuple[str, bool, bool], Operation] = {
            ("POST", False, False): "create",
            ("GET", True, False): "poll",
            ("POST", True, True): "cancel",
        }
        return names.get((seen.method, bool(found["id"]), bool(found["verb"])), "") if found else ""

    def serve(self, operation: Operation, seen: Seen) -> Says:
        sent = Sent(seen.raw_path, seen.headers, seen.data, {}, method=seen.method)
        if wrong := signature_problem(sent, "servicequotas" if operation == "quotas" else "bedrock"):
            return self.refuse(error(403, "InvalidSignatureException", wrong), wrong)
        if operation == "quotas":
            return self._list_quotas(seen)
        if not operation:
            return self.refuse(error(404, "UnknownOperationException", ""), f"no {seen.method} {seen.path}")
        if operation in ("create", "list"):
            return self._create(seen.json) if operation == "create" else self._list(seen)
        found = _JOB.fullmatch(seen.path)
        assert found is not None
        job = self.batches.get(found["id"])
        if job is None:
            return error(404, "ResourceNotFoundException", "Could not find job")
        return self._poll(job) if operation == "poll" else self._stop(job)

    def finish(self, batch_id: str, ending: Ending = "completed") -> None:
        """End a job, as time does."""
        job = self.batches[batch_id]
        job |= {"status": _ENDINGS[ending], "endTime": self._now()}
        counts = {"success": 0, "error": 0, "total": 0}
        target = self._folder(job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]) + batch_id.rpartition("/")[2]
        for key, lines in self._inputs(job).items():
            told = [
                one for one in tell([line["recordId"] for line in lines], self._fate_in(key)) if one.fate != "not_run"
            ]
            written = [self._written(one, lines[one.about], job) for one in told]
            counts["total"] += len(lines)
            counts["success"] += sum("modelOutput" in line for line in written)
            counts["error"] += sum("error" in line for line in written)
            self.objects.put(f"{target}/{key.rpartition('/')[2]}.out", b"\n".join(map(msgspec.json.encode, written)))
        told_counts = {f"{name}RecordCount": count for name, count in counts.items()}
        told_counts["processedRecordCount"] = counts["success"] + counts["error"]
        job |= told_counts
        tokens = {"inputTokenCount": 21 * counts["success"], "outputTokenCount": 9 * counts["success"]}
        self.objects.put(f"{target}/manifest.json.out", msgspec.json.encode({**told_counts, **tokens}))

    def say(self, batch_id: str, word: str) -> None:
        """Let the service call the job's state by this word."""
        self.batches[batch_id]["status"] = word

    def vanish(self, batch_id: str) -> None:
        """The job is not known any more."""
        del self.batches[batch_id]

    def _list_quotas(self, seen: Seen) -> Says:
        operation = seen.headers["x-amz-target"].removeprefix("ServiceQuotasV20190624.")
        if wrong := problem(operation, seen.json, service="service-quotas"):
            return self.refuse(error(400, "IllegalArgumentException", wrong), wrong)
        values = self.quotas if operation == "ListServiceQuotas" else self.default_quotas
        start = int(seen.json.get("NextToken") or "0")
        page = [{"QuotaName": name, "Value": value} for name, value in list(values.items())[start : start + 2]]
        more = {"NextToken": str(start + 2)} if start + 2 < len(values) else {}
        return Says(200, {"Quotas": page, **more})

    def _fate_in(self, key: str) -> FateOf:
        # Places are counted over all parts, as they are elsewhere over the whole file.
        before = len(self.objects.body(key.replace("part-1", "part-0")).splitlines()) if "part-1" in key else 0
        return lambda place: self.fate_of(before + place)

    def _create(self, body: dict[str, Any]) -> Says:
        if wrong := problem("CreateModelInvocationJob", body):
            return self.refuse(error(400, "ValidationException", wrong), wrong)
        arn = _ARN.format(len(self.batches) + 1)
        self.batches[arn] = {**body, "jobArn": arn, "status": "Submitted", "submitTime": self._now()}
        return Says(200, {"jobArn": arn})

    def _list(self, seen: Seen) -> Says:
        query: dict[str, Any] = dict(seen.query)
        query |= {"maxResults": int(query["maxResults"])} if "maxResults" in query else {}
        if wrong := problem("ListModelInvocationJobs", query):
            return self.refuse(error(400, "ValidationException", wrong), wrong)
        known = [
            job
            for job in reversed(self.batches.values())
            if query.get("nameContains", "") in job["jobName"]
            and job["submitTime"] >= query.get("submitTimeAfter", "")
            and self.is_listed(datetime.fromisoformat(job["submitTime"]).timestamp())
        ]
        start = int(query.get("nextToken", "0"))
        page = known[start : start + min(query.get("maxResults", 10), 2)]
        more = {"nextToken": str(start + len(page))} if start + len(page) < len(known) else {}
        return Says(200, {"invocationJobSummaries": page, **more})

    def _poll(self, job: dict[str, Any]) -> Says:
        answer = Says(200, dict(job))
        following = {"Submitted": "Validating", "Validating": "Scheduled"}
        job["status"] = following.get(job["status"], job["status"])
        total = sum(map(len, self._inputs(job).values()))
        if job["status"] == "Scheduled" and total < self.minimum:
            words = f"Batch job {job['jobArn']} contains less records ({total}) than the required minimum of: {self.minimum}"
            job |= {"status": "Failed", "message": words, "endTime": self._now()}
        return answer

    def _stop(self, job: dict[str, Any]) -> Says:
        if job["status"] in _ENDINGS.values():
            return error(400, "ConflictException", f"the job is {job['status']}")
        job["status"] = "Stopping"
        return Says(200, {})

    def _inputs(self, job: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        folder = self._folder(job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"])
        keys = [key for key in self.objects.keys(folder) if key.endswith(".jsonl")]
        return {key: [msgspec.json.decode(line) for line in self.objects.body(key).splitlines()] for key in keys}

    def _folder(self, uri: str) -> str:
        return uri.removeprefix(f"s3://{BUCKET}/")

    def _written(self, told: Told, line: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
        echoed = {"recordId": told.id, "modelInput": line["modelInput"]}
        if told.fate != "answer":
            code, words = _ERRORS[told.fate]
            return {**echoed, "error": {"errorCode": code, "errorMessage": words}}
        model, body = job["modelId"], line["modelInput"]
        operation = "converse" if job["modelInvocationType"] == "Converse" else "invoke"
        sent = Sent(f"/model/{model}/{operation}", {}, msgspec.json.encode(body), body)
        is_native = operation == "invoke"
        if wrong := native.problem(model, sent) if is_native else live.body_problem(model, body, operation):
            self.wrong.append(wrong)
        wire = live.Bedrock().answer(Answer(f"Answer to {line['recordId']}."), sent)
        return {**echoed, "modelOutput": wire.body}

    def _now(self) -> str:
        return rfc3339(self.clock.now())


def error(status: int, code: str, words: str) -> Says:
    return Says(status, {"message": words}, {"x-amzn-errortype": f"{code}:http://internal.amazon.com/"})


def problem(operation: str, parameters: dict[str, Any], *, service: str = "bedrock") -> str | None:
    """Return what botocore's model finds wrong with the members of a call: names, types, lengths and patterns."""
    shape = _shape(operation, service)
    if operation == "ListModelInvocationJobs":
        parameters = {k: v for k, v in parameters.items() if not k.startswith("submitTime")}
    report = ParamValidator().validate(parameters, shape)
    unknown = sorted(parameters.keys() - shape.members.keys())
    wrong = report.generate_report() if report.has_errors() else ""
    return wrong or ", ".join(unknown) or "; ".join(_patterns(parameters, shape, "")) or None


def _patterns(value: Any, shape: Shape, place: str) -> list[str]:
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return [
            wrong for name, item in value.items() for wrong in _patterns(item, shape.members[name], f"{place}.{name}")
        ]
    pattern, longest = shape.metadata.get("pattern"), shape.metadata.get("max")
    if pattern and isinstance(value, str) and not re.fullmatch(pattern, value):
        return [f"{place}: {value} does not match {pattern}"]
    if longest and isinstance(value, str) and len(value) > longest:
        return [f"{place}: longer than {longest}"]
    if shape.type_name == "integer" and not shape.metadata.get("min", value) <= value <= shape.metadata.get(
        "max", value
    ):
        return [f"{place}: {value} is out of range"]
    chosen = shape.metadata.get("enum")
    return [f"{place}: {value} is none of {chosen}"] if chosen and value not in chosen else []


@cache
def _shape(operation: str, service: str) -> StructureShape:
    model = botocore.session.get_session().get_service_model(service)
    shape = model.operation_model(operation).input_shape
    assert shape is not None
    return shape
