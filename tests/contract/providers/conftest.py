"""Each provider's fake with our adapter in front of it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import botocore.session
import msgspec
import pytest

from promptmill.domain.completion import (
    Attachment,
    Completion,
    CompletionRequest,
    JsonSchema,
    Message,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from promptmill.domain.provider_table import PROVIDERS, Provider
from promptmill.domain.recipe import Route
from promptmill.providers.registry import HttpModelProviders
from promptmill.settings import Settings
from tests.fakes.clock import FakeClock
from tests.fakes.providers import anthropic, bedrock, google_tokens, nlp_cloud, openai, openai_like, replicate, vertex
from tests.fakes.providers.behaviours import Behaviour
from tests.fakes.providers.server import FakeProvider, Speaks
from tests.fakes.secret_store import FakeSecretStore

KEYS = {
    "openai-key": openai.KEY,
    "anthropic-key": anthropic.KEY,
    "replicate-key": replicate.KEY,
    "nlpcloud-key": nlp_cloud.KEY,
    "gemini-key": vertex.GEMINI_KEY,
}


def vertex_route(model: str, **settings: str) -> Route:
    place = {"provider": "vertex", "account": vertex.PROJECT, "region": vertex.LOCATION, "key": "google-key"}
    return msgspec.convert({"id": f"vertex/{model}", "model": model, **place, **settings}, Route)


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string"}},
    "required": ["colour"],
    "additionalProperties": False,
}
WEATHER = Tool("weather", "of a place", {"type": "object", "properties": {"place": {"type": "string"}}})
EVERYTHING = CompletionRequest(
    system="Be brief.",
    messages=(
        Message("user", (Text("What is this?"), Attachment("image", "messages[0]", "image/png", data=PNG))),
        Message("assistant", (Text("I look."), ToolCall("call_0", "weather", {"place": "Kyōto"}))),
        Message("user", (ToolResult("call_0", "rain"), Text("And now?"))),
    ),
    max_output_tokens=20,
    temperature=0.5,
    top_p=0.9,
    stop=("##",),
    json_schema=JsonSchema(SCHEMA),
    tools=(WEATHER,),
    tool_choice=ToolChoice("named", "weather"),
)
"""A request that holds everything that most APIs can carry."""


def asking(*parts: Text | Attachment | ToolResult, **fields: Any) -> CompletionRequest:
    """Return a short request with these parts, or about the colour of the sky."""
    request = CompletionRequest(messages=(Message("user", parts or (Text("Sky colour?"),)),), max_output_tokens=20)
    return msgspec.structs.replace(request, **fields)


CLAUDE = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
ROUTES = {
    "openai": Route(id="openai/gpt-6-luna", provider="openai", model="gpt-6-luna", key="openai-key"),
    "compatible": Route(id="compatible/qwen3-8b", provider="compatible", model="qwen3-8b", key="openai-key"),
    "anthropic": Route(id="anthropic/claude", provider="anthropic", model="claude-haiku-5-5", key="anthropic-key"),
    "anthropic-aws": Route(
        id="anthropic-aws/claude", provider="anthropic-aws", model="claude-haiku-5-5", account=anthropic.WORKSPACE
    ),
    "bedrock": Route(id="bedrock/claude", provider="bedrock", model=CLAUDE, endpoint="converse"),
    "bedrock-claude": Route(id="bedrock/invoke", provider="bedrock", model=CLAUDE, endpoint="invoke"),
    "vertex": vertex_route("gemini-3.8-flash"),
    "vertex-claude": vertex_route("claude-haiku-5-5", dialect="messages"),
}
SPEAKERS: dict[str, Callable[[], Speaks]] = {
    "openai": openai.OpenAi,
    "compatible": lambda: openai.OpenAi("vllm"),
    "anthropic": anthropic.Anthropic,
    "anthropic-aws": lambda: anthropic.Anthropic(on_aws=True),
    "bedrock": bedrock.Bedrock,
    "bedrock-claude": bedrock.Bedrock,
    "vertex": vertex.Vertex,
    "vertex-claude": vertex.Vertex,
}
BASE_PATHS = dict.fromkeys(("bedrock", "bedrock-claude", "vertex", "vertex-claude"), "")


class Stand:
    """A fake provider, the adapter that speaks to it, and a route between them."""

    def __init__(
        self,
        name: str,
        fake: FakeProvider,
        providers: HttpModelProviders,
        *,
        route: Route | None = None,
        base_path: str | None = None,
    ) -> None:
        self.name, self.fake, self.providers = name, fake, providers
        path = BASE_PATHS.get(name, "/v1") if base_path is None else base_path
        self.route = msgspec.structs.replace(route or ROUTES[name], base_url=fake.url + path)

    async def ask(self, request: CompletionRequest, route: Route | None = None) -> Completion:
        wanted = route or self.route
        return await self.providers.provider_for(wanted).complete(wanted, request, call_id="j.1.0.1.0")

    def will(self, *behaviours: Behaviour) -> None:
        self.fake.script.extend(behaviours)

    def fork(self, **changes: object) -> Route:
        return msgspec.structs.replace(self.route, **changes)


def local_settings(**changes: object) -> Settings:
    names = {f.name: f.name for f in msgspec.structs.fields(Settings) if f.required}
    return msgspec.convert({**names, "stage": "local", "region": bedrock.REGION, **changes}, Settings)


def fake_aws_session() -> botocore.session.Session:
    session = botocore.session.Session()
    session.set_credentials(bedrock.ACCESS_KEY, bedrock.SECRET_KEY, bedrock.TOKEN)
    return session


def make_providers(
    settings: Settings,
    clock: FakeClock | None = None,
    *,
    url: str = "",
    table: Mapping[str, Provider] = PROVIDERS,
) -> HttpModelProviders:
    """``url``: where Google's token servers are."""
    google = {
        "google-key": google_tokens.service_account(url),
        "google-pool": google_tokens.external_account(url),
        "google-pool-alone": google_tokens.external_account(url, impersonated=False),
        "google-express": vertex.API_KEY,
    }
    return HttpModelProviders(
        settings=settings,
        secrets=FakeSecretStore({**KEYS, **openai_like.KEYS, **google}),
        clock=clock or FakeClock(),
        make_aws_session=fake_aws_session,
        table=table,
    )


@pytest.fixture(params=list(ROUTES))
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Stand]:
    async with FakeProvider(SPEAKERS[request.param]()) as fake:
        providers = make_providers(local_settings(), url=fake.url)
        yield Stand(request.param, fake, providers)
        await providers.close()


@pytest.fixture
def plain() -> CompletionRequest:
    return asking()


@contextmanager
def nothing_sent(stand: Stand) -> Iterator[None]:
    before = len(stand.fake.sent)
    yield
    assert len(stand.fake.sent) == before
