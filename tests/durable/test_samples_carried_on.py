"""Today's code carries on what was under way before an update, to the end that it would have had without one."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from promptmill.domain.layout import VERSION_FIELD
from tests.durable.conftest import Carry
from tests.durable.deployment import deployed
from tests.durable.kinds import CHARGES_ITEMS
from tests.durable.samples import CARRIED_ON, all_samples
from tests.durable.situations import SITUATIONS, Situation
from tests.durable.state import State, Thing, load_state, place_of, read_state

Lines = list[dict[str, Any]]
every_situation = pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)


def named(name: str) -> Situation:
    return next(each for each in SITUATIONS if each.name == name)


@every_situation
def test_nothing_that_has_its_answer_is_asked_about_again(situation: Situation, carry: Carry) -> None:
    assert carry(situation).asked == situation.again


@every_situation
def test_charges_are_those_that_the_code_before_would_have_made(situation: Situation, carry: Carry) -> None:
    """The sample holds those made before the update, and those that the code before it went on to make."""
    samples = all_samples()
    expected = charges(samples[situation.name]) | charges(samples.get(CARRIED_ON.format(situation.name), {}))
    ended = charges(carry(situation).ended)
    if situation.name == "requests":  # those that nobody had begun have the names that later code gives them
        assert without_names(ended) == without_names(expected)
    else:
        assert ended == expected


def without_names(found: dict[str, Thing]) -> tuple[list[str], Counter[str]]:
    """Return charges without the digests that name requests, and totals by day whatever part they are kept in."""
    totals: Counter[str] = Counter()
    texts = []
    for place, thing in found.items():
        if place.startswith("DAY#"):
            for name, value in thing.items():
                totals[f"{place.rpartition('#')[0]} {name}"] += Decimal(value.get("N", "0"))  # type: ignore[assignment]
        else:
            texts.append(re.sub(r"[0-9a-f]{64}", "", json.dumps(thing, sort_keys=True)))
    return sorted(texts), totals


def charges(state: State) -> dict[str, Thing]:
    """Return charges, narrowings and totals by their place, without the version that later code stores with them."""
    found = (thing for kind in CHARGES_ITEMS for thing in state.get(kind, []))
    return {place_of(thing): {name: value for name, value in thing.items() if name != VERSION_FIELD} for thing in found}


@every_situation
def test_money_that_was_held_is_spent_or_given_back(situation: Situation, carry: Carry) -> None:
    ended = carry(situation).ended
    assert all(thing["holders"] == {"N": "0"} for thing in ended.get("budget", []))
    assert all(claim["verdict"]["M"]["kind"]["S"] in ("completed", "stopped") for claim in ended.get("claim", []))


@every_situation
def test_no_message_is_left_and_no_run_is_open(situation: Situation, carry: Carry) -> None:
    ended = carry(situation).ended
    internal = ("plan_message", "chunk_message", "finish_message", "request_message")
    assert not [thing for kind in internal for thing in ended.get(kind, []) if thing.get("waits")]
    assert not [run["state"]["S"] for run in ended.get("run", []) if "open" in run]


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("half-run job", ["DONE"]),
        ("job that is planned", ["DONE"]),
        ("staged files", ["DONE", "DONE", "DONE", "REJECTED"]),
        ("duplicate", ["DONE", "DONE"]),
        ("rerun", ["DONE", "DONE"]),
        ("cancelled job", ["CANCELLED"]),
        ("job that is being joined", ["DONE"]),
    ],
)
def test_every_run_ends_as_it_should(name: str, runs: list[str], carry: Carry) -> None:
    assert sorted(run["state"]["S"] for run in carry(named(name)).ended["run"]) == runs


def test_each_record_of_the_half_run_job_has_one_outcome(carry: Carry) -> None:
    lines = results(carry(named("half-run job")).ended, "half run.jsonl")
    assert [line["id"] for line in lines] == [f"{chunk}{n}" for chunk in "abcde" for n in range(5)]
    assert [line["id"] for line in lines if line["status"] != "answered"] == ["a1"]
    assert lines[5]["answer"] == "Answer to b0 anna@example.com T-12345 DE89370400440532013000 <EMAIL_77>."


def test_every_call_of_the_half_run_job_stands_in_its_attempts(carry: Carry) -> None:
    """The calls of lost workers do too. Chunk 0 is left out: it was over, and the sample holds no intents of it."""
    ended = carry(named("half-run job")).ended
    found = [line["call_id"] for line in sections(ended, "attempts", "half run.jsonl")]
    own = [call for call in found if ".1.0." not in call]
    assert len(set(found)) == len(found)
    assert sorted(own) == sorted(intended_calls(ended) - calls_never_made(ended))


def intended_calls(state: State) -> set[str]:
    return {
        f"{item['pk']['S'].removeprefix('UNIT#')}.{item['epoch']['N']}.{sequence}"
        for item in state["intents"]
        for sequence, *_ in item["intents"]["B"]["packed"][1]
    }


def calls_never_made(state: State) -> set[str]:
    """Return the calls that journals call void. A journal's key names its run, chunk and epoch."""
    found = set()
    for thing in state["chunk_journal"]:
        _, job, run, _, chunk, epoch, _ = thing["key"].split("/")
        voids = thing["packed"][2] if thing["packed"][0] == "page" else []
        found |= {f"{job}.{int(run)}.{int(chunk)}.{int(epoch)}.{void}" for void in voids}
    return found


def test_a_rerun_keeps_the_answers_of_the_run_before(carry: Carry) -> None:
    ended = carry(named("rerun")).ended
    last = [thing for thing in ended["results"] if "/run-2/" in thing["key"]]
    lines = results({"results": last}, "rerun.jsonl")
    assert [(line["id"], line["status"]) for line in lines] == [(f"w{n}", "answered") for n in range(1, 8)]
    asked = {line["id"] for line in lines if line["route"] == "openai/gpt-6-sol"}
    assert asked == {"w2", "w6"}


def test_what_was_answered_before_a_cancellation_is_kept(carry: Carry) -> None:
    lines = results(carry(named("cancelled job")).ended, "cancelled.jsonl")
    assert [(line["id"], line["status"]) for line in lines] == [
        ("x1", "answered"),
        ("x2", "stopped"),
        ("x3", "stopped"),
    ]


@pytest.mark.parametrize(
    ("name", "file", "ids"),
    [
        ("job that is being joined", "joined.jsonl", [f"j{n}" for n in range(1, 12)]),
        ("job that is planned", "planned.jsonl", ["p1", "p2"]),
        ("staged files", "packed.jsonl.gz", ["g1"]),
        ("duplicate", "second.jsonl", ["q1"]),
    ],
)
def test_every_record_has_its_answer_in_its_place(name: str, file: str, ids: list[str], carry: Carry) -> None:
    lines = results(carry(named(name)).ended, file)
    assert [(line["id"], line["status"]) for line in lines] == [(each, "answered") for each in ids]


def results(state: State, file: str) -> Lines:
    return sections(state, "results", file)


def sections(state: State, kind: str, file: str) -> Lines:
    """Return the lines of a job's file."""
    (found,) = (thing for thing in state[kind] if f"/{file}/" in thing["key"])
    return [json.loads(line) for line in found["lines"]]


def test_every_request_gets_its_reply(carry: Carry) -> None:
    """A crash may repeat a reply. Each is the one that is stored with the answer, where there is an answer."""
    carried = carry(named("requests"))
    replies = [thing["json"] for thing in carried.ended["reply"]]
    copies = {thing["json"]["prompt"]: thing for thing in carried.begun["request_message"] if "attributes" in thing}
    r2 = copies["case r2"]["attributes"]["promptmill_id"]["StringValue"]
    answered = {reply["id"]: reply for reply in replies if reply["status"] == "answered"}
    assert set(answered) == {"r1", r2, "r3", "r4", "r5", "r9", "r10", "r11"}
    stored = {thing["json"]["reply"]["id"]: thing["json"]["reply"] for thing in carried.ended["answer"]}
    assert {name: stored[name] for name in answered} == answered
    assert [reply["error"]["code"] for reply in replies if reply["status"] == "failed"] == ["id_reused"]


def test_a_dead_letter_of_the_code_before_starts_its_chunk_again(carry: Carry) -> None:
    """Every message of the half-run job was delivered too often. Its chunks get further epochs; the totals stay."""
    situation = named("half-run job")
    with deployed() as stack:
        load_state(all_samples()[situation.name], stack)
        settler = stack.process("settler")
        for message in [each for each in stack.waiting if each.queue == "chunks"]:
            stack.waiting.remove(message)
            message.queue = "chunks-dead-letters"
            assert settler.invoke("settle_dead_letter", {"Records": [message.as_record()]}) == {"batchItemFailures": []}
        stack.collect()
        assert situation.carry_on(stack).asked == situation.again
        assert read_state(stack)["day_total"] == carry(situation).ended["day_total"]
