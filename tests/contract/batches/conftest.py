"""Each batch service's fake with our adapter in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
import pytest

from promptmill.domain.completion import CompletionRequest, Message, Text
from promptmill.ports.batch_service import BatchOrder, BatchService, BatchStatus, Created
from promptmill.providers.batches.bedrock import BedrockPlace
from promptmill.providers.batches.registry import HttpBatchServices
from promptmill.providers.batches.vertex import VertexPlace
from promptmill.providers.registry import Connections
from promptmill.wire.batches.lines import ResultLine
from tests.contract.batches.scenes import SCENES, Scene
from tests.contract.providers.conftest import KEYS, fake_aws_session, local_settings
from tests.fakes.batches import bedrock, vertex
from tests.fakes.clock import FakeClock
from tests.fakes.providers import google_tokens, openai_like
from tests.fakes.secret_store import FakeSecretStore

BLOCK = 1000


class Bench:
    """A fake service, the adapter that speaks to it, and a route between them."""

    def __init__(
        self, scene: Scene, fake: Any, service: BatchService, clock: FakeClock, secrets: FakeSecretStore
    ) -> None:
        self.scene, self.fake, self.service, self.clock, self.secrets = scene, fake, service, clock, secrets
        self.route = msgspec.structs.replace(scene.route, base_url=fake.url + scene.base_path)
        self.requests: dict[str, CompletionRequest] = {}
        self.started: datetime = clock.now()
        self.status: BatchStatus | None = None

    def order(self, lines: int = 5, *, label: str = "s-1-k7", **fields: Any) -> BatchOrder:
        """Stage so many lines, each with a question of its own."""
        written = []
        for place in range(lines):
            line_id = f"{label}-0-{place}"
            self.requests[line_id] = asking(f"What is {place}?")
            written.append(self.service.write_line(self.route, self.requests[line_id], line_id=line_id))
        return self.staged(written, label=label, **fields)

    def staged(self, lines: Sequence[bytes], *, label: str = "s-1-k7", **fields: Any) -> BatchOrder:
        data = b"".join(lines)

        async def read() -> AsyncIterator[bytes]:
            for at in range(0, len(data), BLOCK):
                yield data[at : at + BLOCK]

        if hasattr(self.fake, "stage"):
            self.fake.stage(f"work/{label}/in/", data)
        folders = {"folder": f"work/{label}/in/", "output": f"work/{label}/out/"}
        return BatchOrder(label, len(lines), len(data), read, **{**folders, **fields})

    async def send(self, order: BatchOrder) -> str:
        """Upload and create, and return the batch's id."""
        upload = await self.service.upload(self.route, order)
        created = await self.service.create(self.route, order, upload)
        assert isinstance(created, Created), created
        return created.id

    async def poll(self, batch_id: str) -> BatchStatus:
        return await self.service.poll(self.route, batch_id)

    async def find(self, order: BatchOrder, upload: str) -> tuple[Any, ...]:
        return await self.service.find(self.route, order, upload, since=self.started)

    async def read(self, order: BatchOrder, status: BatchStatus) -> list[ResultLine]:
        """Read the results as whoever collects them does."""
        data = b"".join([block async for block in self.service.results(self.route, order, status)])
        assert data == b"" or data.endswith(b"\n")
        lines = [self.service.read_line(line) for line in data.splitlines()]
        return [line for line in lines if line is not None]

    async def run(self, order: BatchOrder, *, ending: str = "completed") -> list[ResultLine]:
        """Send a batch, let it end, and return its results."""
        batch_id = await self.send(order)
        await self.poll(batch_id)
        self.fake.finish(batch_id, ending)
        self.status = await self.poll(batch_id)
        return await self.read(order, self.status)


def asking(text: str, **fields: Any) -> CompletionRequest:
    return CompletionRequest(messages=(Message("user", (Text(text),)),), max_output_tokens=20, **fields)


@asynccontextmanager
async def opened(name: str) -> AsyncIterator[Bench]:
    scene, clock = SCENES[name], FakeClock()
    async with scene.server(clock) as fake:
        google = {"google-key": google_tokens.service_account(fake.url)}
        secrets = FakeSecretStore({**KEYS, **openai_like.KEYS, **google})
        connections = Connections(settings=local_settings(), clock=clock, make_aws_session=fake_aws_session)
        place = BedrockPlace(bedrock.BUCKET, bedrock.ROLE, fake.objects) if name == "bedrock" else None
        services = HttpBatchServices(
            connections,
            secrets=secrets,
            bedrock=place,
            vertex=VertexPlace(vertex.BUCKET, storage_url=fake.url),
            servers=scene.servers,
        )
        service = services.service_for(scene.route)
        assert service is not None
        yield Bench(scene, fake, service, clock, secrets)
        await connections.close()


@pytest.fixture(params=SCENES)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """Every service in turn."""
    async with opened(request.param) as found:
        yield found
