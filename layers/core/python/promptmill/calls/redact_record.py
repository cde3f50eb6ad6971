"""Redact one record, with whatever engines its recipe wants: models and services take their time, and may fail."""

from __future__ import annotations

import random
from collections import Counter

from msgspec import Struct

from promptmill.calls.retry_policy import retried
from promptmill.calls.sending import CallGate, SendingEndedError
from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import ProviderError, RecordError, RetryLaterError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.ports.detectors import EntityFinder, EntityFinders, Finds
from promptmill.redaction import Redacted, Span, redact_request, searched_text
from promptmill.redaction.policy import EngineMissingError, FoundBefore, beside

TRIES = 6
"""Of a search that fails; while a service throttles, there is no end to them but that of the unit's sending."""
_THROTTLED = 429
_NOT_SENT = "the record was not sent"


class Searched(Struct, frozen=True):
    """A redacted request, and what the search took: see ``Finds``."""

    redacted: Redacted
    searches: dict[str, int] = {}


async def redact_record(
    request: CompletionRequest,
    policy: RedactionPolicy,
    *,
    finders: EntityFinders | None,
    sending: CallGate,
    rng: random.Random,
) -> Searched:
    """As ``redact_request``, with the spans of all engines united.

    Raises:
        RecordError: see ``redact_request``.
        SendingEndedError: this worker sends nothing more, so nothing more is searched either.
    """
    text = searched_text(request, policy)
    spans, searches = list[Span](), Counter[str]()
    for engine in beside(policy) if text else ():
        finds = await sending.unless_ended(_search(engine, text, policy, finders, sending, rng))
        spans += finds.spans
        searches.update(finds.searches)
    return Searched(redact_request(request, policy, FoundBefore({text: spans})), dict(searches))


async def _search(
    engine: str,
    text: str,
    policy: RedactionPolicy,
    finders: EntityFinders | None,
    sending: CallGate,
    rng: random.Random,
) -> Finds:
    try:
        return await _patiently(_finder(engine, finders), text, policy, sending, rng)
    except (RecordError, SendingEndedError):
        raise
    except EngineMissingError as missing:
        reason = str(missing)
    except ProviderError as error:
        reason = f"the engine {engine} failed: {error.code}"
    except Exception as error:  # noqa: BLE001  whatever it is, nothing may leave
        reason = f"the engine {engine} ended in {type(error).__name__}"
    raise RecordError(reason, code="redaction_failed", remedy=_NOT_SENT)  # outside of the handler: errors quote texts


def _finder(engine: str, finders: EntityFinders | None) -> EntityFinder:
    if finders is None:
        raise EngineMissingError(engine)
    return finders.finder(engine)


async def _patiently(
    finder: EntityFinder, text: str, policy: RedactionPolicy, sending: CallGate, rng: random.Random
) -> Finds:
    throttled = False

    async def find() -> Finds:
        nonlocal throttled
        try:
            return await finder.find(text, policy)
        except RetryLaterError as error:
            throttled = error.status == _THROTTLED
            raise

    try:
        return await find()
    except RetryLaterError as failed:
        return await retried(
            find, failed=failed, tries=TRIES, counts=lambda: not throttled, pause=sending.pause, rng=rng
        )
