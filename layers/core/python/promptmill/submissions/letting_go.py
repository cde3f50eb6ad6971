"""Let the chunks of a submission go, so that whoever comes next may take them."""

from __future__ import annotations

from promptmill.domain import layout
from promptmill.domain.messages import ChunkMessage
from promptmill.domain.units import Claim, chunk_unit
from promptmill.engine import journal
from promptmill.engine.journal import Page, Seal
from promptmill.engine.takeover import correct_refused_costs
from promptmill.submissions.context import Stepping


async def read_held(stepping: Stepping, chunk: int) -> Claim | None:
    """Return the chunk's claim if the submission holds the chunk, else None."""
    submission = stepping.submission
    found = await stepping.context.runtime.units.read(chunk_unit(submission.job_id, submission.run, chunk))
    return found if found is not None and found.held == submission.id else None


async def let_go(stepping: Stepping, chunk: int, claim: Claim) -> None:
    """Give a chunk back, and send its message. To be called once its page is there, or the submission is given up."""
    submission, context = stepping.submission, stepping.context
    await context.runtime.units.release(chunk_unit(submission.job_id, submission.run, chunk), claim)
    await send_chunk(stepping, chunk, claim.epoch)


async def send_chunk(stepping: Stepping, chunk: int, epoch: int) -> None:
    submission = stepping.submission
    message = ChunkMessage(submission.job_id, submission.run, chunk, released_at_epoch=epoch)
    await stepping.context.jobs.queue.send([message])


async def tell(stepping: Stepping, chunk: int, epoch: int, page: Page) -> Page:
    """Make what became of a chunk's lines durable, and return the page that counts.

    A later owner's seal may be in its place already. Then the answers come too late, and what they cost is a correction.
    """
    runtime, submission = stepping.context.runtime, stepping.submission
    journals = layout.chunk_journals(submission.job_id, submission.run, chunk)
    key = layout.journal_key(journals, epoch, 0)
    if await runtime.objects.create(key, journal.encode(page)):
        return page
    found = journal.decode(await runtime.objects.read(key))
    if not isinstance(found, Seal):
        return found
    unit = await stepping.charged_unit(chunk)
    if unit is not None:
        await correct_refused_costs(unit, Claim(epoch, 0, ""), page, runtime=runtime)
    return Page()


async def tell_unsent(stepping: Stepping, chunk: int, epoch: int) -> None:
    """Tell that none of a chunk's intents was sent."""
    submission, runtime = stepping.submission, stepping.context.runtime
    groups = await runtime.units.intents(chunk_unit(submission.job_id, submission.run, chunk))
    sequences = [intent.sequence for group in groups if group.epoch == epoch for intent in group.intents]
    if sequences:
        await tell(stepping, chunk, epoch, Page(voids=tuple(sequences)))


async def let_go_unsent(stepping: Stepping) -> None:
    """Let the chunks go that were taken and are not sent, now that nothing more is taken."""
    frozen = {chunk.chunk for chunk in stepping.submission.frozen or ()}
    for chunk in stepping.submission.chunks:
        claim = None if chunk in frozen else await read_held(stepping, chunk)
        if claim is not None:
            await tell_unsent(stepping, chunk, claim.epoch)
            await let_go(stepping, chunk, claim)


async def let_go_given(stepping: Stepping) -> None:
    """Let the chunks of a submission go that was given up. Their lines count at their most until something is known."""
    if not stepping.submission.given_at:
        return
    for chunk in stepping.submission.chunks:
        if (claim := await read_held(stepping, chunk)) is not None:
            await let_go(stepping, chunk, claim)


async def end_void(stepping: Stepping) -> None:
    """Tell all chunks of a submission without a batch as never sent, and let them go."""
    for chunk in stepping.submission.frozen or ():
        await stepping.show_life()
        await tell_unsent(stepping, chunk.chunk, chunk.epoch)
        claim = await read_held(stepping, chunk.chunk)
        if claim is not None:
            await let_go(stepping, chunk.chunk, claim)
    await let_go_unsent(stepping)


async def note_told(stepping: Stepping) -> None:
    """Note that every line is told. Before, see that no chunk was let go without a message."""
    submission, runtime = stepping.submission, stepping.context.runtime
    for chunk in submission.chunks:
        name = chunk_unit(submission.job_id, submission.run, chunk)
        claim = await runtime.units.read(name)
        key = layout.chunk_result_key(submission.job_id, submission.run, chunk)
        if (claim is None or claim.released) and await runtime.objects.head(key) is None:
            await send_chunk(stepping, chunk, claim.epoch if claim is not None else 0)
    await stepping.context.store.note_told(submission.holder, stepping.now)
