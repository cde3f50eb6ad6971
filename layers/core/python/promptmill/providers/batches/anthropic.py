"""Anthropic's Message Batches, at Anthropic and as Claude Platform on AWS."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Route
from promptmill.ports.batch_service import (
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
from promptmill.providers.addresses import NOTHING_MORE
from promptmill.providers.anthropic import VERDICTS, MessagesHost, error_of
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
    text_or_empty,
)
from promptmill.providers.http import HttpCalls, StreamedBody
from promptmill.wire.anthropic_messages.answer import read_answer
from promptmill.wire.anthropic_messages.request import LABEL, write_request
from promptmill.wire.batches import anthropic as lines
from promptmill.wire.batches.lines import AnsweredLine, ResultLine
from promptmill.wire.batches.terms import TERMS, BatchTerms, refuse_unbatchable
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json
from promptmill.wire.request_bodies import encode_body, finish_body, refuse_embedding

_PAGE = 1_000
_HEAD, _TAIL = b'{"requests":[', b"}"
SIGNS = RefusalSigns(throttled_is_full=True, model=re.compile(r"^model: |model .{0,100}not (?:supported|available)"))


class AnthropicBatches:
    """The batches of one host. Nothing can be written onto a batch: only its results prove whose it is."""

    def __init__(
        self, provider: Provider, host: MessagesHost, *, http: HttpCalls, secrets: SecretStore, clock: Clock
    ) -> None:
        self._provider, self._host, self._clock = provider, host, clock
        self._terms = TERMS[provider.name]
        self._calls = BatchCalls(http, host, error_of=self._error, secrets=secrets)

    async def terms(self, route: Route) -> BatchTerms:
        """See ports/batch_service.py."""
        del route
        return self._terms

    def write_line(self, route: Route, request: CompletionRequest, *, line_id: str) -> bytes:
        """See ports/batch_service.py."""
        refuse_embedding(request, by=LABEL)
        body = finish_body(write_request(request, model=route.model), request, route)
        refuse_unbatchable(body, self._terms)
        return lines.write_line(encode_body(body), line_id=line_id)

    def read_line(self, line: bytes) -> ResultLine | None:
        """See ports/batch_service.py."""
        return lines.read_line(line, VERDICTS)

    async def upload(self, route: Route, order: BatchOrder) -> str:
        """See ports/batch_service.py. The lines lie in the body of the create."""
        del route, order
        return ""

    async def create(self, route: Route, order: BatchOrder, upload: str) -> Created | Refused | Unknown:
        """See ports/batch_service.py."""
        del upload
        body = _body_of(order)
        more = await _hash_header(body) if self._provider.signing_name else NOTHING_MORE
        url = self._url(route)
        return await self._calls.create(route, url, body, id_of=lambda raw: raw.get("id"), signs=SIGNS, more=more)

    async def find(self, route: Route, order: BatchOrder, upload: str, *, since: datetime) -> tuple[FoundBatch, ...]:
        """See ports/batch_service.py. These are the batches of the time and the size in question, the first one first."""
        del upload
        found: list[FoundBatch] = []
        earliest, query = since - SKEW, f"?limit={_PAGE}"
        for _ in range(MAX_PAGES):
            page = object_in(await self._calls.ask(route, "GET", f"{self._url(route)}{query}"))
            batches = objects_in(page.get("data"))
            recent = [batch for batch in batches if (moment_of(batch.get("created_at")) or earliest) >= earliest]
            found += [_found(batch) for batch in recent if _total(batch) == order.lines]
            if not recent or page.get("has_more") is not True:
                break
            query = f"?limit={_PAGE}&after_id={quote(str(batches[-1].get('id', '')), safe='')}"
        return tuple(sorted(found, key=lambda batch: batch.created_at))

    async def poll(self, route: Route, batch_id: str) -> BatchStatus:
        """See ports/batch_service.py."""
        raw = await self._calls.look(route, self._url(route, batch_id))
        if raw is None or raw.get("archived_at"):
            return BatchStatus(batch_id, "gone", "archived" if raw else "gone")
        said = text_or_empty(raw.get("processing_status"))
        counts = _counts(raw)
        return BatchStatus(
            batch_id,
            _state(said, counts),
            said,
            total=_total(raw),
            succeeded=counts.get("succeeded"),
            failed=counts.get("errored"),
            files=("results",) if said == "ended" and raw.get("results_url") else (),
        )

    async def results(self, route: Route, order: BatchOrder, status: BatchStatus) -> AsyncIterator[bytes]:
        """See ports/batch_service.py. The address that the service names for them is not trusted with our key."""
        del order
        for _ in status.files:
            async for block in self._calls.read(route, self._url(route, status.id, "/results")):
                yield block

    def read_answer(self, route: Route, request: CompletionRequest, line: AnsweredLine) -> Completion:
        """See ports/batch_service.py."""
        del route
        answer = HttpAnswer(line.status, {}, line.body)
        return read_answer(answer, parse_json(line.body), request, request_id=line.request_id)

    async def cancel(self, route: Route, batch_id: str) -> None:
        """See ports/batch_service.py."""
        cancel = self._calls.ask(route, "POST", self._url(route, batch_id, "/cancel"))
        await cancel_unless_ended(cancel, lambda: self.poll(route, batch_id))

    async def delete(self, route: Route, upload: str, status: BatchStatus) -> None:
        """See ports/batch_service.py."""
        del upload
        await self._calls.forget(route, self._url(route, status.id))

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        return error_of(answer, raw, now=self._clock.now())

    def _url(self, route: Route, batch_id: str = "", verb: str = "") -> str:
        place = f"/{quote(batch_id, safe='')}{verb}" if batch_id else ""
        return f"{self._host.base_url(route)}{self._provider.paths['messages']}/batches{place}"


def _body_of(order: BatchOrder) -> StreamedBody:
    """Return the create's body: the lines as the items of one list, while they are read."""

    async def blocks() -> AsyncIterator[bytes]:
        yield _HEAD
        left = order.length
        async for block in order.read():
            left -= len(block)
            # JSON has no raw line end: each one ends a line, and the last one ends the list.
            items = block.replace(b"\n", b",")
            yield items[:-1] + b"]" if items and left == 0 else items
        yield _TAIL

    return StreamedBody(len(_HEAD) + order.length + len(_TAIL), blocks)


async def _hash_header(body: StreamedBody) -> dict[str, str]:
    """Return the header by which a signature covers a body that is not held: it is read once more for that."""
    digest = hashlib.sha256()
    async for block in body.blocks():
        digest.update(block)
    return {"X-Amz-Content-SHA256": digest.hexdigest(), "Content-Type": "application/json"}


def _state(said: str, counts: Mapping[str, int]) -> BatchState:
    if said != "ended":
        return "running"
    if counts.get("expired"):
        return "expired"
    return "cancelled" if counts.get("canceled") else "completed"


def _counts(batch: Mapping[str, Any]) -> dict[str, int]:
    counts = object_in(batch.get("request_counts"))
    return {name: count for name, value in counts.items() if (count := count_or_none(value)) is not None}


def _total(batch: Mapping[str, Any]) -> int:
    return sum(_counts(batch).values())


def _found(batch: Mapping[str, Any]) -> FoundBatch:
    return FoundBatch(str(batch.get("id", "")), False, moment_text(batch.get("created_at")), _total(batch))  # noqa: FBT003 (not proven)
