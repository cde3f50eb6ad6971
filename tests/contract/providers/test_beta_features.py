"""Beta features of a line reach Anthropic as the official SDK sends them: in a header, and never in the body."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anthropic as anthropic_sdk
import httpx2
import msgspec
import pytest

from promptmill.domain.completion import CompletionRequest, Message, Text
from promptmill.domain.errors import RecordError, RetryLaterError
from promptmill.domain.recipe import Route
from promptmill.wire.anthropic_messages.request import write_hosted_request
from promptmill.wire.http_answer import HttpAnswer
from tests.contract.providers.conftest import make_providers
from tests.contract.providers.test_addresses import HELLO, SETTINGS, route_of
from tests.fakes.providers import anthropic

BETAS = ["pdfs-2024-09-25", "output-128k-2025-02-19"]


class Sent:
    """Takes the place of ``HttpCalls`` and keeps the last call."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body: dict[str, Any] = {}

    async def post(self, _url: str, *, body: bytes, headers: Mapping[str, str], **_options: Any) -> HttpAnswer:
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = msgspec.json.decode(body)
        raise RetryLaterError("recorded")

    async def close(self) -> None: ...


def asking(native: dict[str, Any]) -> CompletionRequest:
    message = Message("user", (Text("Hi"),))
    return CompletionRequest(messages=(message,), max_output_tokens=9, wire_format="anthropic-messages", native=native)


async def sent_by_us(route: Route, native: dict[str, Any]) -> Sent:
    sent = Sent()
    providers = make_providers(SETTINGS)
    providers.connections._http = sent  # type: ignore[assignment]
    with suppress(RetryLaterError):
        await providers.provider_for(route).complete(route, asking(native), call_id="c")
    return sent


def header_of_the_sdk() -> str:
    headers: list[str] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        headers.append(request.headers["anthropic-beta"])
        return httpx2.Response(500)

    with httpx2.Client(transport=httpx2.MockTransport(handle)) as http, suppress(anthropic_sdk.APIError):
        client = anthropic_sdk.Anthropic(api_key=anthropic.KEY, http_client=http, max_retries=0)
        client.beta.messages.create(model="m", max_tokens=9, messages=HELLO, betas=BETAS)
    return headers[0]


@pytest.mark.parametrize("field", ["betas", "anthropic_beta"])
@pytest.mark.parametrize("name", ["anthropic", "anthropic-aws"])
async def test_a_beta_is_a_header_as_the_sdk_sends_it(name: str, field: str) -> None:
    sent = await sent_by_us(route_of(name, "messages"), {field: BETAS})
    assert sent.headers["anthropic-beta"] == header_of_the_sdk()
    assert sent.body.keys().isdisjoint({"betas", "anthropic_beta"})


@pytest.mark.parametrize("name", ["bad\r\nx-api-key: k", "a,b", "", 7])
async def test_what_is_no_name_of_a_feature_reaches_no_header(name: object) -> None:
    route = msgspec.structs.replace(route_of("anthropic", "messages"), allow=("anthropic_beta",))
    with pytest.raises(RecordError, match="betas: must be a list of names") as refused:
        await sent_by_us(route, {"betas": [name]})
    assert refused.value.code == "unsupported_field"


def test_another_cloud_names_the_field_that_it_takes() -> None:
    route = route_of("vertex", "messages")
    with pytest.raises(RecordError, match="anthropic_beta instead"):
        write_hosted_request(asking({"betas": BETAS}), route, version="v")
    assert write_hosted_request(asking({"anthropic_beta": BETAS}), route, version="v")["anthropic_beta"] == BETAS


@pytest.mark.parametrize("name", ["anthropic", "anthropic-aws"])
async def test_beta_features_of_a_route_stand_before_those_of_a_line(name: str) -> None:
    route = msgspec.structs.replace(route_of(name, "messages"), headers={"anthropic-beta": "context-1m-2025-08-07"})
    sent = await sent_by_us(route, {"betas": BETAS})
    assert sorted(sent.headers["anthropic-beta"].split(",")) == sorted(["context-1m-2025-08-07", *BETAS])
    assert (await sent_by_us(route, {})).headers["anthropic-beta"] == "context-1m-2025-08-07"
