"""Calls to a batch service: each is made once, and what it answers is classified as live answers are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from msgspec import Struct

from promptmill.domain.errors import MissingObjectError, ProviderError, RecordRefusedError, RetryLaterError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Route
from promptmill.domain.times import rfc3339
from promptmill.ports.batch_service import BatchStatus, Created, RefusalKind, Refused, Unknown
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.addresses import NOTHING_MORE, join_headers, key_headers, named_headers
from promptmill.providers.http import HttpCalls, Method, StreamedBody
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json

_OK = range(200, 300)
CALL_S = 60.0
_SLOWEST_BYTES_A_SECOND = 500_000
_STALL_S = 120.0
_MAX_RESULT_BYTES = 1 << 40
_UNAUTHORIZED, _NOT_FOUND, _THROTTLED, _TOO_LARGE = 401, 404, 429, 413
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_IN_DOUBT = frozenset({408, 409, 425, 499})
"""Refusals that do not prove that nothing was made: the service waited, or knows of such a batch already."""
_GONE = frozenset({404, 410})
MAX_PAGES = 1_000
SKEW = timedelta(minutes=10)
"""A service's clock may be so much behind ours."""


class RouteHeaders(Protocol):
    async def headers(
        self, route: Route, url: str, body: bytes, *, method: str = "POST", more: Mapping[str, str] = NOTHING_MORE
    ) -> dict[str, str]:
        """Return the headers of a call, ``more`` among them. Raise RouteClosedError or RetryLaterError."""
        ...


class KeyHeaders:
    """The headers of calls with a route's key.

    Args:
        at: gives the provider as a route's settings make it differ from its row.
    """

    def __init__(
        self,
        provider: Provider,
        secrets: SecretStore,
        *,
        at: Callable[[Provider, Route], Provider] = lambda provider, _route: provider,
    ) -> None:
        self._provider, self._secrets, self._at = provider, secrets, at

    async def headers(
        self, route: Route, url: str, body: bytes, *, method: str = "POST", more: Mapping[str, str] = NOTHING_MORE
    ) -> dict[str, str]:
        """See RouteHeaders."""
        del url, body, method
        provider = self._at(self._provider, route)
        return join_headers(more, named_headers(provider, route) | await key_headers(provider, route, self._secrets))


class RefusalSigns(Struct, frozen=True):
    """How a service says why it takes no batch. Codes are compared, patterns are searched in its message.

    Attributes:
        throttled_is_full: a 429 tells of the queue, and not only of too many calls.
        doubt_codes: errors after which there may be a batch all the same.
    """

    queue_codes: frozenset[str] = frozenset()
    queue: re.Pattern[str] | None = None
    throttled_is_full: bool = False
    model_codes: frozenset[str] = frozenset()
    model: re.Pattern[str] | None = None
    large_codes: frozenset[str] = frozenset({"request_too_large", "too_many_tasks", "file_too_large"})
    large: re.Pattern[str] | None = None
    few: re.Pattern[str] | None = None
    upload_gone: re.Pattern[str] | None = None
    doubt_codes: frozenset[str] = frozenset()


def refusal_of(error: ProviderError, signs: RefusalSigns) -> Refused:
    """Return why there is no batch, by the error that a live call with this answer would have raised."""
    retry_after_s = error.retry_after_s if isinstance(error, RetryLaterError) else None
    return Refused(_kind_of(error, signs), error.code, error.detail, retry_after_s)


def _kind_of(error: ProviderError, signs: RefusalSigns) -> RefusalKind:
    by_sign: tuple[tuple[RefusalKind, bool], ...] = (
        ("queue_full", error.code in signs.queue_codes or _says(signs.queue, error)),
        ("too_few_lines", _says(signs.few, error)),
        ("too_large", error.code in signs.large_codes or error.status == _TOO_LARGE or _says(signs.large, error)),
        ("unavailable", _says(signs.upload_gone, error)),
        ("model_closed", error.code in signs.model_codes or _says(signs.model, error)),
    )
    if kind := next((kind for kind, holds in by_sign if holds), None):
        return kind
    match error:
        case RetryLaterError():
            return "queue_full" if error.status == _THROTTLED and signs.throttled_is_full else "unavailable"
        case RecordRefusedError():
            return "invalid"
        case _:
            return "route_closed"


def _says(pattern: re.Pattern[str] | None, error: ProviderError) -> bool:
    return bool(pattern and pattern.search(error.detail))


class BatchCalls:
    """Calls of one service.

    Args:
        error_of: gives the error for a reply that is no 2xx, from the reply and its JSON.
        secrets: where keys are read again once one is refused; None for calls that are signed.
    """

    def __init__(
        self,
        http: HttpCalls,
        headers: RouteHeaders,
        *,
        error_of: Callable[[HttpAnswer, Any], ProviderError],
        secrets: SecretStore | None = None,
    ) -> None:
        self._http, self._headers, self._error_of, self._secrets = http, headers, error_of, secrets

    async def ask(
        self,
        route: Route,
        method: Method,
        url: str,
        body: bytes | StreamedBody = b"",
        *,
        more: Mapping[str, str] = NOTHING_MORE,
    ) -> Any:
        """Make a call and return the JSON of its answer. Raise ProviderError for any answer but a 2xx."""
        answer = await self.send(route, method, url, body, more)
        if answer.status in _OK:
            return parse_json(answer.body)
        raise await self.error(route, answer)

    async def create(
        self,
        route: Route,
        url: str,
        body: bytes | StreamedBody,
        *,
        id_of: Callable[[Any], object],
        signs: RefusalSigns,
        more: Mapping[str, str] = NOTHING_MORE,
    ) -> Created | Refused | Unknown:
        """Ask for a batch by exactly one request, and say what is certain of it afterwards."""
        try:
            answer = await self.send(route, "POST", url, body, more)
        except ProviderError as error:
            # Only a call that surely did not reach the service proves that there is no batch.
            return Unknown(error.code) if error.usage_unknown else refusal_of(error, signs)
        raw = parse_json(answer.body)
        if answer.status in _OK:
            batch_id = id_of(raw) if isinstance(raw, dict) else None
            return Created(batch_id) if isinstance(batch_id, str) and batch_id else Unknown("malformed")
        if not _refuses_for_certain(answer.status):
            return Unknown(f"http_{answer.status}")
        refusal = await self.error(route, answer)
        return Unknown(refusal.code) if refusal.code in signs.doubt_codes else refusal_of(refusal, signs)

    async def read(self, route: Route, url: str, *, more: Mapping[str, str] = NOTHING_MORE) -> AsyncIterator[bytes]:
        """Read a file of results, which ends with a line's end. It may lie behind one redirect, where no key is sent.

        Raises:
            RetryLaterError: the reading broke off.
            MissingObjectError: the file is gone.
        """
        headers = await self._headers.headers(route, url, b"", method="GET", more=more)
        for place in range(2):
            async with self._http.stream(
                url,
                body=b"",
                headers=headers,
                timeout_s=3600.0,
                stall_s=_STALL_S,
                method="GET",
                max_bytes=_MAX_RESULT_BYTES,
            ) as reply:
                location = reply.headers.get("Location", "") if reply.status in _REDIRECTS else ""
                if place == 0 and "://" in location:
                    url, headers = location, {}
                    continue
                if reply.status in _GONE:
                    raise MissingObjectError("the results of the batch are gone")
                if reply.status not in _OK:
                    raise await self.error(route, await reply.read())
                last = b"\n"
                async for block in reply.blocks():
                    yield block
                    last = block[-1:] or last
                if last != b"\n":
                    yield b"\n"
                return

    async def look(self, route: Route, url: str, *, more: Mapping[str, str] = NOTHING_MORE) -> dict[str, Any] | None:
        """Return the JSON object that lies there, None if it is gone. Raise ProviderError for any other refusal."""
        try:
            return object_in(await self.ask(route, "GET", url, more=more))
        except ProviderError as error:
            if error.status in _GONE:
                return None
            raise

    async def forget(self, route: Route, url: str, *, more: Mapping[str, str] = NOTHING_MORE) -> None:
        """Delete what lies there. What is gone already is no error."""
        try:
            await self.ask(route, "DELETE", url, more=more)
        except ProviderError as error:
            if error.status not in _GONE:
                raise

    async def send(
        self, route: Route, method: Method, url: str, body: bytes | StreamedBody, more: Mapping[str, str]
    ) -> HttpAnswer:
        """Make a call and return its answer, whatever it is. Raise ProviderError if there is none."""
        length = body.length if isinstance(body, StreamedBody) else len(body)
        signed = b"" if isinstance(body, StreamedBody) else body
        return await self._http.send(
            method,
            url,
            body=body,
            headers=await self._headers.headers(route, url, signed, method=method, more=more),
            timeout_s=CALL_S + length / _SLOWEST_BYTES_A_SECOND,
        )

    async def put_elsewhere(
        self, url: str, body: StreamedBody, *, method: Method = "PUT", more: Mapping[str, str] = NOTHING_MORE
    ) -> HttpAnswer:
        """Send a body to an address that the service gave for it, without our key. Raise ProviderError if it is not taken."""
        timeout_s = CALL_S + body.length / _SLOWEST_BYTES_A_SECOND
        headers = {"Content-Type": "application/jsonl", **more}
        answer = await self._http.send(method, url, body=body, headers=headers, timeout_s=timeout_s)
        if answer.status in _OK:
            return answer
        raise RetryLaterError("upload_refused", status=answer.status)

    async def error(self, route: Route, answer: HttpAnswer) -> ProviderError:
        """Return the error for an answer; a key that was refused is read again."""
        error = self._error_of(answer, parse_json(answer.body))
        if answer.status == _UNAUTHORIZED and route.key and self._secrets is not None:
            used = await self._secrets.read(route.key)
            if await self._secrets.read(route.key, other_than=used) != used:
                return RetryLaterError("key_rotated", status=answer.status, request_id=error.request_id)
        return error


def _refuses_for_certain(status: int) -> bool:
    return 400 <= status < 500 and status not in _IN_DOUBT  # noqa: PLR2004 (HTTP's own numbers)


async def cancel_unless_ended(cancel: Awaitable[object], poll: Callable[[], Awaitable[BatchStatus]]) -> None:
    """Cancel a batch. Who comes too late is refused, and only the batch's state tells that from other refusals."""
    try:
        await cancel
    except ProviderError:
        if not (await poll()).has_ended:
            raise


def text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def count_or_none(value: object) -> int | None:
    """Return a count, which some services write as text; None for what is none."""
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def moment_of(value: object) -> datetime | None:
    """Return the time of seconds since the epoch, or of RFC 3339."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return datetime.fromtimestamp(value, tz=UTC) if isinstance(value, int | float) else None
    except (ValueError, OverflowError, OSError):
        return None


def moment_text(value: object) -> str:
    """Return the same time as RFC 3339 in UTC, "" for what is none."""
    moment = moment_of(value)
    return rfc3339(moment) if moment else ""


def objects_in(value: object) -> list[dict[str, Any]]:
    """Return the JSON objects of a list, none for what is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def object_in(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
