"""CPU a call of each provider's adapter beside the bare loop: ``python -m tests.bench.adapters [NAME …]``.

Each provider's fake runs in a process of its own; what is measured is this process, whole and streamed, in turn with a
loop of aiohttp that posts the same bytes to the same fake and parses what comes back. Ratios count, times don't.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec

from promptmill.domain.completion import CompletionRequest, Message, Text
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Route
from tests.contract.providers.conftest import local_settings, make_providers
from tests.contract.providers.scenes import SCENES
from tests.fakes.clock import FakeClock
from tests.fakes.providers.server import FakeProvider

CALLS, IN_FLIGHT, ROUNDS = 200, 50, 2
REQUEST = CompletionRequest(messages=(Message("user", (Text("word " * 160),)),), max_output_tokens=200)


async def serve(name: str) -> None:
    """Until its input ends."""
    async with FakeProvider(SCENES[name].speaker()) as fake:
        print(fake.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def measure(name: str, url: str, *, stream: bool) -> tuple[float, float]:
    """Milliseconds of CPU a call: the adapter's, and the bare loop's with the same bytes."""
    route = msgspec.structs.replace(SCENES[name].route, base_url=url + SCENES[name].base_path, stream=stream)
    ours, bare = [], []
    providers = make_providers(local_settings(), FakeClock(), url=url)
    provider = providers.provider_for(route)

    async def ask() -> None:
        await provider.complete(route, REQUEST, call_id="c")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:
        post = await _recorded(route, session)
        for _ in range(ROUNDS + 1):
            ours.append(await cpu_ms(ask))
            bare.append(await cpu_ms(post))
    await providers.close()
    return statistics.median(ours[1:]), statistics.median(bare[1:])


async def _recorded(route: Route, session: aiohttp.ClientSession) -> Callable[[], Awaitable[None]]:
    """The call that the adapter makes, as a bare post: taken down by a fake in this process."""
    async with FakeProvider(SCENES[route.provider].speaker()) as fake:
        here = msgspec.structs.replace(route, base_url=fake.url + SCENES[route.provider].base_path)
        providers = make_providers(local_settings(), FakeClock(), url=fake.url)
        await providers.provider_for(here).complete(here, REQUEST, call_id="c")
        await providers.close()
        sent = fake.sent[-1]
    origin = route.base_url.removesuffix(SCENES[route.provider].base_path)
    headers = {n: v for n, v in sent.headers.items() if n not in ("host", "content-length", "accept-encoding")}

    async def post() -> None:
        async with session.post(origin + sent.path, data=sent.data, headers=headers) as response:
            data = await response.read()
            if not route.stream:
                msgspec.json.decode(data)

    return post


async def cpu_ms(call: Callable[[], Awaitable[None]]) -> float:
    """Of one call, with ``IN_FLIGHT`` of them at a time."""
    places = asyncio.Semaphore(IN_FLIGHT)

    async def one() -> None:
        async with places:
            await call()

    started = time.process_time()
    await asyncio.gather(*(one() for _ in range(CALLS)))
    return (time.process_time() - started) * 1000 / CALLS


def report(name: str) -> None:
    """One line."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.adapters", "serve", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        cells = [_cell(name, url, stream=False)]
        cells.append("" if "streaming" in PROVIDERS[name].lacks else f"streamed {_cell(name, url, stream=True)}")
        server.terminate()
    print(f"{name:22}{'   '.join(cells)}", flush=True)


def _cell(name: str, url: str, *, stream: bool) -> str:
    ours, bare = asyncio.run(measure(name, url, stream=stream))
    return f"{ours:6.2f} ms   bare {bare:6.2f} ms   ratio {ours / bare:5.2f}"


def main(words: list[Any]) -> None:
    """All providers, or those that are named."""
    if words[:1] == ["serve"]:
        asyncio.run(serve(words[1]))
        return
    for name in words or sorted(SCENES):
        report(name)


if __name__ == "__main__":
    main(sys.argv[1:])
