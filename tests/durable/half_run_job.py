"""A job of five chunks, each of which is somewhere else when the code is replaced.

Chunk 0 has ended. Chunk 1 lost three workers. Chunk 2 is decided and has no result. Chunk 3 was given back because of
a pause. Chunk 4 has a worker in the middle of a call.
"""

from __future__ import annotations

import asyncio
import json

import msgspec

from tests.durable import product
from tests.durable.deployment import Deployment, until
from tests.durable.models import Call, Killed, ScriptedModels, Step, dies, raises
from tests.durable.state import State, read_state

RECIPE = b"""
routes:
  - model: openai/gpt-6-luna
    key: promptmill/openai
    in_flight: 1
    attempts: 2
    price: {input_usd_per_mtok: "0.01", output_usd_per_mtok: "0.02"}
    body: {service_tier: flex}
    wire: {max_tokens: max_completion_tokens}
  - {model: anthropic/claude-haiku-5-5, key: promptmill/anthropic, in_flight: 1, attempts: 2}
max_output_tokens: 200
system: "Be brief."
prompt: "Say what this is: {{ text }}"
redact:
  types: all
  restore: true
  salt: pepper
  actions: {iban: hash}
  patterns: [{name: ticket, pattern: "T-[0-9]{5}"}]
budget: {per_job_usd: "1.00", per_day_usd: "2.00", when_day_spent: stop}
give_up_after: 48h
"""
LIMITS = b"""
limits: [{models: [openai/gpt-6-luna], requests_per_minute: 60000, tokens_per_minute: 60000000}]
"""
FILE = "inbox/reviews/2026/half run.jsonl"
SPARE = "anthropic/claude-haiku-5-5@promptmill/anthropic"
GROUP = "openai/gpt-6-luna@promptmill/openai"
AGAIN: dict[str, int] = {"b3": 1, "b4": 1, "d2": 1, "d3": 1, "d4": 1, "e2": 1, "e3": 1, "e4": 1}


def begin(on: Deployment) -> State:
    on.put("recipes/reviews.yaml", RECIPE)
    on.put("recipes/_limits.yaml", LIMITS)
    on.drop(FILE, b"".join(map(_lines, "abcde")))
    on.work_on(on.take("uploads"), on.process("planner"))
    _let_no_worker_carry_on(on)
    _end_a_chunk(on)
    _lose_three_workers(on)
    _decide_and_die(on)
    _give_back_in_a_pause(on)
    return _be_in_the_middle(on)


def carry_on(on: Deployment) -> ScriptedModels:
    process = on.process("successor")
    services = process.services
    services.run(services.switches.unpause("*"))
    on.pump(process)
    return process.models


def _lines(chunk: str) -> bytes:
    """Return the five records of a chunk. The first has something to hide."""
    hidden = f"case {chunk}0, by anna@example.com, invents, about T-12345 and DE89370400440532013000"
    prompts = [hidden, *(f"case {chunk}{n}" for n in range(1, 5))]
    return b"".join(json.dumps({"id": prompt[5:7], "prompt": prompt}).encode() + b"\n" for prompt in prompts)


def _let_no_worker_carry_on(on: Deployment) -> None:
    """Let another job wait for the limit that this one uses, so that a worker takes one chunk only."""
    now, process = on.clock.now().timestamp(), on.process("neighbour")
    product.fill_limit_group("openai/gpt-6-sol@promptmill/openai", process.services, now=now)
    groups = product.limit_groups(process.services)
    process.services.run(groups.wait(GROUP, "another.1", until=now + 25.0))


def _run(
    on: Deployment, chunk: int, name: str, script: dict[str, list[Step]] | None = None, *, wanted: str = ""
) -> None:
    """Deliver a message of a chunk to a new process. ``wanted``: what the message says beside the chunk."""
    process = on.process(name, ScriptedModels(script))
    on.work_on(on.take("chunks", f'"chunk":{chunk},', wanted), process)


def _end_a_chunk(on: Deployment) -> None:
    """One record is refused, and the spare route is closed; another one needs two tries."""
    closed = product.RouteClosedError("quota_exceeded", "no money", status=429)
    refused = product.RecordRefusedError("content_filter", "the prompt is not liked", status=400, request_id="no-1")
    busy = product.RetryLaterError("overloaded", status=529, usage_unknown=True, retry_after_s=0.01)

    async def is_busy_then(_: Call) -> None:
        on.clock.advance(1.0)
        await until(lambda: f"LIMIT#{SPARE}" in {item["pk"]["S"] for item in on.items("jobs")})
        raise busy

    _run(on, 0, "worker-a", {"a1": [raises(refused), raises(closed)], "a2": [is_busy_then]})


def _lose_three_workers(on: Deployment) -> None:
    """The first dies after a page, the second is taken for dead and narrows, the third dies trying one record alone."""

    async def page_then_death(call: Call) -> None:
        on.clock.advance(2.0)
        await until(lambda: any("/journals/00000001/" in key for key in on.object_keys("work/")))
        await dies(call)

    async def is_overtaken(_: Call) -> None:
        on.waiting.append(msgspec.structs.replace(on.under_way[0]))
        await asyncio.to_thread(_run, on, 1, "worker-d")
        await asyncio.to_thread(_run, on, 1, "worker-d", {"b3": [dies]})

    _run(on, 1, "worker-b", {"b1": [page_then_death]})
    _run(on, 1, "worker-c")
    _run(on, 1, "worker-c", {"b2": [is_overtaken]})


def _decide_and_die(on: Deployment) -> None:
    """The verdict and the charges are written, the result is not."""

    def kill(write: str) -> None:
        if write.endswith("/chunks/00000002"):
            raise Killed

    on.before_write = kill
    _run(on, 2, "worker-e")
    on.before_write = lambda _: None


def _give_back_in_a_pause(on: Deployment) -> None:
    """A duplicate of the first message finds that the chunk was given back, and looks again later.

    A second worker wrote an intent so slowly that it did not dare to make the call, and gave the chunk back as well.
    """
    operator = on.process("operator")
    switches = operator.services.switches

    async def is_paused(_: Call) -> None:
        await switches.pause("reviews", by="ops", at="2026-11-22T12:05:00.000Z")
        on.clock.advance(6.0)

    first = on.take("chunks", '"chunk":3,')
    on.waiting.append(first)
    _run(on, 3, "worker-f", {"d1": [is_paused]})
    operator.services.run(switches.unpause("reviews"))
    on.send("chunks", first.body)
    _run(on, 3, "worker-g", wanted='"after":0')
    on.before_write = lambda write: on.clock.advance(121.0 if "INTENTS#000002#" in write else 0.0)
    _run(on, 3, "worker-i", wanted='"after":1,"aside":false')
    on.before_write = lambda _: None


def _be_in_the_middle(on: Deployment) -> State:
    """A heartbeat has told how far the chunk is; then everything is paused."""
    found: list[State] = []
    operator = on.process("operator")

    async def is_updated(call: Call) -> None:
        on.clock.advance(21.0)
        await until(lambda: any("#LIVE#" in item["sk"]["S"] for item in on.items("jobs")))
        await operator.services.switches.pause("*", by="ops", at="2026-11-22T12:06:00.000Z")
        found.append(read_state(on))
        await dies(call)

    _run(on, 4, "worker-h", {"e2": [is_updated]})
    return found[0]
