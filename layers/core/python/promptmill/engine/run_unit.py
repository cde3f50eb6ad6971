"""Run one unit from its claim to its end: recover, answer, decide, close."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, structs

from promptmill.domain.budget import keys_of, lines_for
from promptmill.domain.errors import SupersededError
from promptmill.domain.times import utc_day
from promptmill.domain.units import PLACES, Claim, Gate, Verdict
from promptmill.engine.answer_unit import MAX_PLACES_TRIES, Answering, Draining, answer_unit
from promptmill.engine.heartbeat import Heartbeat
from promptmill.engine.history import History
from promptmill.engine.takeover import correct_refused_costs, record_charges, recover_unit
from promptmill.engine.unit import ChargedUnit, Unit, UnitRuntime
from promptmill.engine.unit_budget import UnitBudget, Wait, decide_without_money

MAX_CRASHES = 8
"""How many owners in a row may end before the bytes of a unit whose end is decided are not read again to write its failures."""

_RELEASES = 5
_PAUSE_S = 0.5


def is_given_up(claim: Claim) -> bool:
    """Return True if so many owners ended while they looked for the places of its records that it ends without being read again.

    No other end counts: who ended before had not touched the unit, and who ended on a record that was tried alone blames that
    record.
    """
    return claim.trying == PLACES and claim.tries >= MAX_PLACES_TRIES


class UnitEnd(Struct, frozen=True):
    """How running a unit ended.

    Attributes:
        verdict: ``ended``: it has its result; ``yielded``: its message must be sent again, after ``delay_s``;
            ``superseded``: another worker owns it.
        why: the reason of a yield.
    """

    verdict: Literal["ended", "yielded", "superseded"]
    delay_s: int = 0
    why: str = ""


async def run_unit(
    unit: Unit, claim: Claim, *, runtime: UnitRuntime, stop_code: str = "", draining: Draining | None = None
) -> UnitEnd:
    """Run a unit that we have claimed. With a ``stop_code`` it is ended for that reason, without a call.

    An error gives the unit back before it is raised, so that it does not count as a crash.
    """
    try:
        # Recovery and the close may take longer than a lease, too.
        async with make_heartbeat(unit, claim, runtime) as heartbeat:
            return await _run(unit, claim, runtime, stop_code, draining or Draining(), heartbeat)
    except SupersededError:
        return UnitEnd("superseded")
    except _FaultError as ended:
        await _give_back_after_fault(unit, claim, runtime, ended.tried)
        raise ended.fault from None
    except Exception:
        await _give_back_after_fault(unit, claim, runtime, None)
        raise


class _FaultError(Exception):
    """A fault ended the work on the records. ``tried``: see ``Answering``."""

    def __init__(self, fault: Exception, tried: tuple[int, int] | None) -> None:
        self.fault, self.tried = fault, tried
        super().__init__(type(fault).__name__)


async def _give_back_after_fault(unit: Unit, claim: Claim, runtime: UnitRuntime, tried: tuple[int, int] | None) -> None:
    """Give the unit back, so that nothing counts as a crash. The store that failed just now may need some patience."""
    for attempt in range(_RELEASES):
        try:
            await runtime.units.release(unit.name, claim, tried=tried)
        except Exception:  # noqa: BLE001  the fault is raised: it tells more than an error of giving the unit back
            await runtime.clock.sleep(_PAUSE_S * 2**attempt)
        else:
            return


async def settle_unit(unit: ChargedUnit, claim: Claim, *, runtime: UnitRuntime) -> History:
    """Charge what was called for a unit that cannot go on, return its money, and give it back.

    Nothing is decided, so whoever takes the unit later goes on with it. All earlier epochs are sealed by then, so their
    charges are those that would be written after the verdict.

    Raises:
        SupersededError: another worker owns the unit.
    """
    async with make_heartbeat(unit, claim, runtime):
        history = await recover_unit(
            unit.name, claim, journals=unit.journals, objects=runtime.objects, units=runtime.units
        )
        await record_charges(unit, history, runtime=runtime)
        if claim.verdict is None:
            await budget_of(unit, claim, claim.day, history.used, runtime).give_back()
        await runtime.units.release(unit.name, claim)
    return history


def make_heartbeat(unit: ChargedUnit, claim: Claim, runtime: UnitRuntime) -> Heartbeat:
    return Heartbeat(
        lambda: runtime.units.beat(unit.name, claim),
        lambda: unit.lease.renew(runtime.lease_s),
        every_s=runtime.lease_s / 6,
        clock=runtime.clock,
    )


async def _run(
    unit: Unit, claim: Claim, runtime: UnitRuntime, stop_code: str, draining: Draining, heartbeat: Heartbeat
) -> UnitEnd:
    history = await recover_unit(unit.name, claim, journals=unit.journals, objects=runtime.objects, units=runtime.units)
    if claim.verdict is not None:
        # The end is decided: whoever comes next only completes it. Where it has crashed many owners, perhaps its bytes
        # brought them down, and they are not read again to write the failures.
        unread = claim.verdict.unread or claim.crashes >= MAX_CRASHES
        await unit.close(history, structs.replace(claim.verdict, unread=unread))
        return UnitEnd("ended")
    crashed = is_given_up(claim)
    today = utc_day(runtime.clock.now())
    unit_budget = await open_budget(unit, claim, day=today, used=history.used, runtime=runtime)
    code = stop_code or ("worker_crashed" if crashed else await unit.stop_code())
    if code:
        return await _end(unit, unit_budget, history, Verdict("stopped", code, unread=crashed))
    answering = await answer_unit(unit, unit_budget, history, runtime=runtime, draining=draining, heartbeat=heartbeat)
    return await _act_on_answering(unit, unit_budget, history.plus(answering.history), answering, runtime)


async def _act_on_answering(
    unit: Unit, unit_budget: UnitBudget, known: History, answering: Answering, runtime: UnitRuntime
) -> UnitEnd:
    match answering.why:
        case "":
            return await _end(unit, unit_budget, known, Verdict("completed"))
        case "superseded":
            await correct_refused_costs(unit, unit_budget.claim, answering.refused, runtime=runtime)
            return UnitEnd("superseded")
        case "shut":
            return await _end(unit, unit_budget, known, Verdict("stopped", await unit.stop_code() or "stopped"))
        case "money":
            wait = await decide_without_money(unit, unit_budget, runtime=runtime)
            if wait.code:
                return await _end(unit, unit_budget, known, Verdict("stopped", wait.code))
            return await _yield(unit, unit_budget, answering, runtime, wait)
        case _:
            return await _yield(unit, unit_budget, answering, runtime, Wait(delay_s=answering.delay_s))


async def _end(unit: Unit, unit_budget: UnitBudget, known: History, verdict: Verdict) -> UnitEnd:
    # The verdict is durable before anything that follows from it. Nobody calls after it, so charges and result are a
    # pure function of what is known now, whoever writes them.
    await unit_budget.decide(verdict)
    await unit.close(known, verdict)
    return UnitEnd("ended")


async def _yield(
    unit: Unit, unit_budget: UnitBudget, answering: Answering, runtime: UnitRuntime, wait: Wait
) -> UnitEnd:
    """Give the unit back, to be tried again later. Its money goes back to the budgets only if it waits for long."""
    if answering.fault is not None:
        raise _FaultError(answering.fault, answering.tried)
    if wait.delay_s:
        await unit_budget.give_back()
    if not await runtime.units.release(unit.name, unit_budget.claim, tried=answering.tried):
        return UnitEnd("superseded")
    return UnitEnd("yielded", wait.delay_s, wait.why or answering.why)


async def open_budget(unit: Unit, claim: Claim, *, day: str, used: int, runtime: UnitRuntime) -> UnitBudget:
    """Return the unit budget of that day's budgets. What an earlier owner left of others goes back to those."""
    found = budget_of(unit, claim, day, used, runtime, unit.gate)
    if not claim.holds or (claim.day, claim.lines) == (day, keys_of(found.lines)):
        return found
    # Another day has come, or a budget was set or taken away meanwhile. Those that granted it get back what is left. A
    # claim of earlier code does not say which those are: then they are what today's configuration says of that day.
    before = budget_of(unit, claim, claim.day, used, runtime)
    await before.give_back()
    return budget_of(unit, before.claim, day, used, runtime, unit.gate)


def budget_of(
    unit: ChargedUnit, claim: Claim, day: str, used: int, runtime: UnitRuntime, gate: Gate | None = None
) -> UnitBudget:
    """Return the unit budget under the budgets that the configuration has for that day."""
    recipe = unit.recipe
    lines = lines_for(recipe.budget, job_id=unit.job_id, recipe=recipe.name, day=day, day_cap=runtime.day_cap)
    return UnitBudget(unit.name, claim, day=day, lines=lines, gate=gate, used=used, units=runtime.units)
