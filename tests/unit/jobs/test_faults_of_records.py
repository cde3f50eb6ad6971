"""A job of 500 in which a few records are refused, and every other one is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest, Text, Usage
from promptmill.domain.job import JobState
from promptmill.domain.recipe import Recipe, Route
from promptmill.providers.openai import error_of
from promptmill.wire.http_answer import HttpAnswer
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels

RECIPE = Recipe("t", "v", routes=(Route("openai/m", "openai", "m"),))


class Refusing(FakeModels):
    """A provider that answers some records as a real one was seen to, each time or once."""

    def __init__(self, mill: Mill, replies: Mapping[int, tuple[int, Any, dict[str, str]]], *, once: bool) -> None:
        super().__init__()
        self._mill, self._replies, self._once = mill, dict(replies), once

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        await super().complete(route, request, call_id=call_id)
        await self._mill.clock.sleep(0.5)
        part = request.messages[0].parts[0]
        assert isinstance(part, Text)
        number = int(part.text.split()[-1])
        if number in self._replies:
            status, body, headers = self._replies.pop(number) if self._once else self._replies[number]
            answer = HttpAnswer(status, headers, msgspec.json.encode(body))
            raise error_of(answer, body, now=self._mill.clock.now())
        return Completion(f"{number}", "stop", Usage(input_total=9, output_total=1), model="m")


async def outcomes_with(
    replies: Mapping[int, tuple[int, Any, dict[str, str]]], *, once: bool = False
) -> tuple[Counter[str], Mill]:
    mill = Mill(RECIPE)
    mill.models = Refusing(mill, replies, once=once)
    job = await mill.mill("inbox/t/a.jsonl", jsonl({"id": n, "prompt": f"Record {n}"} for n in range(500)))
    assert job.state is JobState.DONE
    return Counter(line.get("error", {}).get("code", line["status"]) for line in mill.lines(job, "results")), mill


def says(message: str, code: Any = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "code": code}}


async def test_one_moderated_record() -> None:
    flagged = says("Your chosen model requires moderation and your input was flagged", 403)

    assert (await outcomes_with({7: (403, flagged, {})}))[0] == {"answered": 499, "http_403": 1}


async def test_one_file_that_is_gone() -> None:
    gone = says("File not found: file_gone", "not_found")

    assert (await outcomes_with({123: (404, gone, {})}))[0] == {"answered": 499, "not_found": 1}


async def test_one_page_of_a_firewall() -> None:
    page = "<html><title>Blocked</title></html>"

    assert (await outcomes_with({0: (403, page, {})}))[0] == {"answered": 499, "http_403": 1}


async def test_one_spurious_refusal_of_the_key() -> None:
    assert (await outcomes_with({50: (401, says("Unauthorized"), {})}, once=True))[0] == {"answered": 500}


async def test_one_retry_after_of_a_day() -> None:
    wait = says("Please retry after 86400 seconds.", "429")

    found, mill = await outcomes_with({50: (429, wait, {"retry-after": "86400"})}, once=True)

    assert found == {"answered": 500}
    assert 900 in [delay for _, delay in mill.queue.sent]


async def test_five_records_too_large_for_the_limit_slow_nobody() -> None:
    large = says(
        "Request too large for m on tokens per min (TPM): Limit 30000, Requested 36055.", "rate_limit_exceeded"
    )

    found, mill = await outcomes_with({n: (429, large, {}) for n in range(1, 6)})

    assert found == {"answered": 495, "request_too_large_for_limit": 5}
    assert isinstance(mill.models, Refusing)
    assert len(mill.models.calls) == 500
