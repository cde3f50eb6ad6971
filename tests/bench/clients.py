"""One client's run over one file, in a process of its own: ``python -m tests.bench.clients NAME PORT N IN_FLIGHT [SIZE]``.

Prints a line of JSON: wall and CPU seconds, peak memory, answers.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

KEY = "sk-loopback"
MODEL = "gpt-6-luna"


def records(count: int, size: int) -> list[bytes]:
    """Lines of a file for OpenAI's batch service, with prompts of about ``size`` bytes."""
    rng = random.Random(1)
    words = [
        "the",
        "of",
        "and",
        "to",
        "in",
        "is",
        "that",
        "for",
        "it",
        "was",
        "on",
        "are",
        "as",
        "with",
        "they",
        "be",
        "at",
        "one",
        "have",
        "this",
    ]
    filler = " ".join(rng.choice(words) for _ in range(max(1, size // 4)))[:size]
    return [
        json.dumps(
            {
                "custom_id": f"r{n}",
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": MODEL, "max_tokens": 200, "messages": [{"role": "user", "content": f"{n} {filler}"}]},
            }
        ).encode()
        for n in range(count)
    ]


async def bare(port: int, lines: list[bytes], in_flight: int) -> int:
    """An aiohttp loop: parse, post, parse, render."""
    import aiohttp
    import msgspec

    places, results = asyncio.Semaphore(in_flight), []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:

        async def one(line: bytes) -> None:
            async with places:
                record = msgspec.json.decode(line)
                body = msgspec.json.encode(record["body"])
                url, headers = f"http://127.0.0.1:{port}/v1/chat/completions", {"Authorization": f"Bearer {KEY}"}
                headers["Content-Type"] = "application/json"
                async with session.post(url, data=body, headers=headers) as response:
                    answer = msgspec.json.decode(await response.read())
                results.append(msgspec.json.encode({"custom_id": record["custom_id"], "response": {"body": answer}}))

        await asyncio.gather(*map(one, lines))
    return len(results)


async def openai_sdk(port: int, lines: list[bytes], in_flight: int) -> int:
    from openai import AsyncOpenAI

    places, results = asyncio.Semaphore(in_flight), []
    async with AsyncOpenAI(api_key=KEY, base_url=f"http://127.0.0.1:{port}/v1", max_retries=0) as client:

        async def one(line: bytes) -> None:
            async with places:
                record = json.loads(line)
                answer = await client.chat.completions.create(**record["body"])
                results.append(json.dumps({"custom_id": record["custom_id"], "response": answer.model_dump()}))

        await asyncio.gather(*map(one, lines))
    return len(results)


async def litellm(port: int, lines: list[bytes], in_flight: int) -> int:
    import litellm as peer  # type: ignore[import-not-found]  # in an environment of its own: requirements/bench.in

    places, results = asyncio.Semaphore(in_flight), []

    async def one(line: bytes) -> None:
        async with places:
            record = json.loads(line)
            body = record["body"] | {"model": f"openai/{MODEL}"}
            answer = await peer.acompletion(**body, api_key=KEY, api_base=f"http://127.0.0.1:{port}/v1", num_retries=0)
            results.append(json.dumps({"custom_id": record["custom_id"], "response": answer.model_dump()}))

    await asyncio.gather(*map(one, lines))
    return len(results)


async def promptmill(port: int, lines: list[bytes], in_flight: int, **how: Any) -> int:
    from tests.bench.house import mill

    return await mill(port, lines, in_flight, **how)


async def promptmill_redacting(port: int, lines: list[bytes], in_flight: int) -> int:
    return await promptmill(port, lines, in_flight, redacting=True)


async def promptmill_bedrock(port: int, lines: list[bytes], in_flight: int) -> int:
    return await promptmill(port, lines, in_flight, provider="bedrock")


CLIENTS: dict[str, Callable[[int, list[bytes], int], Coroutine[Any, Any, int]]] = {
    "aiohttp": bare,
    "openai": openai_sdk,
    "litellm": litellm,
    "promptmill": promptmill,
    "promptmill-redacting": promptmill_redacting,
    "promptmill-bedrock": promptmill_bedrock,
}


def main(name: str, port: int, count: int, in_flight: int, size: int = 600) -> None:
    lines = records(count, size)
    client = CLIENTS[name]
    asyncio.run(_warm(client, port, in_flight))
    cpu, wall = time.process_time(), time.perf_counter()
    answers = asyncio.run(client(port, lines, in_flight))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"name": name, "wall_s": wall, "cpu_s": cpu, "peak_mb": peak, "answers": answers}))


async def _warm(client: Any, port: int, in_flight: int) -> None:
    """Imports, and whatever is made at the first call."""
    await client(port, records(4, 40), in_flight)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
