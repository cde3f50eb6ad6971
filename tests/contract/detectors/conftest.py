"""Each detector behind the port: the patterns, the real model, and services on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import botocore.session
import pytest

from promptmill.detectors.deployed import AwsAccess, DeployedDetectors
from promptmill.domain.recipe import Guardrail, RedactionPolicy
from promptmill.ports.detectors import ExternalDetector, Findings
from promptmill.redaction import KNOWN_TYPES
from promptmill.redaction.policy import make_built_in_detector
from tests.fakes.clock import FakeClock
from tests.fakes.providers.aws_signature import ACCESS_KEY, REGION, SECRET_KEY, TOKEN
from tests.fakes.providers.entity_services import GUARDRAIL, VERSION, Comprehend, GuardrailService
from tests.fakes.providers.server import FakeProvider, Speaks

POLICY = RedactionPolicy(types=KNOWN_TYPES, guardrail=Guardrail(GUARDRAIL, VERSION))
DETECTORS = ("structured", "ner", "comprehend", "guardrail")
SERVICES: dict[str, Callable[[], Speaks]] = {"comprehend": Comprehend, "guardrail": GuardrailService}


class Patterns:
    """The built-in patterns, as an external detector."""

    async def find(self, text: str, policy: RedactionPolicy) -> Findings:
        return Findings(tuple(make_built_in_detector(policy).find(text)))


def fake_session() -> botocore.session.Session:
    session = botocore.session.Session()
    session.set_credentials(ACCESS_KEY, SECRET_KEY, TOKEN)
    return session


@asynccontextmanager
async def detector_for(name: str, fake: FakeProvider | None = None) -> AsyncIterator[ExternalDetector]:
    if name == "structured":
        yield Patterns()
        return
    aws = AwsAccess(region=REGION, make_session=fake_session, base_url=fake.url) if fake else None
    detectors = DeployedDetectors([name], clock=FakeClock(), aws=aws)
    try:
        yield detectors.detector(name)
    finally:
        await detectors.close()


@pytest.fixture(params=DETECTORS)
async def detector(request: pytest.FixtureRequest) -> AsyncIterator[ExternalDetector]:
    if request.param not in SERVICES:
        async with detector_for(request.param) as found:
            yield found
        return
    async with FakeProvider(SERVICES[request.param]()) as fake, detector_for(request.param, fake) as found:
        yield found
        assert fake.refused == []


@pytest.fixture(params=SERVICES)
async def service(request: pytest.FixtureRequest) -> AsyncIterator[tuple[FakeProvider, ExternalDetector]]:
    async with FakeProvider(SERVICES[request.param]()) as fake, detector_for(request.param, fake) as found:
        yield fake, found
