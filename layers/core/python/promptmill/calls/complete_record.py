"""One record, or one request, from its bytes to its outcome: parse, redact, call, restore."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from promptmill.calls.bounds import DEFAULT_OUTPUT_TOKENS
from promptmill.calls.call_gate import Patience, SendingEndedError
from promptmill.calls.call_routes import CallContext, RouteOutcome, call_routes
from promptmill.calls.retry_policy import retry
from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import ProviderError, RecordError, RetryLaterError
from promptmill.domain.job_file import FileFacts, FileFormatName
from promptmill.domain.names import nearest
from promptmill.domain.recipe import Recipe, RedactionPolicy, Route
from promptmill.domain.record import ANSWERED, Attempt, Failure, Outcome, RawRecord, RecordResult
from promptmill.formats.file_format import FileFormat
from promptmill.formats.record_id import find_id
from promptmill.ports.detectors import ExternalDetector, ExternalDetectors, Findings
from promptmill.redaction import Redacted, Span, collect_text, count_unrestored, redact_request, restore_completion
from promptmill.redaction.policy import DetectorMissingError, FoundBefore, external_detectors
from promptmill.wire.line_fields import LINKS_ALLOWED, refuse_unallowed


def last_start(recipe: Recipe, ends_at: float) -> float:
    """Return the last moment at which a call may start so that it is surely over at ``ends_at``."""
    return ends_at - max(route.timeout_s for route in recipe.routes)


async def complete_record(
    record: RawRecord,
    *,
    file_format: FileFormat,
    facts: FileFacts,
    recipe: Recipe,
    caller: CallContext,
    earlier: Sequence[Attempt] = (),
) -> Outcome:
    """Return the record's one outcome. A record that is wrong gets a failure that names its line.

    Raises:
        SendingEndedError: the record has no outcome yet.
    """
    if record.error is not None:
        return Outcome(record, None, record.error, attempts=tuple(earlier))
    try:
        return await _Completing(record, file_format, facts, recipe, caller, tuple(earlier)).run()
    except SendingEndedError:
        raise
    except Exception as error:  # noqa: BLE001  a fault of ours costs one record, never its neighbours
        return Outcome(record, None, make_fault(record, error), attempts=tuple(earlier))


def make_fault(record: RawRecord, error: Exception) -> Failure:
    """Return the failure of a record that Promptmill itself could not handle."""
    # Only the error's type is named: its text may quote the record.
    message = f"line {record.line}: {type(error).__name__} in Promptmill itself. Please report it"
    return Failure("worker", "internal_error", message)


class Preparing(Struct, frozen=True):
    """What has to be known to turn records into requests that may leave.

    Attributes:
        budgeted: a budget holds, so an answer needs a limit.
        detectors: find sensitive values beside the built-in patterns; None for no others.
    """

    file_format: FileFormat
    facts: FileFacts
    recipe: Recipe
    budgeted: bool
    detectors: ExternalDetectors | None
    patience: Patience
    rng: random.Random


def read_request(record: RawRecord, preparing: Preparing) -> CompletionRequest:
    """Return what the record asks. Raises RecordError: it cannot be read, or sets a field that no route allows."""
    file_format, recipe = preparing.file_format, preparing.recipe
    request = file_format.parse(record, preparing.facts, recipe)
    inside = name_of_body(file_format)
    refuse_unallowed(request, allowed_by(recipe), where=f"line {record.line}", inside=inside)
    return request


async def make_safe(request: CompletionRequest, preparing: Preparing) -> Searched:
    """Return the request with a limit where it needs one, and without its sensitive values.

    Raises:
        RecordError: it cannot be made safe, and must not be sent.
        SendingEndedError: nothing more is sent, so nothing more is searched either.
    """
    limited, policy = limit_output(request, budgeted=preparing.budgeted), preparing.recipe.redact
    if not external_detectors(policy):
        return Searched(redact_request(limited, policy))
    return await redact_record(
        limited, policy, detectors=preparing.detectors, patience=preparing.patience, rng=preparing.rng
    )


def restore_outcome(
    record: RawRecord, searched: Searched, called: RouteOutcome, recipe: Recipe, earlier: tuple[Attempt, ...] = ()
) -> Outcome:
    """Return the outcome of a record whose calls are over, with its values put back into the answer."""
    completion, redacted = called.completion, searched.redacted
    left: dict[str, int] = {}
    if completion is not None and recipe.redact.restore:
        left = count_unrestored(completion, redacted.map, redacted.request)
        completion = restore_completion(completion, redacted.map)
    return Outcome(
        record,
        completion,
        called.failure,
        attempts=(*earlier, *called.attempts),
        route=called.route,
        requested_model=redacted.request.model,
        notes=redacted.request.notes,
        redacted=redacted.counts,
        searches=searched.searches,
        unrestored=left,
        labels_without_value=redacted.doubts,
    )


class _Completing(Struct, frozen=True):
    record: RawRecord
    file_format: FileFormat
    facts: FileFacts
    recipe: Recipe
    caller: CallContext
    earlier: tuple[Attempt, ...]

    async def run(self) -> Outcome:
        request: CompletionRequest | None = None
        caller = self.caller
        preparing = Preparing(
            self.file_format,
            self.facts,
            self.recipe,
            caller.budgeted,
            caller.detectors,
            caller.call_gate,
            caller.rng,
        )
        try:
            request = read_request(self.record, preparing)
            routes = routes_for(request, self.recipe, where=f"line {self.record.line}")
            searched = await make_safe(request, preparing)
        except RecordError as error:
            return self._refuse(error, request)
        called = await call_routes(
            searched.redacted.request, routes=routes, record=self.record.index, caller=caller, earlier=self.earlier
        )
        try:
            return restore_outcome(self.record, searched, called, self.recipe, self.earlier)
        except Exception as error:  # noqa: BLE001  the calls were made, and stay accounted for
            failure, attempts = make_fault(self.record, error), (*self.earlier, *called.attempts)
            return Outcome(self.record, None, failure, attempts=attempts, requested_model=request.model)

    def _refuse(self, error: RecordError, request: CompletionRequest | None) -> Outcome:
        asked = request.model if request else ""
        return Outcome(self.record, None, _failure_from(error), attempts=self.earlier, requested_model=asked)


_BODIES: Mapping[FileFormatName, str] = {"openai": "body", "anthropic": "params", "bedrock": "modelInput"}


def name_of_body(file_format: FileFormat) -> str:
    """Return the part of a line that holds its body, "" where the whole line is one."""
    return _BODIES.get(file_format.name, "")


def allowed_by(recipe: Recipe) -> frozenset[str]:
    """Return what some route of the recipe lets lines set. Each route checks again what it is sent."""
    links = (LINKS_ALLOWED,) if recipe.attachments == "pass" else ()
    return frozenset((*links, *(name for route in recipe.routes for name in route.allow)))


def limit_output(request: CompletionRequest, *, budgeted: bool) -> CompletionRequest:
    """Set ``max_output_tokens`` where a budget holds and nobody has set it: without it a call has no highest price."""
    if not budgeted or request.max_output_tokens is not None:
        return request
    note = f"max_output_tokens was set to {DEFAULT_OUTPUT_TOKENS}, since a budget holds"
    return structs.replace(request, max_output_tokens=DEFAULT_OUTPUT_TOKENS, notes=(*request.notes, note))


def routes_for(request: CompletionRequest, recipe: Recipe, *, where: str) -> tuple[Route, ...]:
    """Return the recipe's routes in the order in which this record asks them.

    Raises:
        RecordError: the line asks for a model that the recipe does not let it have.
    """
    if recipe.model == "route":
        return recipe.routes
    wanted = recipe.models.get(request.model)
    if wanted is None:
        near = nearest(request.model, list(recipe.models))
        raise RecordError(
            f"the recipe {recipe.name!r} does not offer the model that this line asks for",
            code="model_not_allowed",
            where=where,
            field="model",
            remedy=f"the nearest that it offers: {', '.join(near)}"
            if near
            else f"it offers: {', '.join(recipe.models)}",
        )
    return tuple(sorted(recipe.routes, key=lambda route: route.id != wanted))


def _failure_from(error: RecordError) -> Failure:
    return Failure("record", error.code, error.message, error.field)


def render_result(
    outcome: Outcome, file_format: FileFormat, facts: FileFacts, recipe: Recipe, job_id: str
) -> RecordResult:
    """Return an outcome as it will stand in the files.

    An answer that cannot be written is a failure of its record, never of its unit.
    """
    try:
        line = file_format.render(outcome, facts, recipe, job_id)
    except Exception as error:  # noqa: BLE001  whatever the error is, the neighbours' answers are paid for
        outcome = structs.replace(outcome, completion=None, failure=make_fault(outcome.record, error))
        line = file_format.render(outcome, facts, recipe, job_id)
    failure, completion = outcome.failure, outcome.completion
    return RecordResult(
        outcome.record.index,
        line,
        file_format.render_error(outcome.record, facts) if failure else b"",
        failure.kind if failure else ANSWERED,
        failure.code if failure else "",
        outcome.requested_model,
        (completion.model or outcome.route) if completion else "",
        outcome.redacted,
        outcome.searches,
        outcome.unrestored,
        outcome.record.line if failure else 0,
        find_id(outcome.record.data) if failure else "",
        outcome.labels_without_value,
    )


TRIES = 6
"""How often a search may fail. Tries that a service throttles are free: only the end of the unit's sending ends them."""
_THROTTLED = 429
_NOT_SENT = "the record was not sent"


class Searched(Struct, frozen=True):
    """A redacted request, and what the search took: see ``Findings``."""

    redacted: Redacted
    searches: dict[str, int] = {}


async def redact_record(
    request: CompletionRequest,
    policy: RedactionPolicy,
    *,
    detectors: ExternalDetectors | None,
    patience: Patience,
    rng: random.Random,
) -> Searched:
    """Redact a request as ``redact_request`` does, with the spans that external detectors find as well.

    Raises:
        RecordError: see ``redact_request``.
        SendingEndedError: this worker sends nothing more, so nothing more is searched either.
    """
    text = collect_text(request, policy)
    spans, searches = list[Span](), Counter[str]()
    for name in external_detectors(policy) if text else ():
        finds = await patience.cancel_when_ended(_search(name, text, policy, detectors, patience, rng))
        spans += finds.spans
        searches.update(finds.searches)
    return Searched(redact_request(request, policy, FoundBefore({text: spans})), dict(searches))


async def _search(
    name: str,
    text: str,
    policy: RedactionPolicy,
    detectors: ExternalDetectors | None,
    patience: Patience,
    rng: random.Random,
) -> Findings:
    try:
        return await _find_with_retries(_find_detector(name, detectors), text, policy, patience, rng)
    except (RecordError, SendingEndedError):
        raise
    except DetectorMissingError as missing:
        reason = str(missing)
    except ProviderError as error:
        reason = f"the detector {name} failed: {error.code}"
    except Exception as error:  # noqa: BLE001  whatever it is, nothing may leave
        reason = f"the detector {name} ended in {type(error).__name__}"
    raise RecordError(reason, code="redaction_failed", remedy=_NOT_SENT)  # outside of the handler: errors quote texts


def _find_detector(name: str, detectors: ExternalDetectors | None) -> ExternalDetector:
    if detectors is None:
        raise DetectorMissingError(name)
    return detectors.detector(name)


async def _find_with_retries(
    detector: ExternalDetector, text: str, policy: RedactionPolicy, patience: Patience, rng: random.Random
) -> Findings:
    throttled = False

    async def find() -> Findings:
        nonlocal throttled
        try:
            return await detector.find(text, policy)
        except RetryLaterError as error:
            throttled = error.status == _THROTTLED
            raise

    try:
        return await find()
    except RetryLaterError as failed:
        return await retry(
            find, failed=failed, tries=TRIES, counts=lambda: not throttled, pause=patience.pause, rng=rng
        )
