"""Requests that are at different points of their way when the code is replaced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec

from tests.durable import product
from tests.durable.deployment import Deployment
from tests.durable.models import Call, Killed, ScriptedModels, Step, dies, raises
from tests.durable.state import State, read_state

RECIPE = b"""
routes: [{model: openai/gpt-6-luna, key: promptmill/openai, attempts: 1}]
redact: {types: [email]}
replies: [promptmill-dev-replies]
budget: {per_day_usd: "2.00"}
"""
REPLIES = "promptmill-dev-replies"
AGAIN = {"r10": 1, "r11": 1, "r2": 1, "r3": 1, "r9": 1}


def begin(on: Deployment) -> State:
    on.put("recipes/answers.yaml", RECIPE)
    on.put("requests/2026/r9.json", b'{"prompt": "case r9"}')
    for lead_to in (_known, _in_a_call, _overtaken, _between_two_steps, _refused, _paused):
        others, on.waiting = on.waiting, []
        lead_to(on)
        on.waiting += others
    return read_state(on)


def carry_on(on: Deployment) -> ScriptedModels:
    process = on.process("successor")
    process.services.run(process.services.switches.unpause("answers"))
    on.pump(process)
    return process.models


def _known(on: Deployment) -> None:
    """One comes a second time, as it was and with another body; one has an answer that is too large for a message."""
    for _ in range(2):
        _ask(on, "r1", prompt="case r1 by anna@example.com")
    _ask(on, "r8", prompt="case r8 at length")
    _publish(on, id="r1", prompt="case r1 by anna@example.com", reply_to=REPLIES)
    _publish(on, id="r1", prompt="case r1, in other words", reply_to=REPLIES)
    _publish(on, id="r9", body_key="requests/2026/r9.json", reply_to=REPLIES)
    on.collect()


def _in_a_call(on: Deployment) -> None:
    """One worker died of a request without an id, and three of another one, the last while it tried that one alone."""
    _publish(on, prompt="case r2", reply_to=REPLIES)
    _work(on, {"r2": [dies]})
    _work(on)
    copy = on.take("requests")
    _publish(on, id="r3", prompt="case r3", reply_to=REPLIES)
    _work(on, {"r3": [dies]})
    for _ in range(2):
        _work(on)
        _work(on, {"r3": [dies]})
    on.waiting.append(copy)


def _overtaken(on: Deployment) -> None:
    """A worker was taken for dead, and answered all the same."""

    async def is_overtaken(_: Call) -> None:
        on.waiting.append(msgspec.structs.replace(on.under_way[0]))
        await asyncio.to_thread(_work, on)
        await asyncio.to_thread(_work, on, {"r11": [dies]})

    _publish(on, id="r11", prompt="case r11", reply_to=REPLIES)
    _work(on, {"r11": [is_overtaken]})


def _between_two_steps(on: Deployment) -> None:
    """One is answered and not decided; one is decided and has no answer object."""
    _ask(on, "r4", dies_at=lambda write: "':verdict'" in write)
    decided, on.waiting = on.waiting, []
    _ask(on, "r5", dies_at=lambda write: write.startswith("answers/"))
    on.waiting += decided


def _refused(on: Deployment) -> None:
    """The provider refuses one, we refuse another, and the third is no request at all."""
    refused = product.RecordRefusedError("content_filter", "not liked", status=400)
    _ask(on, "r6", {"r6": [raises(refused)]})
    _ask(on, "r7", temperature="hot")
    _ask(on, "r12", expires_at="tomorrow")


def _paused(on: Deployment) -> None:
    operator = on.process("operator")
    operator.services.run(operator.services.switches.pause("answers", by="ops", at="2026-11-22T12:05:00.000Z"))
    _ask(on, "r10")


def _ask(
    on: Deployment,
    name: str,
    script: dict[str, list[Step]] | None = None,
    *,
    dies_at: Callable[[str], bool] = lambda _: False,
    **fields: Any,
) -> None:
    """Publish a request and let a process work on it, which dies before a certain write."""

    def kill(write: str) -> None:
        if dies_at(write):
            raise Killed

    _publish(on, **({"id": name, "prompt": f"case {name}", "reply_to": REPLIES} | fields))
    on.before_write = kill
    _work(on, script)
    on.before_write = lambda _: None


def _publish(on: Deployment, **fields: Any) -> None:
    on.send("requests", json.dumps({"recipe": "answers"} | fields))


def _work(on: Deployment, script: dict[str, list[Step]] | None = None) -> None:
    """Deliver the first request that waits."""
    process = on.process(f"worker-{len(on.sent)}", ScriptedModels(script))
    on.work_on(on.take("requests"), process)
