"""Amazon Bedrock's batch inference. Lines and results lie in our own bucket; the control plane is called over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.domain.times import rfc3339
from promptmill.ports.batch_service import (
    BatchFault,
    BatchOrder,
    BatchState,
    BatchStatus,
    BatchUsage,
    Created,
    FoundBatch,
    Refused,
    Unknown,
)
from promptmill.ports.clock import Clock
from promptmill.ports.object_store import ObjectLister, ObjectReader
from promptmill.providers.addresses import AwsHost
from promptmill.providers.batches.calls import (
    MAX_PAGES,
    SKEW,
    BatchCalls,
    RefusalSigns,
    cancel_unless_ended,
    count_or_none,
    moment_of,
    moment_text,
    object_in,
    objects_in,
    refusal_of,
    text_or_empty,
)
from promptmill.providers.bedrock.errors import VERDICTS, error_of
from promptmill.providers.bedrock.provider import Body, body_for, makes_vectors
from promptmill.providers.http import HttpCalls
from promptmill.wire.batches import bedrock as lines
from promptmill.wire.batches.lines import AnsweredLine, ResultLine
from promptmill.wire.batches.terms import TERMS, BatchTerms, refuse_unbatchable
from promptmill.wire.bedrock_quotas import terms_by_quotas
from promptmill.wire.error_replies import ErrorReply, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json
from promptmill.wire.request_bodies import encode_body, finish_body

CONTROL_URL = "https://bedrock.{region}.amazonaws.com"
QUOTAS_URL = "https://servicequotas.{region}.amazonaws.com"
_JOBS, _JOB = "/model-invocation-jobs", "/model-invocation-job"
_PAGE = 100
_QUOTAS_TARGET = "ServiceQuotasV20190624"
_QUOTAS_LAST = timedelta(days=1)
_LISTED_WITHIN = timedelta(hours=1)
_STATES: Mapping[str, BatchState] = {
    "Completed": "completed",
    "PartiallyCompleted": "expired",
    "Failed": "failed",
    "Stopped": "cancelled",
    "Expired": "expired",
}
_SUFFIX, _MANIFEST = ".jsonl.out", "manifest.json.out"
SIGNS = RefusalSigns(
    queue_codes=frozenset({"ServiceQuotaExceededException"}),
    queue=re.compile(r"in-progress and submitted batch inference jobs", re.IGNORECASE),
    model_codes=frozenset({"ResourceNotFoundException"}),
    model=re.compile(
        r"model .{0,300}(?:is not|isn't|does not|doesn't|not) support|model identifier is invalid", re.IGNORECASE
    ),
    few=re.compile(r"(?:less|fewer) (?:number of )?records|minimum (?:number of records|of)", re.IGNORECASE),
    large=re.compile(
        r"(?:more|too many) records|exceed\w* the (?:maximum|limit)|larger than the maximum", re.IGNORECASE
    ),
    doubt_codes=frozenset({"ConflictException"}),
)


class Results(ObjectReader, ObjectLister, Protocol):
    """Our own bucket, as far as results are read there."""


class BedrockPlace(Struct, frozen=True):
    """Where Bedrock reads lines and writes results.

    Attributes:
        role: the ARN of the role that Bedrock takes for it.
        key: the KMS key of the results, "" for the bucket's own.
    """

    bucket: str
    role: str
    objects: Results
    key: str = ""


class BedrockBatches:
    """Jobs of one deployment.

    Args:
        quotas: the host of Service Quotas.
    """

    def __init__(self, host: AwsHost, place: BedrockPlace, *, quotas: AwsHost, http: HttpCalls, clock: Clock) -> None:
        self._host, self._place, self._quotas_host, self._clock = host, place, quotas, clock
        self._calls = BatchCalls(http, host, error_of=self._error)
        self._quotas_calls = BatchCalls(http, quotas, error_of=self._error)
        self._quotas: dict[str, tuple[datetime, dict[str, float]]] = {}

    async def terms(self, route: Route) -> BatchTerms:
        """See ports/batch_service.py. Quotas are read once a day; where they may not be read, the usual ones hold."""
        region = self._host.region(route)
        known = self._quotas.get(region)
        if known is None or self._clock.now() - known[0] > _QUOTAS_LAST:
            known = self._quotas[region] = (self._clock.now(), await self._read_quotas(route))
        return terms_by_quotas(TERMS["bedrock"], known[1].items(), route.model)

    def write_line(self, route: Route, request: CompletionRequest, *, line_id: str) -> bytes:
        """See ports/batch_service.py."""
        body = finish_body(_body(route, request).make(request, route), request, route)
        refuse_unbatchable(body, TERMS["bedrock"])
        return lines.write_line(encode_body(body), line_id=line_id)

    def read_line(self, line: bytes) -> ResultLine | None:
        """See ports/batch_service.py."""
        return lines.read_line(line, VERDICTS)

    def read_answer(self, route: Route, request: CompletionRequest, line: AnsweredLine) -> Completion:
        """See ports/batch_service.py."""
        answer = HttpAnswer(line.status, {}, line.body)
        return _body(route, request).read(answer, parse_json(line.body), request, request_id=line.request_id)

    async def upload(self, route: Route, order: BatchOrder) -> str:
        """See ports/batch_service.py. Bedrock reads the parts where they are staged."""
        del route, order
        return ""

    async def create(self, route: Route, order: BatchOrder, upload: str) -> Created | Refused | Unknown:
        """See ports/batch_service.py."""
        del upload
        folders = [f"s3://{self._place.bucket}/{folder}" for folder in (order.folder, order.output)]
        for uri in folders:
            if not lines.is_s3_uri(uri):
                return Refused("invalid", "bad_s3_uri", f"Bedrock does not take the address {uri}")
        try:
            url = self._host.base_url(route) + _JOB
        except RouteClosedError as error:
            return refusal_of(error, SIGNS)
        body = msgspec.json.encode(self._job(route, order, *folders))
        return await self._calls.create(route, url, body, id_of=lambda raw: raw.get("jobArn"), signs=SIGNS)

    async def find(self, route: Route, order: BatchOrder, upload: str, *, since: datetime) -> tuple[FoundBatch, ...]:
        """See ports/batch_service.py."""
        del upload
        found: list[FoundBatch] = []
        query = {"maxResults": str(_PAGE), "nameContains": order.label, "submitTimeAfter": rfc3339(since - SKEW)}
        for _ in range(MAX_PAGES):
            url = f"{self._host.base_url(route)}{_JOBS}?{urlencode(query, quote_via=quote)}"
            page = object_in(await self._calls.ask(route, "GET", url))
            for job in objects_in(page.get("invocationJobSummaries")):
                if order.label in (job.get("jobName"), job.get("clientRequestToken")):
                    created = moment_text(job.get("submitTime"))
                    found.append(FoundBatch(str(job.get("jobArn", "")), proven=True, created_at=created))
            if not (token := text_or_empty(page.get("nextToken"))):
                break
            query["nextToken"] = token
        return tuple(found)

    async def poll(self, route: Route, batch_id: str) -> BatchStatus:
        """See ports/batch_service.py."""
        raw = await self._calls.look(route, self._url(route, batch_id))
        if raw is None:
            return BatchStatus(batch_id, "gone", "gone")
        said = text_or_empty(raw.get("status"))
        status = BatchStatus(
            batch_id,
            _STATES.get(said, "running"),
            said,
            total=count_or_none(raw.get("totalRecordCount")),
            succeeded=count_or_none(raw.get("successRecordCount")),
            failed=count_or_none(raw.get("errorRecordCount")),
        )
        return await self._with_results(status, raw) if status.has_ended else status

    async def results(self, route: Route, order: BatchOrder, status: BatchStatus) -> AsyncIterator[bytes]:
        """See ports/batch_service.py."""
        del route, order
        for key in status.files:
            last = b"\n"
            async for block in self._place.objects.stream(key):
                yield block
                last = block[-1:] or last
            if last != b"\n":
                yield b"\n"

    async def cancel(self, route: Route, batch_id: str) -> None:
        """See ports/batch_service.py."""
        stop = self._calls.ask(route, "POST", self._url(route, batch_id, "/stop"))
        await cancel_unless_ended(stop, lambda: self.poll(route, batch_id))

    async def delete(self, route: Route, upload: str, status: BatchStatus) -> None:
        """See ports/batch_service.py. Bedrock keeps nothing but the job's description, which cannot be deleted."""

    async def _read_quotas(self, route: Route) -> dict[str, float]:
        """Return the values of all quotas by their names: those that hold in this account over the usual ones."""
        quotas: dict[str, float] = {}
        try:
            for operation in ("ListAWSDefaultServiceQuotas", "ListServiceQuotas"):
                quotas |= await self._list_quotas(route, operation)
        except ProviderError:
            pass
        return quotas

    async def _list_quotas(self, route: Route, operation: str) -> dict[str, float]:
        target = {"X-Amz-Target": f"{_QUOTAS_TARGET}.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        asked: dict[str, Any] = {"ServiceCode": "bedrock", "MaxResults": _PAGE}
        quotas: dict[str, float] = {}
        for _ in range(MAX_PAGES):
            url = f"{self._quotas_host.base_url(route)}/"
            page = object_in(await self._quotas_calls.ask(route, "POST", url, msgspec.json.encode(asked), more=target))
            for quota in objects_in(page.get("Quotas")):
                if isinstance(value := quota.get("Value"), int | float):
                    quotas[text_or_empty(quota.get("QuotaName"))] = value
            if not (token := text_or_empty(page.get("NextToken"))):
                break
            asked["NextToken"] = token
        return quotas

    def _job(self, route: Route, order: BatchOrder, source: str, target: str) -> dict[str, Any]:
        output = {"s3Uri": target, **({"s3EncryptionKeyId": self._place.key} if self._place.key else {})}
        return {
            "jobName": order.label,
            "clientRequestToken": order.label,
            "roleArn": self._place.role,
            "modelId": route.model,
            "modelInvocationType": "Converse" if _endpoint(route) == "converse" else "InvokeModel",
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": source, "s3InputFormat": "JSONL"}},
            "outputDataConfig": {"s3OutputDataConfig": output},
            "timeoutDurationInHours": TERMS["bedrock"].window_h(order.window_h),
        }

    async def _with_results(self, status: BatchStatus, raw: Mapping[str, Any]) -> BatchStatus:
        keys = await self._result_keys(raw)
        files = tuple(key for key in keys if key.endswith(_SUFFIX))
        if status.succeeded and not files and self._has_just_ended(raw):
            # The end may be told before the results can be seen.
            return msgspec.structs.replace(status, state="running")
        message = text_or_empty(raw.get("message"))
        manifest = next((key for key in keys if key.endswith(_MANIFEST)), "")
        return msgspec.structs.replace(
            status,
            files=files,
            usage=await self._usage(manifest) if manifest else None,
            faults=(BatchFault(status.said, message),) if message else (),
            refusal=self._refusal(message) if status.state == "failed" else None,
        )

    async def _result_keys(self, raw: Mapping[str, Any]) -> list[str]:
        target = object_in(object_in(raw.get("outputDataConfig")).get("s3OutputDataConfig"))
        bucket, _, folder = text_or_empty(target.get("s3Uri")).removeprefix("s3://").partition("/")
        if bucket != self._place.bucket:
            return []
        job = text_or_empty(raw.get("jobArn")).rpartition("/")[2]
        prefix = "/".join(filter(None, (folder.rstrip("/"), job))) + "/"
        return [info.key async for info in self._place.objects.under(prefix)]

    def _has_just_ended(self, raw: Mapping[str, Any]) -> bool:
        ended = moment_of(raw.get("endTime"))
        return ended is None or self._clock.now() - ended < _LISTED_WITHIN

    async def _usage(self, key: str) -> BatchUsage | None:
        manifest = lines.read_manifest(await self._place.objects.read(key))
        if manifest is None or manifest.input_token_count is None or manifest.output_token_count is None:
            return None
        return BatchUsage(manifest.input_token_count, manifest.output_token_count)

    def _refusal(self, message: str) -> Refused:
        if not message:
            return Refused("unavailable", "Failed")
        error = provider_error(ErrorReply(400, ("Failed",), message, headers={}), VERDICTS, now=self._clock.now())
        return refusal_of(error, SIGNS)

    def _url(self, route: Route, batch_id: str, verb: str = "") -> str:
        return f"{self._host.base_url(route)}{_JOB}/{quote(batch_id, safe='')}{verb}"

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        return error_of(answer, raw, now=self._clock.now())


def _endpoint(route: Route) -> str:
    """Return the API that a batch's lines are written for: Converse, which all vendors share, unless the route says more."""
    return route.endpoint or ("embeddings" if makes_vectors(route.model) else "converse")


def _body(route: Route, request: CompletionRequest) -> Body:
    # A line's own format chooses between the two APIs in live calls; all lines of a job have to be of one.
    endpoint = route.endpoint or ("" if makes_vectors(route.model) else "converse")
    return body_for(msgspec.structs.replace(route, endpoint=endpoint), request)
