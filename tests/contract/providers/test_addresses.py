"""Hold every provider's host, path and key header to a source other than our own table.

Where an official SDK is among the requirements, it builds the same call, and both are compared; elsewhere the scene says
what the provider's document says (``Scene.written``). Nothing is sent.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from typing import Any, Literal

import anthropic as anthropic_sdk
import boto3
import httpx
import httpx2
import huggingface_hub
import msgspec
import openai as openai_sdk
import perplexity
import pytest
from anthropic.lib._extras._google_auth import CLOUD_PLATFORM_SCOPE
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils._http import default_client_factory
from msgspec import Struct

from promptmill.domain.completion import CompletionRequest, Message, Text
from promptmill.domain.errors import RetryLaterError
from promptmill.domain.provider_table import PROVIDERS, Provider
from promptmill.domain.recipe import Endpoint, Route
from promptmill.providers.google.tokens import SCOPE, ExternalAccount, ServiceAccount
from promptmill.wire.http_answer import HttpAnswer
from tests.contract.providers.conftest import local_settings, make_providers
from tests.contract.providers.scenes import SCENES
from tests.fakes.providers import anthropic, bedrock, openai, openai_like, vertex

HELLO: Any = [{"role": "user", "content": "Hi"}]
AZURE = "https://my-resource.openai.azure.com"
AZURE_VERSION = "2024-10-21"
TOKEN = "access-token"
REQUEST = CompletionRequest(messages=(Message("user", (Text("Hi"),)),), max_output_tokens=9)
SETTINGS = local_settings(stage="prod", region=bedrock.REGION, local_model_url="https://server.example/v1")


class Call(Struct, frozen=True):
    """A call as it goes out. Header names are in lower case; a signature is cut down to what it is made for."""

    url: str
    headers: dict[str, str]


class Case(Struct, frozen=True):
    """A route, and the call that another source makes of it."""

    route: Route
    expected: Callable[[], Call]
    request: CompletionRequest = REQUEST


class Recorder:
    """Takes the place of ``HttpCalls``: it writes down what would go out, and gives out Google's tokens."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def post(self, url: str, *, headers: Mapping[str, str], **_options: Any) -> HttpAnswer:
        self.calls.append(call_of(url, headers))
        if url.endswith("/token"):
            return HttpAnswer(200, {}, msgspec.json.encode({"access_token": TOKEN}))
        raise RetryLaterError("recorded")

    @asynccontextmanager
    async def stream(self, url: str, **options: Any) -> AsyncIterator[None]:
        await self.post(url, **options)
        yield

    async def close(self) -> None: ...


def call_of(url: str, headers: Mapping[str, str]) -> Call:
    return Call(url, {name.lower(): signed_for(value) for name, value in headers.items()})


def signed_for(value: str) -> str:
    """Return region and service of an AWS signature, any other value as it is."""
    scope = re.match(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([^,]+)/aws4_request", value)
    return f"signed for {scope[1]}" if scope else value


async def our_call(case: Case, table: Mapping[str, Provider] = PROVIDERS) -> Call:
    recorder = Recorder()
    providers = make_providers(SETTINGS, url="https://oauth2.googleapis.com", table=table)
    providers.connections._http = recorder  # type: ignore[assignment]
    with suppress(RetryLaterError):
        await providers.provider_for(case.route).complete(case.route, case.request, call_id="c")
    return recorder.calls[-1]


def route_of(name: str, endpoint: Endpoint, *, stream: bool = False, **changes: Any) -> Route:
    scene, provider = SCENES[name], PROVIDERS[name]
    if name == "azure":
        changes["base_url"] = AZURE
    elif name == "vertex":
        changes.setdefault("key", "google-pool-alone")  # signing with a service account's key takes long
    elif provider.base_url == "required" and scene.written:
        changes["base_url"] = scene.written.base_url
    place = scene.embedding if endpoint == "embeddings" else {"endpoint": endpoint}
    return msgspec.structs.replace(scene.route, stream=stream, **{**place, **changes})


def recording(calls: list[Call]) -> Callable[[Any], Any]:
    def handle(request: Any) -> Any:
        calls.append(call_of(str(request.url), request.headers))
        return (httpx2 if isinstance(request, httpx2.Request) else httpx).Response(500)

    return handle


@contextmanager
def stub() -> Iterator[tuple[list[Call], httpx2.Client]]:
    """Yield a client that connects to nothing, and the calls that it was asked for."""
    calls: list[Call] = []
    with (
        httpx2.Client(transport=httpx2.MockTransport(recording(calls))) as client,
        suppress(openai_sdk.APIError, anthropic_sdk.APIError, perplexity.APIError, HfHubHTTPError),
    ):
        yield calls, client


def ask_openai(client: openai_sdk.OpenAI, endpoint: Endpoint, model: str) -> None:
    match endpoint:
        case "chat":
            client.chat.completions.create(model=model, messages=HELLO)
        case "responses":
            client.responses.create(model=model, input="Hi")
        case "completions":
            client.completions.create(model=model, prompt="Hi")
        case "embeddings":
            client.embeddings.create(model=model, input="Hi")
        case "moderations":
            client.moderations.create(model=model, input="Hi")


def by_openai(route: Route, endpoint: Endpoint, *, base_url: str | None = None) -> Call:
    with stub() as (calls, http):
        client = openai_sdk.OpenAI(api_key=openai.KEY, base_url=base_url, http_client=http, max_retries=0)
        ask_openai(client, endpoint, route.model)
    return Call(calls[0].url, {"authorization": f"Bearer {openai.KEY}"} if base_url is None else {})


def by_azure(route: Route, endpoint: Endpoint) -> Call:
    """The SDK knows the older address; the current one is OpenAI's own below ``/openai/v1``, as Microsoft writes."""
    with stub() as (calls, http):
        client = openai_sdk.AzureOpenAI(
            api_key=openai_like.KEYS["azure"],
            azure_endpoint=AZURE,
            api_version=AZURE_VERSION,
            azure_deployment=route.model,
            http_client=http,
            max_retries=0,
        )
        ask_openai(client, endpoint, route.model)
    older, key = calls[0], {"api-key": calls[0].headers["api-key"]}
    url = older.url if route.api_version else by_openai(route, endpoint, base_url=f"{AZURE}/openai/v1/").url
    return Call(url, key)


def by_perplexity(route: Route, endpoint: Endpoint) -> Call:
    calls: list[Call] = []
    with (
        httpx.Client(transport=httpx.MockTransport(recording(calls))) as http,
        suppress(perplexity.APIError),
        perplexity.Perplexity(api_key=openai_like.KEYS["perplexity"], http_client=http, max_retries=0) as client,
    ):
        if endpoint == "embeddings":
            client.embeddings.create(model=route.model, input="Hi")  # type: ignore[arg-type]
        else:
            client.responses.create(model=route.model, input="Hi")
    return Call(calls[0].url, {"authorization": calls[0].headers["authorization"]})


def by_hugging_face(route: Route) -> Call:
    """The SDK knows the address of chats, and the header that names whom to bill."""
    with stub() as (calls, http):
        huggingface_hub.set_client_factory(lambda: http)
        try:
            key = openai_like.KEYS["huggingface"]
            client = huggingface_hub.InferenceClient(api_key=key, bill_to="acme", provider="auto")
            client.chat_completion(HELLO, model=route.model)
        finally:
            huggingface_hub.close_session()
            huggingface_hub.set_client_factory(default_client_factory)
    return Call(calls[-1].url, {name: calls[-1].headers[name] for name in ("authorization", "x-hf-bill-to")})


def by_anthropic(host: Literal["api", "aws", "vertex"], route: Route) -> Call:
    with stub() as (calls, http):
        common: dict[str, Any] = {"http_client": http, "max_retries": 0}
        clients: dict[str, Callable[[], Any]] = {
            "api": lambda: anthropic_sdk.Anthropic(api_key=anthropic.KEY, **common),
            "aws": lambda: anthropic_sdk.AnthropicAWS(
                workspace_id=anthropic.WORKSPACE,
                aws_access_key=bedrock.ACCESS_KEY,
                aws_secret_key=bedrock.SECRET_KEY,
                aws_session_token=bedrock.TOKEN,
                aws_region=bedrock.REGION,
                **common,
            ),
            "vertex": lambda: anthropic_sdk.AnthropicVertex(
                project_id=vertex.PROJECT, region=route.region, access_token=TOKEN, **common
            ),
        }
        clients[host]().messages.create(model=route.model, max_tokens=9, messages=HELLO, stream=route.stream)
    named = {
        "api": ("anthropic-version",),
        "aws": ("authorization", "anthropic-workspace-id", "anthropic-version"),
        "vertex": ("authorization",),
    }[host]
    # The SDK asks for a newer version of the API than we do, in the same header.
    return Call(
        calls[0].url,
        {name: "2023-06-01" if name == "anthropic-version" else calls[0].headers[name] for name in named},
    )


def by_botocore(route: Route, endpoint: Endpoint) -> Call:
    calls: list[Call] = []

    def record(request: Any, **_context: Any) -> None:
        headers = {k: v.decode() if isinstance(v, bytes) else v for k, v in request.headers.items()}
        calls.append(call_of(request.url, headers))
        raise InterruptedError

    client = boto3.client(
        "bedrock-runtime",
        region_name=bedrock.REGION,
        aws_access_key_id=bedrock.ACCESS_KEY,
        aws_secret_access_key=bedrock.SECRET_KEY,
    )
    client.meta.events.register("before-send.bedrock-runtime", record)
    converse: dict[str, Any] = {"modelId": route.model, "messages": [{"role": "user", "content": [{"text": "Hi"}]}]}
    invoke: dict[str, Any] = {"modelId": route.model, "body": b"{}"}
    with suppress(InterruptedError):
        match endpoint, route.stream:
            case "converse", False:
                client.converse(**converse)
            case "converse", True:
                client.converse_stream(**converse)
            case "invoke", True:
                client.invoke_model_with_response_stream(**invoke)
            case _:
                client.invoke_model(**invoke)
    client.close()
    return Call(calls[0].url, {"authorization": calls[0].headers["authorization"]})


def written_call(name: str, route: Route, endpoint: Endpoint) -> Call:
    """Return what the provider's own document says; paths that are OpenAI's come from OpenAI's SDK."""
    written = SCENES[name].written
    assert written, f"{name}: no SDK and no document says where it is called"
    assert re.fullmatch(r"https://\S+", written.source)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", written.read)
    path = written.stream_paths.get(endpoint) if route.stream else None
    path = path or written.paths.get(endpoint)
    if path is None:
        url = by_openai(route, endpoint, base_url=written.base_url).url
    else:
        url = written.base_url + path.replace("{model}", route.model)
    header, _, prefix = written.key.partition(": ")
    return Call(url, {header.lower(): f"{prefix} {written.secret}".strip()})


def expected_call(name: str, route: Route, endpoint: Endpoint) -> Call:
    sdks: Mapping[str, Callable[[], Call]] = {
        "openai": lambda: by_openai(route, endpoint),
        "azure": lambda: by_azure(route, endpoint),
        "perplexity": lambda: by_perplexity(route, endpoint),
        "anthropic": lambda: by_anthropic_and_document(route),
        "anthropic-aws": lambda: by_anthropic("aws", route),
        "bedrock": lambda: by_botocore(route, endpoint),
    }
    if (name, endpoint) == ("vertex", "messages"):
        return by_anthropic("vertex", route)
    return sdks[name]() if name in sdks else written_call(name, route, endpoint)


def by_anthropic_and_document(route: Route) -> Call:
    """Return the SDK's call, with the documented header of the key: the SDK sends the key as a bearer's token."""
    told, written = by_anthropic("api", route), written_call("anthropic", route, "messages")
    assert written.url == told.url
    return Call(told.url, {**told.headers, **written.headers})


def all_cases() -> Iterator[tuple[str, Case]]:
    """Yield every endpoint of every provider, streamed and not, and the addresses that a route's settings change."""
    for name, provider in PROVIDERS.items():
        for endpoint in provider.endpoints:
            yield f"{name}-{endpoint}", case_of(name, endpoint)
            if endpoint not in ("embeddings", "moderations"):
                yield f"{name}-{endpoint}-stream", case_of(name, endpoint, stream=True)
    for endpoint in PROVIDERS["azure"].endpoints:
        yield f"azure-{endpoint}-{AZURE_VERSION}", case_of("azure", endpoint, api_version=AZURE_VERSION)
    billed = route_of("huggingface", "chat", account="acme")
    yield "huggingface-billed", Case(billed, lambda: by_hugging_face(billed))
    for region in ("global", "us", "eu"):
        yield f"vertex-{region}", case_of("vertex", "messages", region=region)
    gemini = msgspec.structs.replace(route_of("vertex", "embeddings"), model="gemini-embedding-2")
    by_gemini = case_of("vertex", "embeddings", model=gemini.model)
    yield "vertex-embedContent", Case(gemini, lambda: embed_content(by_gemini.expected()), REQUEST)
    express = route_of("vertex", "generate", key="google-express", region="", account="")
    yield "vertex-express", Case(express, lambda: by_express(express))


def case_of(name: str, endpoint: Endpoint, **changes: Any) -> Case:
    route = route_of(name, endpoint, **changes)
    return Case(route, lambda: expected_call(name, route, endpoint))


def embed_content(predict: Call) -> Call:
    """Gemini's second generation of vectors, as ``google/genai/models.py`` of google-genai 3.4.0 has it (2026-11-22)."""
    return msgspec.structs.replace(predict, url=predict.url.replace(":predict", ":embedContent"))


def by_express(route: Route) -> Call:
    """An API key in place of a project: https://cloud.google.com/vertex-ai/generative-ai/docs/start/express-mode/overview
    (2026-11-22), and ``_api_client.py`` of google-genai 3.4.0.
    """
    url = f"https://aiplatform.googleapis.com/v1/publishers/google/models/{route.model}:generateContent"
    return Call(url, {"x-goog-api-key": vertex.API_KEY})


CASES = dict(all_cases())


@cache
def expected_of(case_id: str) -> Call:
    return CASES[case_id].expected()


async def agrees(case_id: str, table: Mapping[str, Provider] = PROVIDERS) -> bool:
    ours, expected = await our_call(CASES[case_id], table), expected_of(case_id)
    return ours.url == expected.url and expected.headers.items() <= ours.headers.items()


@pytest.mark.parametrize("case_id", CASES)
async def test_a_call_goes_where_others_say(case_id: str) -> None:
    assert await agrees(case_id), (await our_call(CASES[case_id]), expected_of(case_id))


async def test_tokens_of_google_are_asked_for_where_its_documents_say() -> None:
    """https://developers.google.com/identity/protocols/oauth2/service-account and https://google.aip.dev/auth/4117
    (2026-11-22) give the addresses that stand in credentials; ours hold where a document leaves them out.
    """
    account = ServiceAccount(client_email="a@b", private_key="k")
    pool = ExternalAccount(audience="a")

    assert account.token_uri == "https://oauth2.googleapis.com/token"
    assert pool.token_url == "https://sts.googleapis.com/v1/token"
    assert pool.credential_source.regional_cred_verification_url == (
        "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    )
    assert SCOPE == CLOUD_PLATFORM_SCOPE


TEXTS = ("url", "key_header", "key_prefix", "express_key_header", "account_header", "version_header", "default_version")


def misspelt(text: str) -> Iterator[str]:
    """Yield the text with each of its words misspelt in turn; what stands in braces is filled in by the route."""
    for word in re.finditer(r"\{[^}]*\}|[A-Za-z0-9]+", text):
        if not word[0].startswith("{"):
            yield f"{text[: word.start()]}{word[0]}x{text[word.end() :]}"


def mutants_of(provider: Provider) -> Iterator[tuple[str, Provider]]:
    """Yield the provider's row with each host, path and header misspelt, and what was misspelt."""
    # A call that is signed has no key of its own: its Authorization header is the signature's.
    unused = {"key_header", "key_prefix"} if provider.signing_name else set()
    for field in (*TEXTS, "signing_name"):
        for wrong in misspelt(getattr(provider, field)) if field not in unused else ():
            yield f"{field}: {wrong}", msgspec.structs.replace(provider, **{field: wrong})
    for field in ("paths", "stream_paths", "urls_by_region"):
        right = getattr(provider, field)
        for key, text in right.items():
            for wrong in misspelt(text):
                yield f"{field}[{key}]: {wrong}", msgspec.structs.replace(provider, **{field: {**right, key: wrong}})


async def is_noticed(wrong: Provider) -> bool:
    for case_id, case in CASES.items():
        if case.route.provider == wrong.name and not await agrees(case_id, {wrong.name: wrong}):
            return True
    return False


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_misspelt_host_path_or_header_is_noticed(name: str) -> None:
    assert [what for what, wrong in mutants_of(PROVIDERS[name]) if not await is_noticed(wrong)] == []
