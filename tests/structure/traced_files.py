"""List the files of the package that one record passes through: those in which a function ran. ``measure.py`` runs this.

Prints a JSON object with the files of each way:

- ``job_in_memory``: a file of one JSON line is planned, run and joined. Every port has its fake, the provider too,
  and nothing is redacted. By this measure one record passed through 78 files before the code was put in order.
- ``chunk_to_answer``: a chunk's message until its answer is journaled and its result is written. All types are
  redacted, an address is found, and the real adapter calls a fake provider over HTTP.
- ``whole_job``: that chunk, with the planning before it and the joining after it.
- ``request``: one message of the requests queue, answered in the same way.

All is done twice and the second time is counted, so imports and patterns compiled once do not count. Nor do the bodies
of modules and classes. When the code moves, only the imports below have to follow.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

from msgspec import structs

from promptmill.redaction import ALL_TYPES
from tests.contract.providers.conftest import local_settings, make_providers
from tests.fakes.mill import Mill
from tests.fakes.providers import openai, server
from tests.fakes.recipes import recipe

PROMPT = {"id": "a", "prompt": "Write a line to jo@example.org."}
T = TypeVar("T")


class Tracer:
    """Notes the files below ``package`` in which a function starts, in all threads."""

    def __init__(self, package: str) -> None:
        self._package, self._files = f"{package}/", set[str]()
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(self._package) and code.co_flags & inspect.CO_OPTIMIZED:
            self._files.add(code.co_filename.removeprefix(self._package))

    async def files_of(self, work: Coroutine[Any, Any, T]) -> tuple[T, set[str]]:
        self._files.clear()
        return await work, set(self._files)


async def job(tracer: Tracer, mill: Mill) -> list[set[str]]:
    """Return the files of planning, of the chunk, and of joining."""
    planned, files = await tracer.files_of(mill.plan(mill.drop("inbox/r/a.jsonl", json.dumps(PROMPT).encode())))
    steps = [files]
    while mill.queue.waiting:
        steps.append((await tracer.files_of(mill.deliver(mill.queue.waiting.pop(0))))[1])
    counts = mill.job(planned.job_id).counts
    if (counts.answered, len(steps)) != (1, 3):
        raise RuntimeError(f"not answered: {counts}")
    return steps


async def trace(tracer: Tracer) -> dict[str, set[str]]:
    in_memory = await job(tracer, Mill(recipe()))
    async with server.FakeProvider(openai.OpenAi()) as fake:
        route = structs.replace(recipe().routes[0], base_url=f"{fake.url}/v1", key="openai-key")
        redacting = recipe(routes=(route,), redact=structs.replace(recipe().redact, types=ALL_TYPES))
        providers = make_providers(local_settings())
        over_http = await job(tracer, Mill(redacting, models=providers))
        asked, request = await tracer.files_of(Mill(redacting, models=providers).ask(PROMPT | {"recipe": "r"}))
        await providers.close()
    if asked.verdict != "answered" or asked.code != "ok":
        raise RuntimeError(f"not answered: {asked}")
    whole = {"job_in_memory": set[str]().union(*in_memory), "whole_job": set[str]().union(*over_http)}
    return whole | {"chunk_to_answer": over_http[1], "request": request}


async def main() -> None:
    tracer = Tracer(sys.argv[1])
    await trace(tracer)
    found = await trace(tracer)
    sys.setprofile(None)
    sys.stdout.write(json.dumps({way: sorted(files) for way, files in found.items()}))


if __name__ == "__main__":
    asyncio.run(main())
