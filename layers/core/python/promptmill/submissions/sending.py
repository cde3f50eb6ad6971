"""Send a submission, find a lost one, and watch it.

The create is sent once, by whoever was given the mark, and nobody repeats it. A mark without a batch is in doubt: the
batch is looked for until it is found, or until none can turn up any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from promptmill.ports.batch_service import BatchStatus, Created, Refused
from promptmill.ports.submissions import BatchEnd, EndState, Mark, chunk_of_line
from promptmill.submissions.collecting import split_lines
from promptmill.submissions.context import Stepping
from promptmill.submissions.letting_go import let_go_given, let_go_unsent

SEND_WITHIN_S = 60.0
"""How long after the mark the create may still begin, by the stepper's own clock: a stepper that slept sends nothing."""
DOUBT_S = 1_200.0
"""How long a lost batch is looked for before its chunks are let go; the look goes on."""
CANCEL_S = 1_800.0
"""How long a service may take to end what nobody wants any more, before its chunks are let go."""
_MARGIN = timedelta(hours=1)
_PAUSED_S = 60.0
_MIN_WAIT_S, _MAX_WAIT_S = 30.0, 600.0


async def send(stepping: Stepping) -> float | None:
    """Upload the lines, get the mark and send the create; return the seconds to wait, None to go on at once."""
    submission, context = stepping.submission, stepping.context
    store, holder = context.store, submission.holder
    await let_go_unsent(stepping)
    reason = stepping.why_unwanted() or _closed(stepping)
    if reason:
        await store.void(holder, reason)
        return None
    if await context.runtime.pause_switch.find_pause_s(submission.recipe) is not None:
        return _PAUSED_S
    if submission.upload is None:
        await store.note_upload(holder, await stepping.service.upload(submission.route, stepping.order()))
        return None
    return await _create(stepping, submission.upload)


async def _create(stepping: Stepping, upload: str) -> float | None:
    submission, store, runtime = stepping.submission, stepping.context.store, stepping.context.runtime
    holder, service, order = submission.holder, stepping.service, stepping.order()
    # The clock starts before the mark: whoever finds the mark may count on nothing being sent long after it.
    started = runtime.clock.monotonic()
    mark = Mark(f"{runtime.owner}.{runtime.rng.getrandbits(64):016x}", stepping.now)
    if not await store.mark_sent(holder, mark):
        return _MIN_WAIT_S  # another stepper was faster, or the run has ended: the next look tells
    if runtime.clock.monotonic() - started > SEND_WITHIN_S:
        await store.void(holder, "too_late", stepper=mark.stepper)
        return None
    created = await service.create(submission.route, order, upload)
    if isinstance(created, Created):
        await store.note_batch(holder, created.id, proven=True)
    elif isinstance(created, Refused):
        await store.void(holder, created.kind, stepper=mark.stepper)
        return None
    return _MIN_WAIT_S


def _closed(stepping: Stepping) -> str:
    closed = stepping.job.closed_routes if stepping.job else {}
    return "route_closed" if stepping.submission.route.id in closed else ""


async def look_for_batch(stepping: Stepping) -> float | None:
    """Look for the batch of a create whose answer was lost; return the seconds to wait, None to go on at once."""
    submission, store, holder = stepping.submission, stepping.context.store, stepping.submission.holder
    if submission.sent is None:
        raise ValueError(f"submission {submission.id} was not sent")
    sent_at, age_s = datetime.fromisoformat(submission.sent.at), stepping.seconds_since(submission.sent.at)
    service = stepping.service
    looked_at = stepping.context.runtime.clock.now()
    found = await service.find(submission.route, stepping.order(), submission.upload or "", since=sent_at)
    for batch in found:
        fits = batch.proven or batch.lines in (None, submission.lines)
        if fits and batch.id not in (*submission.rejected, *submission.doubted):
            await store.note_batch(holder, batch.id, proven=batch.proven)
            return None
    terms = await service.terms(submission.route)
    if looked_at >= sent_at + timedelta(hours=terms.appears_within_h) + _MARGIN:
        state: EndState = "gone" if submission.doubted else "never"
        await store.note_end(holder, "", BatchEnd(state, stepping.now, has_results=False))
        return None
    if not submission.given_at and (age_s >= DOUBT_S or stepping.now >= submission.due_at):
        await store.give(holder, stepping.now)
        return None
    await let_go_given(stepping)
    return _wait_s(age_s)


async def watch_batch(stepping: Stepping) -> float | None:
    """Ask how the batch does, and end it if nobody wants it; return the seconds to wait, None to go on at once."""
    submission, store, holder = stepping.submission, stepping.context.store, stepping.submission.holder
    service = stepping.service
    status = await service.poll(submission.route, submission.batch)
    if status.has_ended:
        await _note_end(stepping, status)
        return None
    if stepping.why_unwanted():
        if not submission.asked_at:
            await store.note_asked(holder, stepping.now)
            return None
        if submission.proven:  # else it may be somebody else's
            await service.cancel(submission.route, submission.batch)
        if not submission.given_at and stepping.seconds_since(submission.asked_at) >= CANCEL_S:
            await store.give(holder, stepping.now)
            return None
    await let_go_given(stepping)
    return _wait_s(stepping.seconds_since(submission.sent.at if submission.sent else submission.created_at))


async def _note_end(stepping: Stepping, status: BatchStatus) -> None:
    submission, store = stepping.submission, stepping.context.store
    if not submission.proven:
        ours = await _is_ours(stepping, status)
        if not ours:
            await store.reject_batch(submission.holder, submission.batch, certain=ours is False)
            return
        await store.note_batch(submission.holder, submission.batch, proven=True)
    codes = [fault.code for fault in status.faults] + ([status.refusal.code] if status.refusal else [])
    state: EndState = "gone" if status.state == "running" else status.state
    end = BatchEnd(state, stepping.now, bool(status.files), next(iter(codes), ""))
    await store.note_end(submission.holder, submission.batch, end)


async def _is_ours(stepping: Stepping, status: BatchStatus) -> bool | None:
    """Return whether the results carry our ids, or None where they prove nothing.

    More than half of them must: a stray line of ours does not make another's batch ours. A batch without results, or with
    as many foreign lines as ours, may be anybody's.
    """
    submission, service = stepping.submission, stepping.service
    ours = others = 0
    if status.files:
        async for line in split_lines(service.results(submission.route, stepping.order(), status)):
            if (found := service.read_line(line)) is not None:
                is_ours = chunk_of_line(found.id, submission.id) is not None
                ours, others = ours + is_ours, others + (not is_ours)
    if ours > others:
        return True
    return None if ours or not others else False


def _wait_s(age_s: float) -> float:
    """Return how long to wait for something of that age: what has taken long is not over in a moment."""
    return min(_MAX_WAIT_S, max(_MIN_WAIT_S, age_s / 4))
