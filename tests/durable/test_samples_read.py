"""Today's adapters read each item of the half-run job, even those that no worker reads on the way to its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import msgspec
import pytest

from tests.durable import product
from tests.durable.deployment import deployed
from tests.durable.samples import all_samples
from tests.durable.state import load_state

JOB = "20261122t120000z-8f9c1fa09c"
DAY = "2026-11-22"
NOW = 1795348800.0


class Reader:
    """Reads through the adapters of one process, and returns plain values."""

    def __init__(self, services: product.Services) -> None:
        self.services = services

    def one(self, work: Coroutine[Any, Any, Any]) -> Any:
        return msgspec.to_builtins(self.services.run(work))

    def every(self, found: AsyncIterator[Any]) -> list[Any]:
        async def read() -> list[Any]:
            return [each async for each in found]

        return list(self.one(read()))


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with deployed() as stack:
        load_state(all_samples()["half-run job"], stack)
        yield Reader(stack.process("reader").services)


def test_a_limit_group(reader: Reader) -> None:
    groups = product.limit_groups(reader.services)
    assert reader.one(groups.read("openai/gpt-6-sol@promptmill/openai")) == {
        "members": {"worker-y": ["another.1", NOW + 25.0, 1.25, 300.0, 0.5, True, 0.75, 0.0, 0.0, 0.0, 0.0]},
        "waiting": {"another.2": NOW + 25.0},
        "learnt": [1.5, 240.0, 0.25, 0.7, 0.0, 0.0, 0.0],
        "circuit": [NOW - 800.25, NOW + 20.0, 2],
        "estimate": None,
        "told": None,
        "in_flight": None,
    }
    unlimited = reader.one(groups.read("anthropic/claude-haiku-5-5@promptmill/anthropic"))
    assert unlimited["estimate"] == [5.0, NOW + 1.0, False, 0]


def test_a_run_and_its_progress(reader: Reader) -> None:
    jobs = reader.services.jobs
    run = reader.one(jobs.read(JOB, 1))
    assert (run["state"], run["recipe"], run["records"], run["chunks"]) == ("RUNNING", "reviews", 25, 5)
    assert run["source"]["key"] == "inbox/reviews/2026/half run.jsonl"
    assert run["closed_routes"] == {"anthropic/claude-haiku-5-5": "quota_exceeded"}
    assert run["waiting_for"].startswith("paused by ops")
    assert reader.one(jobs.read_window(JOB, 1)) == {"sent": 5, "drained": 3}
    progress = reader.one(jobs.read_progress(JOB, 1))
    assert (progress["answered"], progress["failed"], progress["nano_usd"]) == (6, 1, 16_800)
    assert reader.every(jobs.open_runs()) == [run]


def test_claims_and_intents(reader: Reader) -> None:
    units = reader.services.units
    claims = [reader.one(units.read(f"{JOB}.1.{chunk}")) for chunk in range(1, 5)]
    assert [(claim["epoch"], claim["released"], claim["holds"]) for claim in claims] == [
        (3, False, True),
        (1, False, False),
        (2, True, True),
        (1, False, True),
    ]
    assert (claims[0]["trying"], claims[0]["tries"], claims[0]["granted"], claims[0]["day"]) == (8, 1, 93_940, DAY)
    assert claims[1]["verdict"] == {"kind": "completed", "code": "", "unread": False}
    groups = reader.one(units.intents(f"{JOB}.1.1"))
    assert [(group["epoch"], group["day"], list(group["intents"])) for group in groups] == [
        (epoch, DAY, [[sequence, record, "openai/gpt-6-luna", high]])
        for epoch, sequence, record, high in (
            (1, 0, 5, 13_700),
            (1, 1, 6, 13_020),
            (2, 0, 6, 13_020),
            (2, 1, 7, 13_020),
            (3, 0, 6, 13_020),
            (3, 1, 7, 13_020),
            (3, 2, 8, 13_020),
        )
    ]


@pytest.mark.parametrize("key", [f"job#{JOB}", f"recipe#reviews#{DAY}", f"day#{DAY}"])
def test_a_budget(reader: Reader, key: str) -> None:
    assert reader.one(reader.services.units.budget(key)) == {"granted": 244_640, "holders": 3}


def test_a_pause(reader: Reader) -> None:
    found = reader.one(reader.services.switches.paused())
    assert found == {"*": {"by": "ops", "at": "2026-11-22T12:06:00.000Z"}}


def test_charges_narrowings_and_totals(reader: Reader) -> None:
    ledger = reader.services.ledger
    charges = reader.every(ledger.charges_of(JOB))
    assert [(charge["unit"], charge["nano_usd"], charge["high_nano_usd"]) for charge in charges] == [
        (f"{JOB}.1.0", 0, 0),
        (f"{JOB}.1.0", 11_200, 24_220),
        (f"{JOB}.1.2", 14_000, 14_000),
    ]
    narrowings = reader.every(ledger.narrowings_of(JOB))
    assert [(each["call_id"], each["nano_usd"], each["high"]) for each in narrowings] == [
        (f"{JOB}.1.1.2.0", 2_800, 13_020),
        (f"{JOB}.1.1.2.1", 2_800, 13_020),
    ]
    least = sum(each["nano_usd"] for each in (*charges, *narrowings))
    by_name = [ledger.spending("day", DAY), ledger.spending("recipe", "reviews")]
    by_name.append(ledger.spending("model", "openai/gpt-6-luna"))
    assert [sum(each["nano_usd"] for each in reader.every(found)) for found in by_name] == [least] * 3
