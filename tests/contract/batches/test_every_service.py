"""What holds for every batch service: the whole life of a batch, and what goes wrong in it."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from promptmill.domain.errors import MissingObjectError, RetryLaterError, RouteClosedError
from promptmill.ports.batch_service import Created, Refused, Unknown
from promptmill.providers.batches import calls
from promptmill.wire.batches.lines import AnsweredLine, FailedLine
from tests.contract.batches.conftest import Bench, asking, opened
from tests.contract.batches.scenes import SCENES
from tests.fakes.batches.fates import some
from tests.fakes.batches.server import Cut, Dropped, Hangs, Lost, Says

REFUSALS = [
    pytest.param(name, says, kind, id=f"{name}-{says.status}-{place}")
    for name, scene in SCENES.items()
    for place, (says, kind) in enumerate(scene.refusals)
]


async def test_the_whole_life_of_a_batch(bench: Bench) -> None:
    order = bench.order(5)
    upload = await bench.service.upload(bench.route, order)
    created = await bench.service.create(bench.route, order, upload)
    assert isinstance(created, Created)
    first, second = [await bench.poll(created.id) for _ in range(2)]
    assert not first.has_ended
    assert not second.has_ended

    bench.fake.finish(created.id)
    status = await bench.poll(created.id)
    assert (status.state, status.has_ended) == ("completed", True)
    read = await bench.read(order, status)

    assert bench.fake.wrong == []
    assert bool(upload) == bench.scene.has_uploads
    assert sorted(line.id for line in read) == sorted(bench.requests)
    for line in read:
        assert isinstance(line, AnsweredLine)
        completion = bench.service.read_answer(bench.route, bench.requests[line.id], line)
        assert completion.text == f"Answer to {line.id}."
        assert (completion.usage.input_total, completion.usage.output_total) == (21, 9)

    await bench.service.delete(bench.route, upload, status)
    await bench.service.delete(bench.route, upload, status)


async def test_a_create_whose_answer_is_lost_is_found_and_never_sent_again(bench: Bench) -> None:
    await bench.send(bench.order(3, label="another-1"))
    order = bench.order(4)
    upload = await bench.service.upload(bench.route, order)
    bench.fake.will("create", Lost())

    assert isinstance(await bench.service.create(bench.route, order, upload), Unknown)

    found = await bench.find(order, upload)
    proven = bench.scene.proof != "none"
    assert [batch.proven for batch in found] == [proven] * len(found)
    assert [batch.id for batch in found] == list(bench.fake.batches)[1:]
    assert len(bench.fake.seen["create"]) == 2


async def test_a_create_that_never_arrived_is_unknown_as_well(bench: Bench) -> None:
    order = bench.order()
    upload = await bench.service.upload(bench.route, order)
    bench.fake.will("create", Dropped())

    assert isinstance(await bench.service.create(bench.route, order, upload), Unknown)
    assert await bench.find(order, upload) == ()
    assert len(bench.fake.seen["create"]) == 1


@pytest.mark.parametrize("done", [True, False])
async def test_a_create_that_is_not_answered_in_time_is_unknown(
    bench: Bench, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = bench.order()
    upload = await bench.service.upload(bench.route, order)
    monkeypatch.setattr(calls, "CALL_S", 0.2)
    bench.fake.will("create", Hangs(done))

    assert await bench.service.create(bench.route, order, upload) == Unknown("timeout")
    monkeypatch.undo()
    assert len(await bench.find(order, upload)) == done
    assert len(bench.fake.seen["create"]) == 1


@pytest.mark.parametrize(
    "says",
    [
        *(Says(status, {"error": {"message": "on purpose"}}) for status in (500, 502, 503, 504, 408, 409, 302)),
        Says(200, b"<html>"),
        Says(200, {}),
        Says(200, []),
        Says(204, b""),
    ],
    ids=lambda says: f"{says.status}-{says.body!r}"[:20],
)
async def test_an_answer_that_proves_nothing_is_unknown(bench: Bench, says: Says) -> None:
    order = bench.order()
    upload = await bench.service.upload(bench.route, order)
    bench.fake.will("create", says)

    assert isinstance(await bench.service.create(bench.route, order, upload), Unknown)
    assert len(bench.fake.seen["create"]) == 1


@pytest.mark.parametrize(("name", "says", "kind"), REFUSALS)
async def test_a_clear_refusal_says_that_there_is_no_batch_and_why(name: str, says: Says, kind: str) -> None:
    async with opened(name) as bench:
        order = bench.order()
        upload = await bench.service.upload(bench.route, order)
        bench.fake.will("create", says)

        refused = await bench.service.create(bench.route, order, upload)

    assert isinstance(refused, Refused), refused
    assert (refused.kind, len(bench.fake.seen["create"])) == (kind, 1), refused


async def test_a_service_that_cannot_be_reached_has_no_batch(bench: Bench) -> None:
    order = bench.order()
    upload = await bench.service.upload(bench.route, order)
    away = msgspec.structs.replace(bench.route, base_url="http://127.0.0.1:1/v1")
    barred = msgspec.structs.replace(bench.route, base_url="http://10.0.0.1/v1")

    for route, kind in ((away, "unavailable"), (barred, "route_closed")):
        refused = await bench.service.create(route, order, upload)
        assert isinstance(refused, Refused)
        assert refused.kind == kind


async def test_how_long_a_full_service_wants_us_to_wait_is_told(bench: Bench) -> None:
    order = bench.order()
    upload = await bench.service.upload(bench.route, order)
    bench.fake.will("create", Says(429, {"error": {"message": "on purpose"}}, {"Retry-After": "17"}))

    refused = await bench.service.create(bench.route, order, upload)

    assert isinstance(refused, Refused)
    assert (refused.kind, refused.retry_after_s) in (("unavailable", 17), ("queue_full", 17))


async def test_a_list_may_lag(bench: Bench) -> None:
    order = bench.order()
    upload = await bench.service.upload(bench.route, order)
    bench.fake.lag_s = 60
    bench.fake.will("create", Lost())
    await bench.service.create(bench.route, order, upload)

    assert await bench.find(order, upload) == ()
    bench.clock.advance(61)
    assert len(await bench.find(order, upload)) == 1


async def test_a_lost_batch_is_found_behind_many_others(bench: Bench) -> None:
    order = bench.order()
    mine = await bench.service.upload(bench.route, order)
    bench.fake.will("create", Lost())
    await bench.service.create(bench.route, order, mine)
    other = bench.order(1, label="another-1")
    upload = await bench.service.upload(bench.route, other)
    for _ in range(120):
        await bench.service.create(bench.route, other, upload)

    assert [batch.id for batch in await bench.find(order, mine)] == list(bench.fake.batches)[:1]


async def test_a_batch_ended_by_time_keeps_what_it_has(bench: Bench) -> None:
    bench.fake.fate_of = some(not_run_from=6)
    read = await bench.run(bench.order(10), ending="expired")

    assert bench.status is not None
    assert bench.status.state in ("expired", "completed")
    answered = [line for line in read if isinstance(line, AnsweredLine)]
    not_run = [line for line in read if isinstance(line, FailedLine) and line.fault == "not_run"]
    assert len(answered) == 6
    assert len(not_run) in (4, 0)
    assert not any(line.may_cost for line in not_run)


async def test_a_cancelled_batch_keeps_what_it_has(bench: Bench) -> None:
    bench.fake.fate_of = some(not_run_from=6)
    order = bench.order(10)
    batch_id = await bench.send(order)
    await bench.poll(batch_id)
    await bench.service.cancel(bench.route, batch_id)
    assert not (await bench.poll(batch_id)).has_ended
    bench.fake.finish(batch_id, "cancelled")
    status = await bench.poll(batch_id)

    assert status.state in ("cancelled", "completed")
    read = await bench.read(order, status)
    assert sum(isinstance(line, AnsweredLine) for line in read) == 6
    await bench.service.cancel(bench.route, batch_id)
    assert await bench.poll(batch_id) == status


async def test_twelve_hundred_lines_with_everything_that_happens_to_lines(bench: Bench) -> None:
    bench.fake.fate_of = some(errors=3, missing=2, doubled=1)
    read = await bench.run(bench.order(1200))

    assert bench.fake.wrong == []
    told = Counter(line.id for line in read)
    assert (len(told), sum(number == 2 for number in told.values())) == (1176, 12)
    failed = [line for line in read if isinstance(line, FailedLine)]
    assert [line.fault for line in failed] == ["refused"] * 36
    assert sum(isinstance(line, AnsweredLine) for line in read) == 1152


async def test_faults_of_lines_are_told_apart(bench: Bench) -> None:
    fates = ["refuse", "overload", "no_money", "zero", "answer"]
    bench.fake.fate_of = lambda place: fates[place]
    read = {line.id: line for line in await bench.run(bench.order(5))}

    by_place = [read[f"s-1-k7-0-{place}"] for place in range(5)]
    assert [getattr(line, "fault", "answered") for line in by_place] == [
        *("refused", "retry", "closes_route", "retry", "answered")
    ]


async def test_lines_of_nobody_are_told_like_others(bench: Bench) -> None:
    bench.fake.fate_of = lambda place: "foreign" if place == 1 else "answer"
    read = await bench.run(bench.order(3))

    strangers = {line.id for line in read} - bench.requests.keys()
    assert len(strangers) == 1
    assert min(strangers).startswith("nobody-")


async def test_what_is_no_result_line_is_none(bench: Bench) -> None:
    for line in (b"", b"\n", b"{", b"[]", b'"x"', b"\xff", b"{}", b"[" * 100_000):
        assert bench.service.read_line(line) is None


async def test_results_that_break_off_are_read_again_from_the_start(bench: Bench) -> None:
    order = bench.order(50)
    batch_id = await bench.send(order)
    await bench.poll(batch_id)
    bench.fake.finish(batch_id)
    status = await bench.poll(batch_id)
    bench.fake.will("read", Cut())

    with pytest.raises((RetryLaterError, ConnectionError)):
        await bench.read(order, status)
    assert len(await bench.read(order, status)) == 50


async def test_results_that_are_gone(bench: Bench) -> None:
    order = bench.order(2)
    batch_id = await bench.send(order)
    await bench.poll(batch_id)
    bench.fake.finish(batch_id)
    status = await bench.poll(batch_id)
    bench.fake.will("read", Says(404, {"error": {"message": "gone"}}))

    with pytest.raises(MissingObjectError):
        await bench.read(order, status)


async def test_a_batch_that_somebody_deleted_is_gone(bench: Bench) -> None:
    batch_id = await bench.send(bench.order(2))
    bench.fake.vanish(batch_id)

    status = await bench.poll(batch_id)
    assert (status.state, status.has_ended, status.files) == ("gone", True, ())


@pytest.mark.parametrize("status", [500, 502, 503, 529])
async def test_a_poll_that_fails_says_nothing_of_the_batch(bench: Bench, status: int) -> None:
    batch_id = await bench.send(bench.order(2))
    bench.fake.will("poll", Says(status, {"error": {"message": "on purpose"}}))

    with pytest.raises(RetryLaterError):
        await bench.poll(batch_id)
    assert (await bench.poll(batch_id)).state == "running"


async def test_a_state_that_nobody_knows_counts_as_running(bench: Bench) -> None:
    batch_id = await bench.send(bench.order(2))
    bench.fake.say(batch_id, "quantum_superposed")

    status = await bench.poll(batch_id)
    assert (status.state, status.said.lower()) == ("running", "quantum_superposed")


async def test_a_line_of_a_megabyte(bench: Bench) -> None:
    request = asking("Why? " * 200_000)
    line = bench.service.write_line(bench.route, request, line_id="s-1-k7-0-0")
    bench.requests["s-1-k7-0-0"] = request
    order = bench.staged([line])

    assert len(line) > 1_000_000
    assert [type(read) for read in await bench.run(order)] == [AnsweredLine]


KEYED = [name for name, scene in SCENES.items() if scene.route.key and scene.route.provider != "vertex"]
"""The services that are called with a key; the others are called with a signature or a token."""


@pytest.mark.parametrize("bench", KEYED, indirect=True)
async def test_a_key_that_was_rotated_is_read_again(bench: Bench) -> None:
    order = bench.order(2)
    upload = await bench.service.upload(bench.route, order)
    batch_id = await bench.send(order)
    good = bench.secrets.secrets[bench.route.key]
    bench.secrets.secrets[bench.route.key] = "old"
    bench.secrets.rotated[bench.route.key] = good

    refused = await bench.service.create(bench.route, order, upload)
    assert isinstance(refused, Refused)
    assert (refused.kind, refused.code) == ("unavailable", "key_rotated")

    bench.secrets.secrets[bench.route.key] = "bad"
    with pytest.raises(RouteClosedError):
        await bench.poll(batch_id)


async def test_an_id_that_no_service_takes_is_a_fault_of_ours(bench: Bench) -> None:
    for line_id in ("", "a b", "é", "x" * 65):
        with pytest.raises(ValueError, match="ids of lines"):
            bench.service.write_line(bench.route, asking("Hi"), line_id=line_id)
