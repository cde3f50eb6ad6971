"""A provider's batch service: many lines go in together, and come back within a day, mostly at half price.

An adapter keeps nothing and repeats nothing. What is durable, and who may call what and when, is the business of those
who use it. Each call is made once; ``create`` above all, because no service but a few would notice a second one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Literal, Protocol

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Route
from promptmill.wire.batches.lines import AnsweredLine, ResultLine
from promptmill.wire.batches.terms import BatchTerms

_LABEL = re.compile(r"(?=.{1,48}\Z)[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")


class BatchOrder(Struct, frozen=True):
    """One submission, as it is staged in our bucket.

    Attributes:
        label: the submission's id: up to 48 letters, digits and hyphens. Services that can be told a name, a token or
            metadata are told this.
        lines, length: the number of lines, and of their bytes.
        read: begins to read all lines, in order, from the first byte; may be called again.
        folder: the folder in our bucket that holds the parts, each named ``….jsonl``, and nothing else.
        output: the folder in our bucket for the results of services that write there themselves.
        window_h: the hours that the service is given, where it lets us choose.
    """

    label: str
    lines: int
    length: int
    read: Callable[[], AsyncIterator[bytes]]
    folder: str = ""
    output: str = ""
    window_h: int = 24

    def __post_init__(self) -> None:
        """Raise ValueError for a label that some service would refuse: labels are ours to make."""
        if not _LABEL.fullmatch(self.label):
            raise ValueError("the label of a submission has up to 48 letters, digits and single hyphens between them")


RefusalKind = Literal[
    "queue_full", "unavailable", "too_few_lines", "too_large", "invalid", "model_closed", "route_closed"
]
"""Why there is no batch. ``queue_full``: wait for own batches to end, or send fewer lines. ``unavailable``: try later.
``too_few_lines``, ``too_large``: send another number of lines. ``invalid``: these lines go live. ``model_closed``: no batch
of this model on this route. ``route_closed``: key, money or address are at fault, for live calls as well."""


class Refused(Struct, frozen=True):
    """There is no batch, for certain, and nothing is billed.

    Attributes:
        code: the provider's own code, or ours; safe for logs and tables.
        detail: the provider's words, which may quote a line.
        retry_after_s: the seconds to wait, None where nothing says so.
    """

    kind: RefusalKind
    code: str
    detail: str = ""
    retry_after_s: float | None = None


class Created(Struct, frozen=True):
    """The service took the batch and named it."""

    id: str


class Unknown(Struct, frozen=True):
    """The answer was lost or is none: there may be a batch. It has to be looked for, never created again."""

    code: str


class FoundBatch(Struct, frozen=True):
    """A batch that may be ours.

    Attributes:
        proven: it carries our label or our upload. Else only its results can prove whose it is.
        lines: how many it has, None where the service does not say.
    """

    id: str
    proven: bool
    created_at: str = ""
    lines: int | None = None


class BatchUsage(Struct, frozen=True):
    """The tokens of a whole batch as the provider counts them. Input includes the cache, output includes reasoning."""

    input_total: int
    output_total: int
    cache_read: int = 0
    reasoning: int = 0


class BatchFault(Struct, frozen=True):
    """What the provider says against a whole batch; ``line`` counts from 1, and is None where no line is named."""

    code: str
    detail: str = ""
    line: int | None = None


BatchState = Literal["running", "completed", "failed", "expired", "cancelled", "gone"]
"""``failed``: the batch ended as a whole, by a fault. ``gone``: it was deleted or archived, and its results with it."""


class BatchStatus(Struct, frozen=True):
    """What a service says of a batch. Counts are its own and may lie: only the lines of the results count.

    Attributes:
        said: the provider's own word for the state. Unknown words count as running.
        files: what the results are read from; empty where there are none.
        refusal: why the batch as a whole was refused after all, for a state of ``failed``.
    """

    id: str
    state: BatchState
    said: str
    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    usage: BatchUsage | None = None
    faults: tuple[BatchFault, ...] = ()
    refusal: Refused | None = None
    files: tuple[str, ...] = ()

    @property
    def has_ended(self) -> bool:
        """Return True once nothing more will happen to the batch."""
        return self.state != "running"


class BatchService(Protocol):
    """One provider's service. All calls but ``create`` raise ProviderError; RetryLaterError says: later, again."""

    async def terms(self, route: Route) -> BatchTerms:
        """Return what the service takes for this route's model."""
        ...

    def write_line(self, route: Route, request: CompletionRequest, *, line_id: str) -> bytes:
        """Return the request as a line with its end.

        Raises:
            RecordError: a field cannot be carried, or not in a batch (``unsupported_field``): such a line goes live.
            RouteClosedError: the route has no batches at all.
        """
        ...

    async def upload(self, route: Route, order: BatchOrder) -> str:
        """Send the lines and return the id of the upload, "" where none is needed.

        An upload that was lost or repeated costs nothing and expires by itself.

        Raises:
            ProviderError: see domain/errors.py.
        """
        ...

    async def create(self, route: Route, order: BatchOrder, upload: str) -> Created | Refused | Unknown:
        """Create the batch by one request that nothing repeats. Raise nothing that the service or the network does."""
        ...

    async def find(self, route: Route, order: BatchOrder, upload: str, *, since: datetime) -> tuple[FoundBatch, ...]:
        """Look for the batches that a create sent after ``since`` may have made, the likeliest first.

        Lists may lag, so that an empty answer proves nothing until ``appears_within_h`` is over.
        """
        ...

    async def poll(self, route: Route, batch_id: str) -> BatchStatus:
        """Return the batch's state. A batch that is not there is ``gone``."""
        ...

    def results(self, route: Route, order: BatchOrder, status: BatchStatus) -> AsyncIterator[bytes]:
        """Read the result lines of a batch that has ended, always from the start, each with its end.

        Raises:
            RetryLaterError: the reading broke off. What came before is worth nothing. Where the service writes into our
                own bucket, the bucket's own errors say so.
            MissingObjectError: the results are gone.
        """
        ...

    def read_line(self, line: bytes) -> ResultLine | None:
        """Return what became of a line; a pure function. Return None for what is no result line."""
        ...

    def read_answer(self, route: Route, request: CompletionRequest, line: AnsweredLine) -> Completion:
        """Return the answer of a line; a pure function.

        Raises:
            ProviderError: the body holds an error, or is no answer.
        """
        ...

    async def cancel(self, route: Route, batch_id: str) -> None:
        """Ask for the end of a batch, whose finished lines stay. A batch that has ended is left as it is."""
        ...

    async def delete(self, route: Route, upload: str, status: BatchStatus) -> None:
        """Delete what the service keeps of an ended batch: its input, its results, itself. What is gone is no error."""
        ...


class BatchServices(Protocol):
    def service_for(self, route: Route) -> BatchService | None:
        """Return the service of a route's provider, None if it has none. Its adapter is imported when first needed."""
        ...
