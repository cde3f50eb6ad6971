"""Step a submission: do what its stage asks for, as far as one invocation comes, and say when to go on.

Nobody owns a submission. What each stage may do is fixed by conditions of the store, so steps may be repeated, may overlap
and may be cut off anywhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.errors import (
    JobFilesGoneError,
    PromptmillError,
    ProviderError,
    RetryLaterError,
    RouteClosedError,
)
from promptmill.ports.object_store import StoredVersion
from promptmill.ports.submissions import Holder, Stage
from promptmill.submissions.collecting import collect
from promptmill.submissions.context import SHOWN_S, Stepping, SubmissionContext
from promptmill.submissions.letting_go import end_void, note_told
from promptmill.submissions.sending import look_for_batch, send, watch_batch
from promptmill.submissions.staging import stage_chunks

MAX_FILLING_S = 3_600.0
"""How long a submission may take chunks. One that cannot be filled is given up, and its chunks are answered live."""
_MOVES = 12
_RETRY_S = 60.0


class Stepped(Struct, frozen=True):
    """The report on a step, in facts that are safe to log.

    Attributes:
        stage: what the submission is now; ``over`` if there is none.
        wait_s: when it is stepped again.
        code: the service's reason why it could not be stepped, "" for none.
    """

    stage: Stage | str
    wait_s: float = 0.0
    code: str = ""


async def step(holder: Holder, context: SubmissionContext) -> Stepped:
    """Step a submission until it has to wait. It is safe to repeat, and beside others."""
    submission = await context.store.read(holder)
    if submission is None or submission.settled_at:
        return Stepped("over" if submission is None else submission.stage)
    stepping = Stepping(context, submission)
    # First: should this step be cut off, another one begins then.
    await context.store.schedule(holder, next_at=stepping.in_time(SHOWN_S))
    wait_s, code = await _move(stepping)
    if stepping.submission.settled_at:
        return Stepped("settled")
    await context.store.schedule(holder, next_at=stepping.in_time(wait_s))
    return Stepped(stepping.submission.stage, wait_s, code)


async def _move(stepping: Stepping) -> tuple[float, str]:
    """Move through stages until one has to wait. Return for how long, and the code of a service that has failed."""
    store, holder = stepping.context.store, stepping.submission.holder
    for _ in range(_MOVES):
        found = await store.read(holder)
        if found is None:
            return 0.0, ""
        await stepping.look(found)
        if found.settled_at:
            return 0.0, ""
        try:
            wait_s = await _STAGES[found.stage](stepping)
        except RouteClosedError as error:
            return await _close(stepping, error), error.code
        except RetryLaterError as error:
            return max(_RETRY_S, error.retry_after_s or 0.0), error.code
        if wait_s is not None:
            return wait_s, ""
    return _RETRY_S, ""


async def _close(stepping: Stepping, error: RouteClosedError) -> float:
    """Give up what was not sent. What was sent goes on: whoever mends the route lets it be read."""
    if stepping.submission.sent is None:
        await stepping.context.store.void(stepping.submission.holder, error.code)
    return _RETRY_S


async def _fill(stepping: Stepping) -> float | None:
    submission, context = stepping.submission, stepping.context
    reason = stepping.why_unwanted()
    if not reason and stepping.seconds_since(submission.created_at) >= MAX_FILLING_S:
        reason = "not_filled"
    if not reason:
        if await context.runtime.pause_switch.find_pause_s(submission.recipe) is not None:
            return _RETRY_S
        try:
            staged = await stage_chunks(stepping)
        except JobFilesGoneError:
            return None  # the next look finds the run without its files
        if staged is None:
            return 0.0
        if staged:
            await context.store.freeze(submission.holder, staged)
            return None
        reason = "too_few_lines"
    await context.store.void(submission.holder, reason)
    return None


async def _tell_void(stepping: Stepping) -> None:
    await end_void(stepping)
    await note_told(stepping)


async def _collect(stepping: Stepping) -> float | None:
    wait_s = await collect(stepping)
    if wait_s is None:
        await note_told(stepping)
    return wait_s


async def _erase(stepping: Stepping) -> None:
    """Erase the maps and everything else that was staged, here and at the service, and settle the submission."""
    submission, context = stepping.submission, stepping.context
    for prefix in (layout.maps_prefix(submission.id), layout.batch_prefix(submission.id)):
        await _erase_all(prefix, context)
    if submission.batch:
        with suppress(ProviderError, PromptmillError):  # what stays there expires by itself
            status = await stepping.service.poll(submission.route, submission.batch)
            await stepping.service.delete(submission.route, submission.upload or "", status)
    await context.store.settle(submission.holder, stepping.now)


async def _erase_all(prefix: str, context: SubmissionContext) -> None:
    """Erase the objects under a prefix. Each was written once, so it has one version, which its head names."""
    objects = context.runtime.objects
    for key in [found.key async for found in objects.under(prefix)]:
        if (found := await objects.head(key)) is not None:
            await context.eraser.erase([StoredVersion(key, found.version)])


async def _rest(stepping: Stepping) -> float | None:
    del stepping
    return 0.0


_STAGES: Mapping[Stage, Callable[[Stepping], Awaitable[float | None]]] = {
    "filling": _fill,
    "ready": send,
    "in_doubt": look_for_batch,
    "running": watch_batch,
    "void": _tell_void,
    "collecting": _collect,
    "told": _erase,
    "settled": _rest,
}
