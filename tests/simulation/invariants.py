"""The invariants of the design, judged once everything is at rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from promptmill.aws.sqs import QueueRefusedError
from promptmill.domain import layout
from promptmill.domain.charge import Charge, CostCorrection
from promptmill.domain.errors import SupersededError, UserError, fault_of
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.units import Intent, chunk_unit
from promptmill.engine.run_unit import MAX_CRASHES
from promptmill.jobs.cut_file import PlanningSlowError
from promptmill.requests.envelope import StoredAnswer, body_hash
from tests.simulation.facade import LostResponseError, RefusedError
from tests.simulation.invariants_files import files, reruns
from tests.simulation.invariants_money import budgets
from tests.simulation.invariants_people import chunk_of, innocents, time_to_end
from tests.simulation.provider import Billed, answer_to
from tests.simulation.scenario import CANARY, Ask, Drop

if TYPE_CHECKING:
    from tests.simulation.world import World

_EXPECTED = (RefusedError, LostResponseError, SupersededError, QueueRefusedError, TimeoutError, PlanningSlowError)
CRASHED = "worker_crashed"
_COMMANDS = ("cancel", "resume", "redrive", "again")
Account = tuple[str, int, str]
"""Unit, epoch, route."""


def violations_of(world: World) -> list[str]:
    """All of them, in words."""
    checks = (outcomes, ledger, budgets, requests, leaks, results, errors, files, reruns, innocents, time_to_end)
    return [f"{check.__name__}: {broken}" for check in checks for broken in check(world)]


def outcomes(world: World) -> Iterator[str]:
    """Each record of the input has one outcome, in order, in every run that is over."""
    runs = defaultdict(list)
    for (job_id, _), run in world.jobs.runs.items():
        runs[job_id].append(run)
    for number, drop in enumerate(world.scenario.drops):
        found = runs.get(world.job_of(number), [])
        if not found:
            yield f"drop {number} has no job"
        for run in found:
            yield from (f"{run.job_id}.{run.run}: {broken}" for broken in _outcomes_of(world, drop, run))


def _outcomes_of(world: World, drop: Drop, run: JobRun) -> Iterator[str]:
    if not run.state.resting:
        yield f"is {run.state.value} at rest"
    if run.state is JobState.DUPLICATE:
        yield from _duplicate(world, drop, run)
    if not run.state.terminal:
        return
    if run.state is JobState.REJECTED:
        yield from _rejected(world, run)
    elif not run.files:
        if not any(run.job_id in key for key in world.objects.removed):
            yield "has no results, though nothing of it was deleted"
    else:
        yield from _results_of(world, drop, run)


def _results_of(world: World, drop: Drop, run: JobRun) -> Iterator[str]:
    lines = [msgspec.json.decode(line) for line in world.objects.body(run.files["results"]).splitlines()]
    places = [line["record"] for line in lines]
    if places != list(range(len(drop.prompts))):
        yield f"records {places} of {len(drop.prompts)}"
        return
    failed = [n for n, line in enumerate(lines) if line["status"] != "answered"]
    for n, line in enumerate(lines):
        prompt = msgspec.json.decode(drop._line(n, drop.prompts[n]))["prompt"]
        if line["status"] == "answered" and line["answer"] != answer_to(prompt):
            yield f"record {n} has somebody else's answer"
    errors = [msgspec.json.decode(e)["id"] for e in world.objects.body(run.files["errors"]).splitlines() if e]
    unread = [n for n in failed if lines[n]["error"]["code"] == CRASHED or _may_be_unread(world, run, n)]
    doubtful = {f"id-{n}" for n in unread}
    if drop.deadly < 0 and [name for name in errors if name not in doubtful] != [
        f"id-{n}" for n in failed if n not in unread
    ]:
        yield f"error lines {errors} for records {failed}"
    yield from _state_of(run, lines)


def _may_be_unread(world: World, run: JobRun, record: int) -> bool:
    """Return True if so many owners of its chunk ended in a row that its bytes were not read again, whatever ended it."""
    chunks = (chunk_unit(run.job_id, number, chunk_of(world, run, record).number) for number in range(1, run.run + 1))
    claims = [world.units.claims[name] for name in chunks if name in world.units.claims]
    return any(claim.crashes >= MAX_CRASHES for claim in claims)


def _duplicate(world: World, drop: Drop, run: JobRun) -> Iterator[str]:
    """Only where another job has the same content, and then nothing of it was sent."""
    if sum((other.recipe, other.body) == (drop.recipe, drop.body) for other in world.scenario.drops) == 1:
        yield "waits as a duplicate, and of nothing"
    if any(unit.startswith(f"{run.job_id}.{run.run}.") for unit in world.units.groups):
        yield "waits as a duplicate, and has intents"


def _rejected(world: World, run: JobRun) -> Iterator[str]:
    """Only a file that could not be planned may be, and then nothing of it was sent."""
    allowed = ["the file is empty", "no record"]
    if "plans" in world.scenario.overlooked or _planners_lost(world, run) >= _FEWEST_DEATHS:
        allowed.append("could not be planned")
    if any(change.kind == "delete" for change in world.changed):
        allowed.append("there is no recipe")
    if not any(reason in run.reason for reason in allowed):
        yield f"was rejected: {run.reason}"
    if any(unit.startswith(f"{run.job_id}.{run.run}.") for unit in world.units.groups):
        yield "was rejected, and has intents"


_FEWEST_DEATHS = 3


def _planners_lost(world: World, run: JobRun) -> int:
    """Return how many workers died of a run's plan: an outage, or a message that nobody took, is no reason to reject it."""
    mine = (run.source.version, run.job_id)
    return sum(
        process.fell for body, all_ in world.taken.items() if any(f'"{m}"' in body for m in mine) for process in all_
    )


def _state_of(run: JobRun, lines: list[dict[str, Any]]) -> Iterator[str]:
    """Its name comes from the outcomes alone."""
    stopped = [line for line in lines if line["status"] == "stopped"]
    cancelled = any(line["error"]["code"] == "cancelled" for line in stopped)
    expected = JobState.CANCELLED if cancelled else JobState.STOPPED if stopped else JobState.DONE
    if run.state is not expected:
        yield f"is {run.state.value}, and its outcomes say {expected.value}"
    counts = Counter(line["status"] for line in lines)
    if (run.counts.answered, run.counts.failed, run.counts.stopped) != tuple(
        counts[name] for name in ("answered", "failed", "stopped")
    ):
        yield f"counts {run.counts} differ from its outcomes {dict(counts)}"


def ledger(world: World) -> Iterator[str]:
    """Every call the provider knows of is in one entry, and the entry's range holds what the provider charged."""
    billed: dict[Account, list[Billed]] = defaultdict(list)
    for call in world.provider.bill:
        unit, epoch, _ = call.call_id.rsplit(".", 2)
        billed[unit, int(epoch), call.route].append(call)
    narrowed: dict[Account, list[CostCorrection]] = defaultdict(list)
    for correction in world.ledger.narrowings.values():
        narrowed[correction.unit, int(correction.call_id.rsplit(".", 2)[1]), correction.route].append(correction)
    intents = intents_of(world)
    for account in sorted(billed.keys() | narrowed.keys() | world.ledger.charges.keys()):
        charge = world.ledger.charges.get(account)
        if charge is None:
            yield f"{account}: {len(billed[account])} calls, {len(narrowed[account])} corrections and no charge"
            continue
        if others := {call.model for call in billed[account]} - {charge.model}:
            yield f"{account}: charged to {charge.model}, and {sorted(others)} were called"
        for broken in _account(charge, billed[account], narrowed[account], intents.get(account, [])):
            yield f"{account}: {broken}"
        if charge.unpriced and nothing_was_lost(world, account, billed[account]):
            yield f"{account}: nothing was lost, and the ledger knows the cost of {charge.unpriced} calls only roughly"


def nothing_was_lost(world: World, account: Account, calls: list[Billed]) -> bool:
    """Return True if the worker of an epoch had no bad luck, and was told what each of its calls cost."""
    unit, epoch, _ = account
    owner = world.runtime.all[world.units.owners[unit, epoch]]
    return not owner.unlucky and not any(call.call_id in world.provider.unknown for call in calls)


def _account(
    charge: Charge, calls: list[Billed], corrections: list[CostCorrection], intents: list[Intent]
) -> Iterator[str]:
    bill = sum(call.nano_usd for call in calls)
    low, high = range_of(charge, corrections)
    unsent = sum(not correction.sent for correction in corrections)
    if low > bill or (bill > high and not charge.unbounded):
        yield f"the provider charged {bill}, the ledger says [{low}, {high}]"
    if not len(calls) <= charge.attempts - unsent <= len(intents):
        yield f"{len(calls)} calls arrived, {len(intents)} were intended, {charge.attempts} - {unsent} are accounted for"
    if charge.nano_usd > charge.high_nano_usd and not charge.unbounded:
        yield f"the range [{charge.nano_usd}, {charge.high_nano_usd}] is upside down"
    if low > high:
        yield f"corrections widen the range to [{low}, {high}]"


def range_of(charge: Charge, corrections: Iterable[CostCorrection]) -> tuple[int, int]:
    """With its corrections applied."""
    low, high = charge.nano_usd, charge.high_nano_usd
    for correction in corrections:
        low += correction.nano_usd
        high += correction.nano_usd - (correction.high or 0)
    return low, high


def intents_of(world: World) -> dict[Account, list[Intent]]:
    """Check each account by itself."""
    found: dict[Account, list[Intent]] = defaultdict(list)
    for unit, groups in world.units.groups.items():
        for group in groups.values():
            for intent in group.intents:
                found[unit, group.epoch, intent.route].append(intent)
    return found


def requests(world: World) -> Iterator[str]:
    """Every request is answered, every delivery the same, and an id is one body."""
    replies: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for _, body in world.replies.sent:
        reply = msgspec.json.decode(body)
        replies[reply["id"]].append(reply)
    bodies: dict[str, set[str]] = defaultdict(set)
    nameless = [ask for ask in world.scenario.asks if not ask.id]
    for ask in world.scenario.asks:
        if ask.id:
            bodies[f"{ask.recipe}/{ask.id}"].add(ask.prompt)
    for ask in world.scenario.asks:
        if ask.id:
            yield from _replies_to(ask, [r for r in replies[ask.id] if r["recipe"] == ask.recipe], bodies)
    yield from _stored(world)
    named = {ask.id for ask in world.scenario.asks}
    others = {name for name in replies if name not in named}
    if len(others) != len(nameless):
        yield f"{len(nameless)} requests without an id, and {len(others)} were answered"


def _stored(world: World) -> Iterator[str]:
    """An answer is that of the body that it is stored for."""
    answers = {body_hash({"prompt": ask.prompt}): answer_to(ask.prompt) for ask in world.scenario.asks}
    for key in world.objects.keys(layout.ANSWERS):
        stored = msgspec.json.decode(world.objects.body(key), type=StoredAnswer)
        if stored.reply["status"] == "answered" and stored.reply["answer"] != answers[stored.body_hash]:
            yield f"{stored.reply['id']}: stored with the answer to another body"


def _replies_to(ask: Ask, replies: list[dict[str, Any]], bodies: dict[str, set[str]]) -> Iterator[str]:
    refused = [reply for reply in replies if reply.get("error", {}).get("code") == "id_reused"]
    gone = [reply for reply in replies if reply.get("error", {}).get("code") in ("unknown_recipe", "body_missing")]
    others = {msgspec.json.encode(reply) for reply in replies if reply not in refused and reply not in gone}
    if gone and not others:
        return
    if len(others) != 1:
        yield f"{ask.id}: {len(others)} different replies"
        return
    known = bodies[f"{ask.recipe}/{ask.id}"]
    if (len(known) > 1) != bool(refused) and not gone:
        yield f"{ask.id}: {len(known)} bodies, {len(refused)} replies say that the id is used"
    reply = msgspec.json.decode(others.pop())
    if reply["status"] == "answered" and reply["answer"] not in {answer_to(prompt) for prompt in known}:
        yield f"{ask.id}: somebody else's answer"


def leaks(world: World) -> Iterator[str]:
    """No record's text in tables, messages, events and logs. The requests queue may hold prompts."""
    tables: dict[str, object] = {
        "jobs": world.jobs.runs,
        "claims": world.units.claims,
        "intents": world.units.groups,
        "charges": world.ledger.charges,
        "corrections": world.ledger.narrowings,
        "events": world.events.published,
        "logs": [world.reports, [fault_of(error) for _, error in world.runtime.errors]],
        "messages": world.sent,
    }
    for name, table in tables.items():
        if CANARY in repr(table):
            yield f"a prompt stands in {name}"


def results(world: World) -> Iterator[str]:
    """Written once, and the same by whoever writes them."""
    for key in world.objects.clashes:
        yield f"{key} was written with other bytes"


def errors(world: World) -> Iterator[str]:
    """Nothing is raised but what the world did to the process."""
    for name, error in world.runtime.errors:
        told = isinstance(error, UserError) and name.startswith(_COMMANDS)
        for leaf in () if told else _leaves(error):
            if not isinstance(leaf, _EXPECTED):
                yield f"{name} raised {type(leaf).__name__}: {leaf}"


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
