"""Batches of Google Vertex AI, with Gemini and Claude. Lines and results lie in a bucket of Google's cloud."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Route
from promptmill.ports.batch_service import (
    BatchFault,
    BatchOrder,
    BatchStatus,
    Created,
    FoundBatch,
    Refused,
    Unknown,
)
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.addresses import NOTHING_MORE
from promptmill.providers.batches.calls import (
    MAX_PAGES,
    BatchCalls,
    cancel_unless_ended,
    count_or_none,
    moment_text,
    object_in,
    objects_in,
    refusal_of,
    text_or_empty,
)
from promptmill.providers.batches.gemini import SIGNS, STATES, refusal_by
from promptmill.providers.google.provider import CLAUDE, VECTORS, VERDICTS, body_for, error_of, jobs_url
from promptmill.providers.google.tokens import (
    ApiKey,
    ExternalAccount,
    GoogleTokens,
    ServiceAccount,
    read_credentials,
)
from promptmill.providers.http import HttpCalls, StreamedBody
from promptmill.wire.batches import google as lines
from promptmill.wire.batches.lines import AnsweredLine, ResultLine
from promptmill.wire.batches.terms import TERMS, BatchTerms, refuse_unbatchable
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json
from promptmill.wire.request_bodies import encode_body, finish_body

_PAGE = 100
_UNAUTHORIZED = 401


class VertexPlace(Struct, frozen=True):
    """Where Vertex AI reads lines and writes results: a folder of a bucket of Google's cloud, which ends with a slash."""

    bucket: str
    folder: str = "promptmill/"
    storage_url: str = "https://storage.googleapis.com"


class TokenHeaders:
    """The headers of calls with a token. A token that is refused is forgotten, so that the next call has another one."""

    def __init__(self, provider: Provider, secrets: SecretStore, tokens: GoogleTokens, *, local: bool) -> None:
        self._provider, self._secrets, self._tokens, self._local = provider, secrets, tokens, local
        self._used: tuple[ServiceAccount | ExternalAccount, str] | None = None

    async def headers(
        self, route: Route, url: str, body: bytes, *, method: str = "POST", more: Mapping[str, str] = NOTHING_MORE
    ) -> dict[str, str]:
        """See RouteHeaders."""
        del url, body, method
        if not route.key:
            raise RouteClosedError("key_missing", f"{route.id} needs a key: the name of a secret with credentials")
        credentials = read_credentials(await self._secrets.read(route.key), local=self._local)
        if isinstance(credentials, ApiKey):
            raise RouteClosedError("no_batches", "an API key makes no batches: give credentials of a project")
        token = await self._tokens.token(credentials)
        self._used = (credentials, token)
        return {**more, self._provider.key_header: self._provider.key_prefix + token}

    def forget(self) -> bool:
        """Forget the token that was used last. Return False if another one would not help."""
        return self._used is not None and self._tokens.forget(*self._used)


class VertexBatches:
    """Batch prediction jobs of one deployment. A batch's id is the job's whole name."""

    def __init__(
        self, provider: Provider, place: VertexPlace, headers: TokenHeaders, *, http: HttpCalls, clock: Clock
    ) -> None:
        self._provider, self._place, self._headers, self._clock = provider, place, headers, clock
        self._calls = BatchCalls(http, headers, error_of=self._error)

    async def terms(self, route: Route) -> BatchTerms:
        """See ports/batch_service.py."""
        del route
        return TERMS["vertex"]

    def read_answer(self, route: Route, request: CompletionRequest, line: AnsweredLine) -> Completion:
        """See ports/batch_service.py."""
        return body_for(route, request).read(HttpAnswer(line.status, {}, line.body), parse_json(line.body), request)

    def read_line(self, line: bytes) -> ResultLine | None:
        """See ports/batch_service.py."""
        return lines.read_row(line, VERDICTS)

    def write_line(self, route: Route, request: CompletionRequest, *, line_id: str) -> bytes:
        """See ports/batch_service.py."""
        kind = body_for(route, request)
        if kind is VECTORS:
            raise RouteClosedError("no_batches", f"{TERMS['vertex'].label} has no batches of embeddings here")
        body = finish_body(kind.make(request, route), request, route)
        refuse_unbatchable(body, TERMS["vertex"])
        if kind is CLAUDE:
            return lines.write_claude_row(encode_body(body), line_id=line_id)
        return lines.write_gemini_row(encode_body(lines.label_body(body, line_id)), line_id=line_id)

    async def upload(self, route: Route, order: BatchOrder) -> str:
        """See ports/batch_service.py."""
        name = f"{self._place.folder}{order.label}/lines.jsonl"
        url = f"{self._place.storage_url}/upload/storage/v1/b/{self._place.bucket}/o?uploadType=media&name={_quoted(name)}"
        body = StreamedBody(order.length, order.read)
        await self._calls.ask(route, "POST", url, body, more={"Content-Type": "application/jsonl"})
        return f"gs://{self._place.bucket}/{name}"

    async def create(self, route: Route, order: BatchOrder, upload: str) -> Created | Refused | Unknown:
        """See ports/batch_service.py."""
        output = f"gs://{self._place.bucket}/{self._place.folder}{order.label}/results/"
        publisher = "anthropic" if self._is_claude(route) else "google"
        job = {
            "displayName": order.label,
            "model": f"publishers/{publisher}/models/{route.model}",
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [upload]}},
            "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": output}},
        }
        try:
            url = jobs_url(self._provider, route)
        except RouteClosedError as error:
            return refusal_of(error, SIGNS)
        body = msgspec.json.encode(job)
        return await self._calls.create(route, url, body, id_of=lambda raw: raw.get("name"), signs=SIGNS)

    async def poll(self, route: Route, batch_id: str) -> BatchStatus:
        """See ports/batch_service.py."""
        raw = await self._calls.look(route, self._url(route, batch_id))
        if raw is None:
            return BatchStatus(batch_id, "gone", "gone")
        said = text_or_empty(raw.get("state"))
        state = STATES.get(said.partition("_STATE_")[2], "running")
        stats = object_in(raw.get("completionStats"))
        counts = [count_or_none(stats.get(name)) for name in ("successfulCount", "failedCount", "incompleteCount")]
        folder = text_or_empty(object_in(raw.get("outputInfo")).get("gcsOutputDirectory"))
        is_here = folder.startswith(f"gs://{self._place.bucket}/{self._place.folder}")
        error = lines.read_rpc_error(raw.get("error"))
        return BatchStatus(
            batch_id,
            state,
            said,
            total=sum(count for count in counts if count is not None) if None not in counts else None,
            succeeded=counts[0],
            failed=counts[1],
            faults=(BatchFault(error.status or str(error.code), error.message[:500]),) if error else (),
            refusal=refusal_by(error, self._clock.now()) if state == "failed" else None,
            files=(folder,) if is_here and state != "running" else (),
        )

    async def find(self, route: Route, order: BatchOrder, upload: str, *, since: datetime) -> tuple[FoundBatch, ...]:
        """See ports/batch_service.py. The list is filtered by the label, and what comes is compared once more."""
        del upload, since
        found: list[FoundBatch] = []
        label_filter = quote(f'displayName="{order.label}"', safe="")
        query = f"{jobs_url(self._provider, route)}?pageSize={_PAGE}&filter={label_filter}"
        token = ""
        for _ in range(MAX_PAGES):
            page = object_in(
                await self._calls.ask(route, "GET", f"{query}&pageToken={_quoted(token)}" if token else query)
            )
            for job in objects_in(page.get("batchPredictionJobs")):
                if job.get("displayName") == order.label:
                    created = moment_text(job.get("createTime"))
                    found.append(FoundBatch(str(job.get("name", "")), proven=True, created_at=created))
            if not (token := text_or_empty(page.get("nextPageToken"))):
                break
        return tuple(found)

    async def results(self, route: Route, order: BatchOrder, status: BatchStatus) -> AsyncIterator[bytes]:
        """See ports/batch_service.py."""
        del order
        for folder in status.files:
            for name in await self._objects(route, folder):
                if name.endswith(".jsonl"):
                    async for block in self._calls.read(route, f"{self._object_url(name)}?alt=media"):
                        yield block

    async def cancel(self, route: Route, batch_id: str) -> None:
        """See ports/batch_service.py."""
        cancel = self._calls.ask(route, "POST", f"{self._url(route, batch_id)}:cancel")
        await cancel_unless_ended(cancel, lambda: self.poll(route, batch_id))

    async def delete(self, route: Route, upload: str, status: BatchStatus) -> None:
        """See ports/batch_service.py."""
        names = [upload.removeprefix(f"gs://{self._place.bucket}/")] if upload else []
        for folder in status.files:
            names += await self._objects(route, folder)
        for name in names:
            await self._calls.forget(route, self._object_url(name))
        await self._calls.forget(route, self._url(route, status.id))

    async def _objects(self, route: Route, folder: str) -> list[str]:
        """Return the names of the objects in a folder of our bucket, in order."""
        prefix = folder.removeprefix(f"gs://{self._place.bucket}/").rstrip("/") + "/"
        base = f"{self._place.storage_url}/storage/v1/b/{self._place.bucket}/o?prefix={_quoted(prefix)}"
        names: list[str] = []
        token = ""
        for _ in range(MAX_PAGES):
            page = object_in(
                await self._calls.ask(route, "GET", f"{base}&pageToken={_quoted(token)}" if token else base)
            )
            names += [text_or_empty(item.get("name")) for item in objects_in(page.get("items"))]
            if not (token := text_or_empty(page.get("nextPageToken"))):
                break
        return sorted(names)

    def _object_url(self, name: str) -> str:
        return f"{self._place.storage_url}/storage/v1/b/{self._place.bucket}/o/{_quoted(name)}"

    def _is_claude(self, route: Route) -> bool:
        return body_for(route, CompletionRequest(messages=())) is CLAUDE

    def _url(self, route: Route, batch_id: str) -> str:
        return f"{jobs_url(self._provider, route)}/{_quoted(batch_id.rpartition('/')[2])}"

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        if answer.status == _UNAUTHORIZED and self._headers.forget():
            return RetryLaterError("token_expired", status=_UNAUTHORIZED)
        return error_of(answer, raw, now=self._clock.now())


def _quoted(name: str) -> str:
    return quote(name, safe="")
