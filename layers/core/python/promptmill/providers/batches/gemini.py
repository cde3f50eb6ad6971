"""Batches of Google's Gemini API for developers. Lines go through its file store; inline ones came back in a wrong order."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RetryLaterError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Route
from promptmill.ports.batch_service import (
    BatchFault,
    BatchOrder,
    BatchState,
    BatchStatus,
    Created,
    FoundBatch,
    Refused,
    Unknown,
)
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.addresses import base_url
from promptmill.providers.batches.calls import (
    MAX_PAGES,
    SKEW,
    BatchCalls,
    KeyHeaders,
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
from promptmill.providers.google.provider import GEMINI, VERDICTS, error_of
from promptmill.providers.http import HttpCalls, StreamedBody
from promptmill.wire.batches import google as lines
from promptmill.wire.batches.lines import AnsweredLine, ResultLine
from promptmill.wire.batches.terms import TERMS, BatchTerms, refuse_unbatchable
from promptmill.wire.error_replies import provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json
from promptmill.wire.request_bodies import encode_body, finish_body, refuse_embedding

_PAGE = 100
STATES: Mapping[str, BatchState] = {
    "SUCCEEDED": "completed",
    "PARTIALLY_SUCCEEDED": "expired",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
SIGNS = RefusalSigns(
    queue_codes=frozenset({"RESOURCE_EXHAUSTED"}),
    throttled_is_full=True,
    model_codes=frozenset({"NOT_FOUND"}),
    upload_gone=re.compile(r"access the file|file .{0,200}not (?:be )?(?:found|exist)", re.IGNORECASE),
)


class GeminiBatches:
    """Batches of one key's project. A batch's id is the name of its operation, ``batches/…``."""

    def __init__(self, provider: Provider, *, http: HttpCalls, secrets: SecretStore, clock: Clock) -> None:
        self._provider, self._clock = provider, clock
        self._calls = BatchCalls(http, KeyHeaders(provider, secrets), error_of=self._error, secrets=secrets)

    async def terms(self, route: Route) -> BatchTerms:
        """See ports/batch_service.py."""
        del route
        return TERMS["gemini"]

    def write_line(self, route: Route, request: CompletionRequest, *, line_id: str) -> bytes:
        """See ports/batch_service.py."""
        refuse_embedding(request, by=self._provider.label)
        body = finish_body(GEMINI.make(request, route), request, route)
        refuse_unbatchable(body, TERMS["gemini"])
        return lines.write_keyed_line(encode_body(body), line_id=line_id)

    def read_answer(self, route: Route, request: CompletionRequest, line: AnsweredLine) -> Completion:
        """See ports/batch_service.py."""
        del route
        return GEMINI.read(HttpAnswer(line.status, {}, line.body), parse_json(line.body), request)

    def read_line(self, line: bytes) -> ResultLine | None:
        """See ports/batch_service.py."""
        return lines.read_keyed_line(line, VERDICTS)

    async def upload(self, route: Route, order: BatchOrder) -> str:
        """See ports/batch_service.py. The service names an address for the file, which needs no key."""
        base, _, version = base_url(self._provider, route).rpartition("/")
        start = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(order.length),
            "X-Goog-Upload-Header-Content-Type": "application/jsonl",
        }
        about = msgspec.json.encode({"file": {"displayName": order.label, "mimeType": "application/jsonl"}})
        answer = await self._calls.send(route, "POST", f"{base}/upload/{version}/files", about, start)
        place = answer.headers.get("X-Goog-Upload-URL", "")
        if not place:
            raise await self._calls.error(route, answer)
        body = StreamedBody(order.length, order.read)
        finish = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
        raw = parse_json((await self._calls.put_elsewhere(place, body, method="POST", more=finish)).body)
        if name := text_or_empty(object_in(object_in(raw).get("file")).get("name")):
            return name
        raise RetryLaterError("malformed", "the upload was answered without a name")

    async def create(self, route: Route, order: BatchOrder, upload: str) -> Created | Refused | Unknown:
        """See ports/batch_service.py."""
        batch = {"displayName": order.label, "inputConfig": {"fileName": upload}}
        return await self._calls.create(
            route,
            self._url(route, f"models/{quote(route.model, safe='-._~')}:batchGenerateContent"),
            msgspec.json.encode({"batch": batch}),
            id_of=lambda raw: raw.get("name"),
            signs=SIGNS,
        )

    async def poll(self, route: Route, batch_id: str) -> BatchStatus:
        """See ports/batch_service.py."""
        raw = await self._calls.look(route, self._url(route, batch_id))
        if raw is None:
            return BatchStatus(batch_id, "gone", "gone")
        metadata = object_in(raw.get("metadata"))
        said = text_or_empty(metadata.get("state"))
        state = STATES.get(said.partition("_STATE_")[2], "running")
        stats = object_in(metadata.get("batchStats"))
        output = object_in(metadata.get("output")) or object_in(raw.get("response"))
        file = text_or_empty(output.get("responsesFile"))
        error = lines.read_rpc_error(raw.get("error") or metadata.get("error"))
        return BatchStatus(
            batch_id,
            state,
            said,
            total=count_or_none(stats.get("requestCount")),
            succeeded=count_or_none(stats.get("successfulRequestCount")),
            failed=count_or_none(stats.get("failedRequestCount")),
            faults=(BatchFault(error.status or str(error.code), error.message[:500]),) if error else (),
            refusal=refusal_by(error, self._clock.now()) if state == "failed" else None,
            files=(file,) if file and state != "running" else (),
        )

    async def find(self, route: Route, order: BatchOrder, upload: str, *, since: datetime) -> tuple[FoundBatch, ...]:
        """See ports/batch_service.py. The list has no filter."""
        found: list[FoundBatch] = []
        query, earliest = f"batches?pageSize={_PAGE}", since - SKEW
        for _ in range(MAX_PAGES):
            page = object_in(await self._calls.ask(route, "GET", self._url(route, query)))
            about = [(one, object_in(one.get("metadata"))) for one in objects_in(page.get("operations"))]
            found += [_found(one) for one, metadata in about if _is_ours(metadata, order.label, upload)]
            recent = [one for one, metadata in about if (moment_of(metadata.get("createTime")) or earliest) >= earliest]
            if not recent or not (token := text_or_empty(page.get("nextPageToken"))):
                break
            query = f"batches?pageSize={_PAGE}&pageToken={quote(token, safe='')}"
        return tuple(found)

    async def results(self, route: Route, order: BatchOrder, status: BatchStatus) -> AsyncIterator[bytes]:
        """See ports/batch_service.py."""
        del order
        for name in status.files:
            async for block in self._calls.read(route, self._url(route, f"{name}:download?alt=media")):
                yield block

    async def cancel(self, route: Route, batch_id: str) -> None:
        """See ports/batch_service.py."""
        cancel = self._calls.ask(route, "POST", self._url(route, f"{batch_id}:cancel"))
        await cancel_unless_ended(cancel, lambda: self.poll(route, batch_id))

    async def delete(self, route: Route, upload: str, status: BatchStatus) -> None:
        """See ports/batch_service.py."""
        for name in dict.fromkeys((upload, *status.files, status.id)):
            if name:
                await self._calls.forget(route, self._url(route, name))

    def _url(self, route: Route, path: str) -> str:
        return f"{base_url(self._provider, route)}/{path}"

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        return error_of(answer, raw, now=self._clock.now())


def refusal_by(error: lines.RpcError | None, now: datetime) -> Refused:
    """Return why a batch failed as a whole."""
    if error is None:
        return Refused("unavailable", "FAILED")
    return refusal_of(provider_error(lines.reply_of(error), VERDICTS, now=now), SIGNS)


def _is_ours(metadata: Mapping[str, Any], label: str, upload: str) -> bool:
    source = text_or_empty(object_in(metadata.get("inputConfig")).get("fileName"))
    return metadata.get("displayName") == label or bool(upload and source == upload)


def _found(operation: Mapping[str, Any]) -> FoundBatch:
    metadata = object_in(operation.get("metadata"))
    total = count_or_none(object_in(metadata.get("batchStats")).get("requestCount"))
    created = moment_text(metadata.get("createTime"))
    return FoundBatch(str(operation.get("name", "")), proven=True, created_at=created, lines=total)
