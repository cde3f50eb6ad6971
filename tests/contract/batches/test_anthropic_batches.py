"""What Anthropic's batches alone do: one large body, no label, and results that are kept for 29 days."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic as sdk
import msgspec
import pytest

from promptmill.domain.errors import RecordError
from promptmill.ports.batch_service import BatchOrder
from promptmill.providers.anthropic import VERDICTS
from promptmill.wire.batches.anthropic import read_line
from promptmill.wire.batches.lines import AnsweredLine, FailedLine
from tests.contract.batches.conftest import Bench, asking, opened
from tests.fakes.providers.anthropic import KEY


@pytest.fixture
async def anthropic() -> AsyncIterator[Bench]:
    async with opened("anthropic") as found:
        yield found


@pytest.mark.parametrize("block", [1, 7, 1000, 10**9])
async def test_lines_become_one_list_wherever_their_blocks_end(anthropic: Bench, block: int) -> None:
    whole = anthropic.order(7)
    data = b"".join([one async for one in whole.read()])

    async def read() -> AsyncIterator[bytes]:
        for at in range(0, len(data), block):
            yield data[at : at + block]
        yield b""

    await anthropic.send(BatchOrder(whole.label, whole.lines, whole.length, read))

    (seen,) = anthropic.fake.seen["create"]
    assert [line["custom_id"] for line in seen.json["requests"]] == list(anthropic.requests)
    assert seen.headers["content-length"] == str(len(seen.data))


async def test_results_that_were_archived_are_gone(anthropic: Bench) -> None:
    batch_id = await anthropic.send(anthropic.order(1))
    anthropic.fake.finish(batch_id)
    anthropic.fake.archive(batch_id)

    status = await anthropic.poll(batch_id)
    assert (status.state, status.said, status.files) == ("gone", "archived", ())


async def test_a_lost_batch_is_looked_for_by_time_and_size(anthropic: Bench) -> None:
    for lines, label in ((3, "a-1"), (4, "b-1"), (3, "c-1")):
        await anthropic.send(anthropic.order(lines, label=label))
        anthropic.clock.advance(3600)
    anthropic.started = anthropic.clock.now()
    await anthropic.send(anthropic.order(3, label="d-1"))
    anthropic.clock.advance(60)
    await anthropic.send(anthropic.order(3, label="e-1"))

    found = await anthropic.find(anthropic.order(3), "")
    assert [(batch.id, batch.proven, batch.lines) for batch in found] == [
        *(("msgbatch_4", False, 3), ("msgbatch_5", False, 3))
    ]


async def test_a_batch_may_hold_several_models(anthropic: Bench) -> None:
    other = msgspec.structs.replace(anthropic.route, model="claude-sonnet-5-5")
    lines = [
        anthropic.service.write_line(route, asking("Hi"), line_id=f"l-{place}")
        for place, route in enumerate((anthropic.route, other))
    ]
    read = await anthropic.run(anthropic.staged(lines))

    assert not (await anthropic.service.terms(other)).one_model
    assert {type(line) for line in read} == {AnsweredLine}


async def test_the_tier_of_each_answer_proves_its_price(anthropic: Bench) -> None:
    (line,) = await anthropic.run(anthropic.order(1))

    assert isinstance(line, AnsweredLine)
    completion = anthropic.service.read_answer(anthropic.route, anthropic.requests[line.id], line)
    assert completion.usage.service_tier == "batch"


def test_lines_as_others_have_seen_them() -> None:
    def errored(kind: str, message: str) -> dict[str, Any]:
        return {"type": "errored", "error": {"type": "error", "error": {"type": kind, "message": message}}}

    seen: list[tuple[dict[str, Any], str, str]] = [
        (errored("invalid_request_error", "messages: empty"), "refused", "invalid_request_error"),
        (errored("invalid_request_error", "prompt is too long: 9 > 8"), "refused", "context_length_exceeded"),
        (errored("invalid_request_error", "Your credit balance is too low"), "closes_route", "invalid_request_error"),
        (errored("rate_limit_error", ""), "retry", "rate_limit_error"),
        (errored("not_found_error", "model: m"), "closes_route", "not_found_error"),
        (errored("brand_new_error", ""), "retry", "brand_new_error"),
        ({"type": "canceled"}, "not_run", "canceled"),
        ({"type": "expired"}, "not_run", "expired"),
        ({"type": "brand_new"}, "retry", "brand_new"),
        ({"type": "succeeded"}, "retry", "succeeded"),
    ]
    for result, fault, code in seen:
        line = read_line(msgspec.json.encode({"custom_id": "l-1", "result": result}), VERDICTS)
        assert isinstance(line, FailedLine), result
        assert (line.fault, line.code) == (fault, code), result


async def test_what_goes_live_only_is_no_line(anthropic: Bench) -> None:
    route = msgspec.structs.replace(anthropic.route, body={"speed": "fast"})
    with pytest.raises(RecordError, match="speed: cannot be in a batch of Anthropic"):
        anthropic.service.write_line(route, asking("Hi"), line_id="l-1")


async def test_the_sdk_gets_along_with_the_fake(anthropic: Bench) -> None:
    anthropic.fake.fate_of = lambda place: ("answer", "refuse", "not_run")[place]
    params: Any = {"model": "claude-haiku-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
    async with sdk.AsyncAnthropic(
        api_key=KEY,
        base_url=anthropic.fake.url,
        max_retries=0,
        default_headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"},
    ) as client:
        made = await client.messages.batches.create(
            requests=[{"custom_id": f"l-{place}", "params": params} for place in range(3)]
        )
        assert (await client.messages.batches.cancel(made.id)).processing_status == "canceling"
        anthropic.fake.finish(made.id, "cancelled")
        batch = await client.messages.batches.retrieve(made.id)
        # The SDK follows the address that the batch names for its results.
        anthropic.fake.batches[made.id]["results_url"] = f"{anthropic.fake.url}/v1/messages/batches/{made.id}/results"
        results = [line async for line in await client.messages.batches.results(made.id)]
        listed = [one.id async for one in client.messages.batches.list()]
        await client.messages.batches.delete(made.id)

    assert anthropic.fake.wrong == []
    assert (batch.processing_status, batch.request_counts.succeeded, listed) == ("ended", 1, [made.id])
    assert sorted(line.result.type for line in results) == ["canceled", "errored", "succeeded"]
