"""OpenAI's batch API, and the servers that took it over: Azure OpenAI, Perplexity, Groq, Together, DeepInfra and others."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Endpoint, Route
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
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.addresses import NOTHING_MORE, base_url
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
from promptmill.providers.batches.flavours import FLAVOURS, SERVERS, Flavour
from promptmill.providers.http import HttpCalls, StreamedBody
from promptmill.providers.openai import VERDICTS, error_of, provider_for_route, read_completion
from promptmill.wire.batches import openai as lines
from promptmill.wire.batches.lines import AnsweredLine, ResultLine
from promptmill.wire.batches.mistral import read_job, write_job
from promptmill.wire.batches.terms import TERMS, BatchTerms, refuse_unbatchable
from promptmill.wire.error_replies import ErrorReply, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json
from promptmill.wire.openai.endpoints import endpoint_named
from promptmill.wire.request_bodies import encode_body, finish_body

LABEL = "promptmill_submission"
_BOUNDARY = "promptmill-lines-of-one-submission"
_MULTIPART = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
_END = f"--{_BOUNDARY}--\r\n"
_PAGE = 100
_CURRENT_AZURE = ("", "v1", "preview")
_ENDED: Mapping[str, BatchState] = {
    "completed": "completed",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}
_DAY_S, _DAY_H = 86_400, 24
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
SIGNS = RefusalSigns(
    queue_codes=frozenset({"token_limit_exceeded"}),
    queue=re.compile(
        r"enqueued token limit|batch queue limit|too many (?:enqueued|active|pending) batch", re.IGNORECASE
    ),
    model_codes=frozenset({"model_not_found", "model_not_supported", "DeploymentNotFound"}),
    model=re.compile(r"model .{0,200}(?:not (?:supported|available|found)|does not exist)", re.IGNORECASE),
    upload_gone=re.compile(r"no such file|file .{0,100}not (?:be )?found", re.IGNORECASE),
)


_FILES = "/files"


class OpenAiBatches:
    """The batches of one provider's servers.

    Args:
        default_url: the address of routes that name none, "" for the provider's own.
        servers: the flavours by the hosts of addresses.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        http: HttpCalls,
        secrets: SecretStore,
        clock: Clock,
        default_url: str = "",
        servers: Mapping[str, str] = SERVERS,
    ) -> None:
        self._provider, self._clock, self._default_url, self._servers = provider, clock, default_url, servers
        self._calls = BatchCalls(
            http, KeyHeaders(provider, secrets, at=provider_for_route), error_of=self._error, secrets=secrets
        )

    async def terms(self, route: Route) -> BatchTerms:
        """See ports/batch_service.py."""
        return self._terms(route)

    def write_line(self, route: Route, request: CompletionRequest, *, line_id: str) -> bytes:
        """See ports/batch_service.py."""
        name, terms = self._endpoint(route), self._terms(route)
        provider = provider_for_route(self._provider, route)
        body = endpoint_named(name).write_request(request, model=route.model, provider=provider, wire=route.wire)
        body = finish_body(body, request, route)
        refuse_unbatchable(body, terms)
        if self._flavour(route).jobs:
            del body["model"]
        url = "" if self._flavour(route).bare_lines else self._line_url(name)
        return lines.write_line(encode_body(body), line_id=line_id, url=url)

    async def upload(self, route: Route, order: BatchOrder) -> str:
        """See ports/batch_service.py."""
        flavour = self._flavour(route)
        if flavour.uploads_elsewhere:
            return await self._upload_elsewhere(route, order, flavour)
        form, url = _multipart(order, flavour), self._url(route, _FILES)
        raw = await self._calls.ask(route, "POST", url, form, more=_MULTIPART)
        if file_id := text_or_empty(object_in(raw).get("id")):
            return file_id
        raise RetryLaterError("malformed", "the upload was answered without an id")

    async def create(self, route: Route, order: BatchOrder, upload: str) -> Created | Refused | Unknown:
        """See ports/batch_service.py."""
        flavour, terms = self._flavour(route), self._terms(route)
        hours = terms.window_h(order.window_h)
        body: dict[str, Any] = {
            "input_file_id": upload,
            "endpoint": self._line_url(self._endpoint(route)),
            "completion_window": _window(hours),
        }
        if flavour.metadata:
            body["metadata"] = {LABEL: order.label}
        more = {flavour.idempotency_header: order.label} if flavour.idempotency_header else NOTHING_MORE
        return await self._calls.create(
            route,
            self._url(route, flavour.batches),
            msgspec.json.encode(write_job(body, model=route.model, hours=hours) if flavour.jobs else body),
            id_of=lambda raw: object_in(raw.get("job", raw)).get("id"),
            signs=SIGNS,
            more=more,
        )

    async def find(self, route: Route, order: BatchOrder, upload: str, *, since: datetime) -> tuple[FoundBatch, ...]:
        """See ports/batch_service.py. The list has no filter: it is read back to ``since``."""
        found: list[FoundBatch] = []
        cursor, earliest = "", since - SKEW
        for _ in range(MAX_PAGES):
            batches, cursor = await self._page(route, cursor)
            found += [_found(batch) for batch in batches if _is_ours(batch, order.label, upload)]
            # The newest come first in practice only: one old batch ends nothing, a page of old ones does.
            if not cursor or not any(_is_since(batch, earliest) for batch in batches):
                break
        return tuple(found)

    async def poll(self, route: Route, batch_id: str) -> BatchStatus:
        """See ports/batch_service.py."""
        raw = await self._calls.look(route, self._batch_url(route, batch_id))
        return BatchStatus(batch_id, "gone", "gone") if raw is None else self._status(batch_id, self._batch(route, raw))

    async def results(self, route: Route, order: BatchOrder, status: BatchStatus) -> AsyncIterator[bytes]:
        """See ports/batch_service.py. The error file is read after the output: both hold lines, whatever counts say."""
        del order
        for file_id in status.files:
            path = f"{_FILES}/{quote(file_id, safe='')}/content"
            async for block in self._calls.read(route, self._url(route, path)):
                yield block

    def read_line(self, line: bytes) -> ResultLine | None:
        """See ports/batch_service.py."""
        return lines.read_line(line, VERDICTS)

    def read_answer(self, route: Route, request: CompletionRequest, line: AnsweredLine) -> Completion:
        """See ports/batch_service.py."""
        answer = HttpAnswer(line.status, {"x-request-id": line.request_id}, line.body)
        endpoint = endpoint_named(self._endpoint(route))
        return read_completion(answer, parse_json(line.body), request, endpoint, now=self._clock.now())

    async def cancel(self, route: Route, batch_id: str) -> None:
        """See ports/batch_service.py."""
        cancel = self._calls.ask(route, "POST", self._batch_url(route, batch_id, "/cancel"))
        await cancel_unless_ended(cancel, lambda: self.poll(route, batch_id))

    async def delete(self, route: Route, upload: str, status: BatchStatus) -> None:
        """See ports/batch_service.py. Batches themselves cannot be deleted."""
        for file_id in dict.fromkeys((upload, *status.files)):
            if file_id:
                await self._calls.forget(route, self._url(route, f"{_FILES}/{quote(file_id, safe='')}"))

    async def _upload_elsewhere(self, route: Route, order: BatchOrder, flavour: Flavour) -> str:
        """Ask where the file may be put, put it there without our key, and say that it is there."""
        url = self._url(route, _FILES)
        fields = {"purpose": flavour.purpose, "file_name": f"{order.label}.jsonl", "file_type": "jsonl"}
        answer = await self._calls.send(route, "POST", url, _form(fields), _MULTIPART)
        file_id, place = (answer.headers.get(name, "") for name in ("X-Together-File-Id", "Location"))
        if answer.status not in _REDIRECTS or not file_id or not place:
            raise await self._calls.error(route, answer)
        await self._calls.put_elsewhere(place, StreamedBody(order.length, order.read))
        await self._calls.ask(route, "POST", f"{url}/{quote(file_id, safe='')}/preprocess")
        return file_id

    def _status(self, batch_id: str, raw: dict[str, Any]) -> BatchStatus:
        said = text_or_empty(raw.get("status"))
        state = _ENDED.get(said.lower(), "running")
        counts = object_in(raw.get("request_counts"))
        faults = tuple(_faults(raw))
        return BatchStatus(
            batch_id,
            state,
            said,
            total=count_or_none(counts.get("total")),
            succeeded=count_or_none(counts.get("completed")),
            failed=count_or_none(counts.get("failed")),
            usage=_usage(raw.get("usage")),
            faults=faults,
            refusal=self._refusal(faults) if state == "failed" else None,
            files=tuple(
                file_id for name in ("output_file_id", "error_file_id") if (file_id := text_or_empty(raw.get(name)))
            ),
        )

    def _refusal(self, faults: tuple[BatchFault, ...]) -> Refused:
        """Return why a batch failed as a whole: a line's fault, if there is one among others, decides last."""
        refusals = [self._refusal_by(fault) for fault in faults]
        telling = [refusal for refusal in refusals if refusal.kind != "invalid"]
        return next(iter(telling or refusals), Refused("unavailable", "failed"))

    def _refusal_by(self, fault: BatchFault) -> Refused:
        reply = ErrorReply(400, (fault.code,), fault.detail, headers={})
        return refusal_of(provider_error(reply, VERDICTS, now=self._clock.now()), SIGNS)

    async def _page(self, route: Route, cursor: str) -> tuple[list[dict[str, Any]], str]:
        """Return one page of the list, and what asks for the next one. Some servers return the whole list, bare."""
        flavour = self._flavour(route)
        if flavour.jobs:
            query = f"page={cursor or 0}&page_size={_PAGE}"
        else:
            query = f"limit={_PAGE}" + (f"&after={quote(cursor, safe='')}" if cursor else "")
        raw = await self._calls.ask(route, "GET", self._url(route, flavour.batches, query))
        page = object_in(raw)
        batches = [
            self._batch(route, batch) for batch in objects_in(raw if isinstance(raw, list) else page.get("data"))
        ]
        if flavour.jobs:
            return batches, str(int(cursor or 0) + 1) if len(batches) == _PAGE else ""
        return batches, str(batches[-1].get("id", "")) if batches and page.get("has_more") is True else ""

    def _batch(self, route: Route, raw: dict[str, Any]) -> dict[str, Any]:
        return read_job(raw) if self._flavour(route).jobs else raw

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        return error_of(answer, raw, now=self._clock.now())

    def _endpoint(self, route: Route) -> Endpoint:
        name = route.endpoint or self._provider.endpoints[0]
        if name not in self._terms(route).endpoints:
            raise RouteClosedError("no_batches", f"{self._terms(route).label} has no batches of {name}")
        return name

    def _line_url(self, endpoint: Endpoint) -> str:
        return f"/v1{self._provider.paths[endpoint]}"

    def _flavour(self, route: Route) -> Flavour:
        """Return the flavour of a route's server, by its host where the provider may be any server."""
        host = urlsplit(route.base_url).hostname or ""
        return FLAVOURS[self._servers.get(host, self._provider.name)]

    def _terms(self, route: Route) -> BatchTerms:
        return TERMS[self._flavour(route).terms]

    def _batch_url(self, route: Route, batch_id: str, verb: str = "") -> str:
        return self._url(route, f"{self._flavour(route).batches}/{quote(batch_id, safe='')}{verb}")

    def _url(self, route: Route, path: str, query: str = "") -> str:
        given = base_url(self._provider, route, default=self._default_url)
        if self._provider.deployments:
            given = f"{given.removesuffix('/v1').removesuffix('/openai')}/openai"
            if route.api_version in _CURRENT_AZURE:
                given += "/v1"
            if route.api_version not in ("", "v1"):
                query = "&".join(filter(None, (f"api-version={quote(route.api_version, safe='')}", query)))
        return f"{given}{path}" + (f"?{query}" if query else "")


def _window(hours: int) -> str:
    return f"{hours // _DAY_H}d" if hours > _DAY_H and hours % _DAY_H == 0 else f"{hours}h"


def _multipart(order: BatchOrder, flavour: Flavour) -> StreamedBody:
    """Return the form of an upload, whose file is read while it is sent."""
    fields = {"purpose": flavour.purpose}
    if flavour.upload_days:
        fields |= {
            "expires_after[anchor]": "created_at",
            "expires_after[seconds]": str(flavour.upload_days * _DAY_S),
        }
    file = f'form-data; name="file"; filename="{order.label}.jsonl"\r\nContent-Type: application/jsonl'
    head = (_parts(fields) + _part(file, "").removesuffix("\r\n")).encode()
    # No line of JSON can hold the boundary after a line's end, which alone would end the file early.
    tail = f"\r\n{_END}".encode()

    async def blocks() -> AsyncIterator[bytes]:
        yield head
        async for block in order.read():
            yield block
        yield tail

    return StreamedBody(len(head) + order.length + len(tail), blocks)


def _form(fields: Mapping[str, str]) -> bytes:
    return f"{_parts(fields)}{_END}".encode()


def _parts(fields: Mapping[str, str]) -> str:
    return "".join(_part(f'form-data; name="{name}"', value) for name, value in fields.items())


def _part(disposition: str, value: str) -> str:
    return f"--{_BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n{value}\r\n"


def _is_ours(batch: Mapping[str, Any], label: str, upload: str) -> bool:
    labelled = object_in(batch.get("metadata")).get(LABEL) == label
    return labelled or bool(upload and batch.get("input_file_id") == upload)


def _found(batch: Mapping[str, Any]) -> FoundBatch:
    total = count_or_none(object_in(batch.get("request_counts")).get("total"))
    return FoundBatch(str(batch.get("id", "")), True, moment_text(batch.get("created_at")), total)  # noqa: FBT003 (proven)


def _is_since(batch: Mapping[str, Any], earliest: datetime) -> bool:
    created = moment_of(batch.get("created_at"))
    return created is None or created >= earliest


def _faults(raw: Mapping[str, Any]) -> Iterable[BatchFault]:
    errors = raw.get("errors")
    for item in objects_in(errors.get("data") if isinstance(errors, dict) else errors):
        yield BatchFault(
            text_or_empty(item.get("code"))[:64],
            text_or_empty(item.get("message"))[:500],
            count_or_none(item.get("line")),
        )
    if isinstance(said := raw.get("error"), str) and said:
        yield BatchFault("failed", said[:500])


def _usage(raw: object) -> BatchUsage | None:
    usage = object_in(raw)
    input_total, output_total = count_or_none(usage.get("input_tokens")), count_or_none(usage.get("output_tokens"))
    if input_total is None or output_total is None:
        return None
    return BatchUsage(
        input_total,
        output_total,
        cache_read=count_or_none(object_in(usage.get("input_tokens_details")).get("cached_tokens")) or 0,
        reasoning=count_or_none(object_in(usage.get("output_tokens_details")).get("reasoning_tokens")) or 0,
    )
