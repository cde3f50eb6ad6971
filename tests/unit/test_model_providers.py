"""Which adapter is picked, what it is told, and when it is imported."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from promptmill.domain.completion import CompletionRequest, Message, Text
from promptmill.domain.errors import RouteClosedError
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Route
from tests.contract.providers.conftest import local_settings, make_providers
from tests.fakes.providers.openai import OpenAi
from tests.fakes.providers.server import FakeProvider

REQUEST = CompletionRequest(messages=(Message("user", (Text("Hi"),)),))


async def code_of(route: Route, **settings: object) -> str:
    providers = make_providers(local_settings(**settings))
    with pytest.raises(RouteClosedError) as caught:
        await providers.provider_for(route).complete(route, REQUEST, call_id="c")
    await providers.close()
    return caught.value.code


@pytest.mark.parametrize(
    ("route", "stage", "code"),
    [
        (Route("r", "quill", "m"), "prod", "unknown_provider"),
        (Route("r", "openai", "m"), "prod", "key_missing"),
        (Route("r", "anthropic", "m"), "prod", "key_missing"),
        (Route("r", "openai", "m", key="nowhere"), "prod", "secret_missing"),
        (Route("r", "compatible", "m"), "prod", "base_url_missing"),
        (Route("r", "local", "m"), "prod", "base_url_missing"),
        (Route("r", "compatible", "m", base_url="http://127.0.0.1:1/v1"), "prod", "insecure_url"),
        (Route("r", "openai", "m", key="openai-key", base_url="http://127.0.0.1:1/v1"), "dev", "insecure_url"),
        (Route("r", "compatible", "m", base_url="http://10.0.0.1/v1"), "local", "insecure_url"),
        (Route("r", "bedrock", "m", base_url="https://evil.example"), "prod", "base_url_refused"),
        (Route("r", "bedrock", "m"), "local", "not_on_local_stage"),
        (Route("r", "bedrock", "m", region="evil.example/"), "prod", "bad_region"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.provider,
)
async def test_routes_that_are_closed_before_anything_is_sent(route: Route, stage: str, code: str) -> None:
    assert await code_of(route, stage=stage) == code


async def test_the_embedded_model_is_where_the_deployment_says_and_needs_no_key() -> None:
    class Keyless(OpenAi):
        def refusal_of(self, sent: object) -> None:
            del sent

    async with FakeProvider(Keyless("vllm")) as fake:
        providers = make_providers(local_settings(local_model_url=f"{fake.url}/v1"))
        route = Route("local/smollm2", "local", "smollm2")
        completion = await providers.provider_for(route).complete(route, REQUEST, call_id="c")
        await providers.close()

    assert completion.text == "Blue."
    assert "authorization" not in fake.sent[0].headers


def test_every_provider_that_a_recipe_can_name_has_its_adapter() -> None:
    providers = make_providers(local_settings())
    routes = [Route(str(n), name, "m") for n, name in enumerate(sorted(PROVIDERS) * 2)]

    assert len({id(providers.provider_for(route)) for route in routes}) == len(PROVIDERS)


IMPORTED = """
import sys
from promptmill.providers import registry
from promptmill.calls import call_routes
print(sorted({"aiohttp", "botocore", "boto3", "pydantic", "genai_prices"} & sys.modules.keys()))
"""


def test_nothing_is_imported_before_it_is_needed() -> None:
    run = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


ONE_ONLY = """
import sys
from promptmill.domain.recipe import Route
from promptmill.wire.openai.endpoints import endpoint_named
from tests.contract.providers.conftest import local_settings
from promptmill.providers.registry import HttpModelProviders
providers = HttpModelProviders(settings=local_settings(), secrets=None, clock=__import__(
    "tests.fakes.clock", fromlist=["FakeClock"]).FakeClock(), make_aws_session=None)
before = set(sys.modules)
providers.provider_for(Route("r", "openai", "m"))
endpoint_named("chat")
new = {name for name in sys.modules if name.startswith(("promptmill.providers.", "promptmill.wire.")) and name not in before}
others = ("anthropic", "bedrock", "google", "vertex", "replicate", "nlp_cloud", "openai_responses", "openai_embeddings")
print(sorted(name for name in new if name.split(".")[2].startswith(others)))
"""


def test_a_route_imports_its_own_provider_and_no_other() -> None:
    run = subprocess.run([sys.executable, "-c", ONE_ONLY], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"


def test_a_route_of_a_recipe_keeps_its_settings() -> None:
    route = Route("r", "openai", "m", body={"temperature": 0.1})

    assert msgspec.convert(msgspec.to_builtins(route), Route) == route


HEAVY = """
import sys
import msgspec
from promptmill.providers.registry import HttpModelProviders
from promptmill.system_clock import SystemClock
from promptmill.domain.recipe import Route
from promptmill.settings import Settings
names = {field.name: field.name for field in msgspec.structs.fields(Settings) if field.required}
settings = msgspec.convert({**names, "stage": "dev", "region": "eu-west-1"}, Settings)
providers = HttpModelProviders(settings=settings, secrets=None, clock=SystemClock(), make_aws_session=None)
providers.provider_for(Route("r", sys.argv[1], "m"))
print(sorted({"botocore", "boto3", "cryptography", "pydantic", "genai_prices"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("name", ["anthropic", "vertex", "replicate", "nlpcloud", "openai"])
def test_providers_without_a_signature_import_none(name: str) -> None:
    """Vertex AI needs one only where its secret is a key or an AWS identity, and then the one of the two."""
    run = subprocess.run([sys.executable, "-c", HEAVY, name], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == "[]"
