"""Jobs that are planned, staged, waiting for a word, run again, cancelled or joined when the code is replaced."""

from __future__ import annotations

import gzip
import json

from tests.durable import product
from tests.durable.deployment import Deployment, until
from tests.durable.models import Call, Killed, ScriptedModels, dies, raises
from tests.durable.state import State, read_state

RECIPE = b"""
routes: [{model: openai/gpt-6-luna, key: promptmill/openai, in_flight: 1, attempts: 1}]
redact: {types: [email]}
"""
WITH_A_SPARE = RECIPE.replace(
    b"]", b", {model: openai/gpt-6-sol, key: promptmill/openai, in_flight: 1, attempts: 1}]", 1
)


def begin_planning(on: Deployment) -> State:
    """The planner died before it wrote the manifest, and the sweep has sent for another one."""

    def kill(write: str) -> None:
        if write.endswith("/manifest.json"):
            raise Killed

    _drop(on, "planned.jsonl", "p1", "p2")
    on.before_write = kill
    on.work_on(on.take("uploads"), on.process("planner"))
    on.before_write = lambda _: None
    on.clock.advance(660.0)
    on.process("sweeper").invoke("sweep", {})
    on.collect()
    return read_state(on)


def begin_staged(on: Deployment) -> State:
    """Three files were unpacked, transcoded or taken apart, and wait for their first worker; a fourth was rejected."""
    on.put("recipes/plain.yaml", RECIPE)
    on.drop("inbox/plain/packed.jsonl.gz", gzip.compress(_lines("g1"), mtime=0))
    on.drop("inbox/plain/table.csv", "id;prompt\r\nu1;case u1, naïve\r\n".encode("utf-16"))
    asked = {"model": "claude-haiku-5-5", "max_tokens": 99, "messages": [{"role": "user", "content": "case d1"}]}
    document = {"requests": [{"custom_id": "d1", "params": asked}]}
    on.drop("inbox/plain/document.json", json.dumps(document).encode())
    on.drop("inbox/unheard-of/file.jsonl", _lines("n1"))
    on.pump(on.process("planner"), "uploads")
    return read_state(on)


def begin_duplicate(on: Deployment) -> State:
    """The same bytes were dropped twice, and somebody has said again."""
    _drop(on, "first.jsonl", "q1")
    process = on.process("worker")
    on.pump(process)
    _drop(on, "second.jsonl", "q1")
    on.pump(process)
    (waiting,) = (item["job_id"]["S"] for item in on.items("jobs") if item.get("state") == {"S": "DUPLICATE"})
    product.again(waiting, process.services)
    on.collect()
    return read_state(on)


def begin_rerun(on: Deployment) -> State:
    """Two records of a job have failed, one in each chunk, and a second run has begun with another route."""
    refused = product.RecordRefusedError("content_filter", "not liked", status=400)
    _drop(on, "rerun.jsonl", *(f"w{n}" for n in range(1, 8)))
    first = on.process("worker", ScriptedModels({"w2": [raises(refused)], "w6": [raises(refused)]}))
    on.pump(first)
    on.put("recipes/plain.yaml", WITH_A_SPARE)
    second = on.process("second")
    product.resume(_job(on), second.services, route="openai/gpt-6-sol")
    on.pump(second, "uploads")
    return read_state(on)


def begin_cancelled(on: Deployment) -> State:
    """A worker died in the middle of a job, which was then cancelled."""

    async def page_then_death(call: Call) -> None:
        on.clock.advance(2.0)
        await until(lambda: any("/journals/" in key for key in on.object_keys("work/")))
        await dies(call)

    _drop(on, "cancelled.jsonl", "x1", "x2", "x3")
    process = on.process("worker", ScriptedModels({"x2": [page_then_death]}))
    on.work_on(on.take("uploads"), process)
    on.work_on(on.take("chunks"), process)
    operator = on.process("operator")
    product.cancel(_job(on), operator.services)
    on.collect()
    return read_state(on)


def begin_joining(on: Deployment) -> State:
    """Every chunk has its result, and one of two segments is joined."""
    on.chunks_a_segment = 2
    _drop(on, "joined.jsonl", *(f"j{n}" for n in range(1, 12)))
    process = on.process("worker")
    on.pump(process, "uploads", "chunks")
    on.work_on(on.take("finish"), process)
    on.work_on(on.take("finish", '"segment":0'), process)
    return read_state(on)


def carry_on(on: Deployment) -> ScriptedModels:
    process = on.process("successor")
    on.pump(process)
    return process.models


def carry_on_joining(on: Deployment) -> ScriptedModels:
    on.chunks_a_segment = 2
    return carry_on(on)


def _drop(on: Deployment, name: str, *records: str) -> None:
    on.put("recipes/plain.yaml", RECIPE)
    on.drop(f"inbox/plain/{name}", _lines(*records))


def _lines(*records: str) -> bytes:
    return b"".join(json.dumps({"id": name, "prompt": f"case {name}"}).encode() + b"\n" for name in records)


def _job(on: Deployment) -> str:
    """Return the id of the only job."""
    (found,) = {str(item["job_id"]["S"]) for item in on.items("jobs") if "job_id" in item and "state" in item}
    return found
