"""Each engine behind the port: the patterns, the real model, and services on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import botocore.session
import pytest

from promptmill.detectors.deployed import AwsAccess, DeployedFinders
from promptmill.domain.recipe import Guardrail, RedactionPolicy
from promptmill.ports.detectors import EntityFinder, Finds
from promptmill.redaction import KNOWN_TYPES
from promptmill.redaction.policy import built_in_engine_of
from tests.fakes.clock import FakeClock
from tests.fakes.providers.aws_signature import ACCESS_KEY, REGION, SECRET_KEY, TOKEN
from tests.fakes.providers.entity_services import GUARDRAIL, VERSION, Comprehend, GuardrailService
from tests.fakes.providers.server import FakeProvider, Speaks

POLICY = RedactionPolicy(types=KNOWN_TYPES, guardrail=Guardrail(GUARDRAIL, VERSION))
ENGINES = ("structured", "ner", "comprehend", "guardrail")
SERVICES: dict[str, Callable[[], Speaks]] = {"comprehend": Comprehend, "guardrail": GuardrailService}


class Patterns:
    """What is built in, as a finder."""

    async def find(self, text: str, policy: RedactionPolicy) -> Finds:
        return Finds(tuple(built_in_engine_of(policy).find(text)))


def fake_session() -> botocore.session.Session:
    session = botocore.session.Session()
    session.set_credentials(ACCESS_KEY, SECRET_KEY, TOKEN)
    return session


@asynccontextmanager
async def finder_of(engine: str, fake: FakeProvider | None = None) -> AsyncIterator[EntityFinder]:
    if engine == "structured":
        yield Patterns()
        return
    aws = AwsAccess(region=REGION, make_session=fake_session, base_url=fake.url) if fake else None
    finders = DeployedFinders([engine], clock=FakeClock(), aws=aws)
    try:
        yield finders.finder(engine)
    finally:
        await finders.close()


@pytest.fixture(params=ENGINES)
async def finder(request: pytest.FixtureRequest) -> AsyncIterator[EntityFinder]:
    if request.param not in SERVICES:
        async with finder_of(request.param) as found:
            yield found
        return
    async with FakeProvider(SERVICES[request.param]()) as fake, finder_of(request.param, fake) as found:
        yield found
        assert fake.refused == []


@pytest.fixture(params=SERVICES)
async def service(request: pytest.FixtureRequest) -> AsyncIterator[tuple[FakeProvider, EntityFinder]]:
    async with FakeProvider(SERVICES[request.param]()) as fake, finder_of(request.param, fake) as found:
        yield fake, found
