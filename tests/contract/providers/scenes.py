"""Every provider that a recipe can name: its fake, a route to it, and what a call costs there, worked out by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct, field

from promptmill.domain.recipe import Route, UserPrice
from promptmill.domain.record import PriceBasis
from tests.contract.providers.conftest import ROUTES, Stand, local_settings, make_providers
from tests.fakes.clock import FakeClock
from tests.fakes.providers import anthropic, bedrock, nlp_cloud, openai, openai_like, replicate, vertex
from tests.fakes.providers.server import FakeProvider, Speaks


class Written(Struct, frozen=True):
    """A document's word on a provider's calls: test_addresses.py holds ours to it.

    Attributes:
        source, read: the document, and the day on which it was read.
        base_url: the address that comes before every path, as OpenAI's SDK would be given it.
        secret: the key that the scene's route has.
        key: the header that carries the key, and what stands before the key in it.
        paths: the paths of endpoints that OpenAI's SDK does not know.
        stream_paths: the paths of their streams, where those differ.
    """

    source: str
    read: str
    base_url: str
    secret: str = openai.KEY
    key: str = "Authorization: Bearer"
    paths: dict[str, str] = {}
    stream_paths: dict[str, str] = {}


class Scene(Struct, frozen=True):
    """One provider.

    Attributes:
        base_path: of the route's base URL, after the fake's own address.
        embedding: what a route for embeddings has instead.
        nano_usd: of a call with 21 tokens in and 9 out, with its basis.
        refuses_filtered: it refuses prompts for their content, besides cutting answers short.
        first_token_ms: of a streamed answer, where a quarter of a second passes at each look on the clock.
        written: where it is called by its own document; None if test_addresses.py asks an official SDK.
    """

    speaker: Callable[[], Speaks]
    route: Route
    nano_usd: int
    basis: PriceBasis = "bundled"
    base_path: str = "/v1"
    embedding: dict[str, Any] = field(default_factory=lambda: {"endpoint": "embeddings"})
    refuses_filtered: bool = False
    first_token_ms: int = 250
    written: Written | None = None


def _route(provider: str, model: str, **fields: Any) -> Route:
    return Route(id=f"{provider}/{model}", provider=provider, model=model, **fields)


_PER_TOKEN = UserPrice(input_usd_per_mtok="0.2", output_usd_per_mtok="0.4")

SCENES: dict[str, Scene] = {
    # 21 x $0.10 + 9 x $0.50 a million
    "openai": Scene(openai.OpenAi, ROUTES["openai"], 6_600, refuses_filtered=True),
    # a deployment's name has no price: the model that answered has, the same as OpenAI's
    "azure": Scene(
        openai_like.Azure, _route("azure", "my-luna", key="azure"), 6_600, base_path="", refuses_filtered=True
    ),
    # told by the provider, to the digit
    "perplexity": Scene(
        openai_like.Perplexity,
        _route("perplexity", "perplexity/sonar", key="perplexity"),
        2_650_000,
        "provider-reported",
        embedding={"endpoint": "embeddings", "model": "pplx-embed-v1-0.6b"},
    ),
    # 21 x $0.35 + 9 x $0.75 a million
    "cloudflare": Scene(
        openai_like.Cloudflare,
        _route("cloudflare", "@cf/openai/gpt-oss-120b", key="cloudflare", account=openai_like.ACCOUNT),
        14_100,
        base_path=f"/client/v4/accounts/{openai_like.ACCOUNT}/ai/v1",
        refuses_filtered=True,
        written=Written(
            "https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility",
            "2026-11-28",
            f"https://api.cloudflare.com/client/v4/accounts/{openai_like.ACCOUNT}/ai/v1",
            openai_like.KEYS["cloudflare"],
        ),
    ),
    # 21 x $0.15 + 9 x $0.75 a million, as Groq takes
    "huggingface": Scene(
        openai_like.HuggingFace,
        _route("huggingface", "openai/gpt-oss-120b:groq", key="huggingface"),
        9_900,
        refuses_filtered=True,
        written=Written(
            "https://huggingface.co/docs/inference-providers/index",
            "2026-11-22",
            "https://router.huggingface.co/v1",
            openai_like.KEYS["huggingface"],
        ),
    ),
    # a quarter of a second at $1.80 an hour for 6 calls at once
    "huggingface-endpoint": Scene(
        openai_like.HuggingFaceEndpoint,
        _route("huggingface-endpoint", "tgi", key="openai-key", price=UserPrice(usd_per_hour="1.80", calls_at_once=6)),
        20_833,
        "user-set",
        written=Written(
            "https://huggingface.co/docs/inference-endpoints",
            "2026-11-22",
            "https://abc123.us-east-1.aws.endpoints.huggingface.cloud/v1",
        ),
    ),
    # 21 x $0.20 + 9 x $0.40 a million, from our own table
    "ai21": Scene(
        openai_like.Ai21,
        _route("ai21", "jamba-mini", key="ai21"),
        7_800,
        "own-table",
        base_path="/studio/v1",
        written=Written(
            "https://docs.ai21.com/reference/jamba-1-6-api-ref",
            "2026-11-22",
            "https://jamba.example/studio/v1",
            openai_like.KEYS["ai21"],
        ),
    ),
    # $0.00265 a request, which covers its 2 tokens of output; usage is estimated, and so is the price
    "gooseai": Scene(
        openai_like.GooseAi,
        _route(
            "gooseai",
            "gpt-neo-20b",
            key="gooseai",
            price=UserPrice(usd_per_request="0.00265", covered_output_tokens=25, output_usd_per_mtok="63.5"),
        ),
        2_650_000,
        "estimated",
        written=Written(
            "https://goose.ai/docs/api/completions",
            "2026-11-22",
            "https://api.goose.ai/v1",
            openai_like.KEYS["gooseai"],
            paths={"completions": "/engines/{model}/completions"},
        ),
    ),
    "compatible": Scene(
        lambda: openai.OpenAi("vllm"),
        msgspec.structs.replace(ROUTES["compatible"], price=_PER_TOKEN),
        7_800,
        "user-set",
        written=Written(
            "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
            "2026-11-22",
            "https://server.example/v1",
        ),
    ),
    # free, if the recipe says so
    "local": Scene(
        lambda: openai.OpenAi("vllm"),
        _route("local", "smollm2", key="openai-key", price=UserPrice()),
        0,
        "user-set",
        written=Written(
            "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
            "2026-11-22",
            "https://server.example/v1",
        ),
    ),
    # as OpenAI's
    "anthropic": Scene(
        anthropic.Anthropic,
        ROUTES["anthropic"],
        6_600,
        written=Written(
            "https://docs.anthropic.com/en/api/getting-started",
            "2026-11-28",
            "https://api.anthropic.com/v1",
            anthropic.KEY,
            key="x-api-key: ",
            paths={"messages": "/messages"},
        ),
    ),
    "anthropic-aws": Scene(lambda: anthropic.Anthropic(on_aws=True), ROUTES["anthropic-aws"], 6_600),
    # with the region's premium, 21 x $1.10 + 9 x $5.50 a million
    "bedrock": Scene(
        bedrock.Bedrock,
        ROUTES["bedrock"],
        72_600,
        base_path="",
        embedding={"endpoint": "embeddings", "model": "cohere.embed-multilingual-v3"},
        refuses_filtered=True,
    ),
    # 21 x $0.75 + 9 x $3.75 a million
    "vertex": Scene(
        vertex.Vertex,
        ROUTES["vertex"],
        54_450,  # 49,500 and a tenth, since it is asked in a region
        base_path="",
        embedding={"endpoint": "embeddings", "model": "text-embedding-005"},
        refuses_filtered=True,
        written=Written(
            "https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest",
            "2026-11-28",
            f"https://{vertex.LOCATION}-aiplatform.googleapis.com/v1/projects/{vertex.PROJECT}"
            f"/locations/{vertex.LOCATION}/publishers/google",
            "access-token",
            paths={"generate": "/models/{model}:generateContent", "embeddings": "/models/{model}:predict"},
            stream_paths={"generate": "/models/{model}:streamGenerateContent?alt=sse"},
        ),
    ),
    # as Vertex AI's
    "gemini": Scene(
        vertex.Gemini,
        _route("gemini", "gemini-3.8-flash", key="gemini-key"),
        49_500,
        base_path="/v1beta",
        refuses_filtered=True,
        written=Written(
            "https://ai.google.dev/api/generate-content",
            "2026-11-28",
            "https://generativelanguage.googleapis.com/v1beta",
            vertex.GEMINI_KEY,
            key="x-goog-api-key: ",
            paths={"generate": "/models/{model}:generateContent"},
            stream_paths={"generate": "/models/{model}:streamGenerateContent?alt=sse"},
        ),
    ),
    # 0.81 s of hardware at $0.001400 a second
    "replicate": Scene(
        replicate.Replicate,
        _route("replicate", "meta/llama-3-70b", key="replicate-key", price=UserPrice(usd_per_second="0.0014")),
        1_134_000,
        "user-set",
        first_token_ms=1_000,
        written=Written(
            "https://replicate.com/docs/reference/http",
            "2026-11-28",
            "https://api.replicate.com/v1",
            replicate.KEY,
            paths={"": "/models/{model}/predictions"},
        ),
    ),
    # (21 + 9) x $0.50 a million, from our own table
    "nlpcloud": Scene(
        nlp_cloud.NlpCloud,
        _route("nlpcloud", "dolphin", key="nlpcloud-key"),
        15_000,
        "own-table",
        written=Written(
            "https://docs.nlpcloud.com",
            "2026-11-22",
            "https://api.nlpcloud.io/v1",
            nlp_cloud.KEY,
            key="Authorization: Token",
            paths={"": "/{model}/generation"},
        ),
    ),
}


class TickingClock(FakeClock):
    """A quarter of a second passes each time that somebody looks: every call takes as long."""

    def monotonic(self) -> float:
        self.advance(0.25)
        return super().monotonic()


@asynccontextmanager
async def opened(name: str, **changes: Any) -> AsyncIterator[Stand]:
    """The provider's fake with our adapter in front of it; ``changes`` are the route's."""
    scene = SCENES[name]
    route = msgspec.structs.replace(scene.route, **changes)
    async with FakeProvider(scene.speaker()) as fake:
        providers = make_providers(local_settings(), TickingClock(), url=fake.url)
        yield Stand(name, fake, providers, route=route, base_path=scene.base_path)
        await providers.close()
