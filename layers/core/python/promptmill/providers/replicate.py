"""Replicate's predictions: one POST makes a prediction and waits; if that is not enough, it is polled."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.addresses import base_url, key_headers
from promptmill.providers.api_call import StreamReader, read_events, with_times
from promptmill.providers.http import HttpCalls
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json
from promptmill.wire.replicate import (
    LABEL,
    OutputWatch,
    Prediction,
    failure_of,
    find_prediction,
    read_answer,
    read_prediction,
    stream_error,
    stream_url_of,
    write_request,
)
from promptmill.wire.request_bodies import encode_body, finish_body, refuse_embedding
from promptmill.wire.stream_events import SseDecoder, StreamEvent

_MADE = frozenset({200, 201, 202})
_OK = 200
_MAX_WAIT_S = 60
_MIN_LIFE_S = 5
_FIRST_PAUSE_S = 0.5
_MAX_PAUSE_S = 5.0
_POLL_TIMEOUT_S = 10.0
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

VERDICTS = Verdicts(
    closing_messages=re.compile(
        r"The specified version does not exist|Invalid version or not permitted|You have insufficient credit|"
        r"Monthly spend limit|Your account",
    ),
    too_long=re.compile(r"too long|maximum context|context (?:length|window)|exceeds .{0,40}tokens", re.IGNORECASE),
)


class Replicate:
    def __init__(self, provider: Provider, *, http: HttpCalls, secrets: SecretStore, clock: Clock) -> None:
        self._provider, self._http, self._secrets, self._clock = provider, http, secrets, clock

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py. Making a prediction is never repeated; asking for its state is.

        Where the route streams, the output is watched as it is made, if the model has any to watch.
        """
        del call_id  # the protocol has no place for it
        refuse_embedding(request, by=LABEL)
        host = base_url(self._provider, route)
        path, version = _address(route, self._provider.paths[""])
        body = encode_body(finish_body(version | write_request(request, route), request, route))
        headers = await key_headers(self._provider, route, self._secrets)
        started = self._clock.monotonic()
        answer = await self._http.post(
            f"{host}{path}", body=body, headers={**headers, **_waiting_headers(route)}, timeout_s=route.timeout_s
        )
        prediction, raw = self._read_prediction(answer)
        first_token_ms = None
        if not prediction.is_over:
            stream_url = stream_url_of(raw, base_url=host) if route.stream else None
            if stream_url is not None:
                first_token_ms = await self._watch(stream_url, headers, route, prediction.id, started)
            url = f"{host}/predictions/{quote(prediction.id, safe='')}"
            prediction, raw = await self._poll(url, headers, prediction.id, until=started + route.timeout_s)
        if prediction.status != "succeeded":
            raise failure_of(prediction, VERDICTS)
        completion = read_answer(answer, prediction, raw, request)
        return with_times(completion, self._clock.monotonic() - started, first_token_ms=first_token_ms)

    async def _watch(
        self, url: str, headers: Mapping[str, str], route: Route, request_id: str, started: float
    ) -> int | None:
        """Wait for the output's end. Return when its first piece came, in milliseconds after ``started``."""
        opened = self._clock.monotonic()
        left = max(0.001, started + route.timeout_s - opened)
        accepting = {**headers, "Accept": "text/event-stream"}
        async with self._http.stream(
            url, body=b"", headers=accepting, timeout_s=left, stall_s=route.stall_s, method="GET"
        ) as reply:
            if reply.status != _OK:
                return None
            await read_events(reply, _stream_reader(request_id))
            first = reply.first_token_ms
            return None if first is None else round((opened - started) * 1000) + first

    def _read_prediction(self, answer: HttpAnswer) -> tuple[Prediction, dict[str, Any]]:
        raw = parse_json(answer.body)
        if answer.status not in _MADE:
            raise self._error(answer, raw)
        return read_prediction(answer, raw), raw

    async def _poll(
        self, url: str, headers: Mapping[str, str], request_id: str, *, until: float
    ) -> tuple[Prediction, dict[str, Any]]:
        """Ask until the prediction is over, whatever goes wrong with the asking."""
        pause = _FIRST_PAUSE_S
        while (left := until - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(pause, left))
            pause = min(2 * pause, _MAX_PAUSE_S)
            state = await self._ask_state(url, headers)
            if state is not None and state[0].is_over:
                return state
        raise RetryLaterError("timeout", request_id=request_id, usage_unknown=True)

    async def _ask_state(self, url: str, headers: Mapping[str, str]) -> tuple[Prediction, dict[str, Any]] | None:
        """Return the prediction as it stands now, None if Replicate does not say."""
        try:
            answer = await self._http.get(url, headers=headers, timeout_s=_POLL_TIMEOUT_S)
        except RetryLaterError:
            return None
        raw = parse_json(answer.body)
        prediction = find_prediction(raw) if answer.status == _OK else None
        return (prediction, raw) if prediction else None

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        """Return the error of ``{"title", "detail", "status", "type"}``, whose types are no codes."""
        message = error_fields(raw)[1] or answer.body[:500].decode(errors="replace")
        reply = ErrorReply(status=answer.status, codes=(), message=message, headers=answer.headers)
        return provider_error(reply, VERDICTS, now=self._clock.now())


def _stream_reader(request_id: str) -> StreamReader:
    def error_in(event: StreamEvent, headers: Mapping[str, str]) -> ProviderError | None:
        del headers  # the prediction names the request
        return stream_error(event, request_id=request_id)

    return StreamReader(SseDecoder(), OutputWatch(), error_in, lambda _headers: request_id)


def _address(route: Route, model_path: str) -> tuple[str, dict[str, Any]]:
    """Return the path and the body's fields of a model, of a deployment, or of ``owner/name:version``."""
    name, _, version = route.model.partition(":")
    parts = name.split("/")
    is_deployment = parts[0] == "deployments"
    if len(parts) != (3 if is_deployment else 2) or not all(map(_PART.fullmatch, (*parts, *filter(None, [version])))):
        raise RouteClosedError("bad_model", f"{route.id}: owner/name, owner/name:version or deployments/owner/name")
    if version:
        return "/predictions", {"version": version}
    return (f"/{name}/predictions" if is_deployment else model_path.replace("{model}", name)), {}


def _waiting_headers(route: Route) -> dict[str, str]:
    """Return the headers that say how long the POST is held open, and when the prediction ends by itself."""
    # Nobody is to pay for a prediction that nobody waits for any more.
    life = {"Cancel-After": f"{max(_MIN_LIFE_S, math.ceil(route.timeout_s))}s"}
    if route.stream:
        return life
    wait = max(1, min(_MAX_WAIT_S, math.floor(route.timeout_s) - 1))
    return {"Prefer": f"wait={wait}", **life}
