"""A batch service in memory, at the level of the port: every create, every batch and every bill can be looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.errors import MissingObjectError, ProviderError
from promptmill.domain.recipe import Route
from promptmill.ports.batch_service import (
    BatchOrder,
    BatchState,
    BatchStatus,
    Created,
    FoundBatch,
    Refused,
    Unknown,
)
from promptmill.ports.clock import Clock
from promptmill.wire.batches.lines import AnsweredLine, FailedLine, LineFault, ResultLine
from promptmill.wire.batches.terms import TERMS, BatchTerms
from tests.fakes.batches.fates import Fate, FateOf, all_answered, tell
from tests.fakes.failing import FailsOnRequest

USAGE = Usage(input_total=21, output_total=9)
LINE_NANO = 195
"""What an answered line costs at half of ``FlatPrices``."""
_FAULTS: dict[Fate, LineFault] = {
    "refuse": "refused",
    "overload": "retry",
    "no_money": "closes_route",
    "zero": "retry",
    "not_run": "not_run",
}
_TAKES = timedelta(minutes=5)


class _Line(Struct):
    id: str
    text: str = ""
    fate: str = ""


class FakeBatch(Struct):
    """A batch that was made. ``bill`` counts from the moment that its lines have run; a ``deaf`` one hears no cancel."""

    id: str
    label: str
    lines: list[str]
    created_at: datetime
    state: BatchState = "running"
    results: bytes = b""
    has_results: bool = True
    answered: int = 0
    cancelled: bool = False
    deaf: bool = False

    @property
    def bill(self) -> int:
        return self.answered * LINE_NANO


class FakeBatches(FailsOnRequest):
    """The ``BatchService`` and ``BatchServices`` ports.

    Attributes:
        terms_now: what it takes.
        fate_of: what becomes of each line, by its place.
        creates: the labels of all creates that came in, those that were refused too.
        next_creates: how the next creates end: ``made``, ``lost`` (made, and nobody is told), ``nothing`` (not made, and
            nobody is told), or a refusal.
        seen_after: how long new batches stay out of the list.
        untold: the labels of creates whose answer was lost.
        ends_as: the state in which batches end by themselves, once they have taken ``takes``.
    """

    def __init__(self, clock: Clock) -> None:
        self.terms_now: BatchTerms = TERMS["openai"]
        self.fate_of: FateOf = all_answered
        self.batches: dict[str, FakeBatch] = {}
        self.creates: list[str] = []
        self.next_creates: list[str | Refused] = []
        self.uploads: dict[str, bytes] = {}
        self.seen_after = timedelta(0)
        self.takes = _TAKES
        self.ends_as: BatchState = "completed"
        self.deleted: set[str] = set()
        self.untold: set[str] = set()
        self.cancels: list[str] = []
        self.on_create: Callable[[], object] = lambda: None
        self._clock, self._uploaded = clock, 0

    def service_for(self, route: Route) -> FakeBatches:
        del route
        return self

    async def terms(self, route: Route) -> BatchTerms:
        del route
        return self.terms_now

    def write_line(self, route: Route, request: CompletionRequest, *, line_id: str) -> bytes:
        del route
        text = "".join(getattr(part, "text", "") for message in request.messages for part in message.parts)
        return msgspec.json.encode(_Line(line_id, text)) + b"\n"

    async def upload(self, route: Route, order: BatchOrder) -> str:
        del route
        data = b"".join([block async for block in order.read()])
        self._uploaded += 1
        name = f"file-{self._uploaded}"
        self.uploads[name] = data
        if len(data) != order.length:
            raise AssertionError("the length that was said is not the length of the lines")
        return name

    async def create(self, route: Route, order: BatchOrder, upload: str) -> Created | Refused | Unknown:
        del route
        self.creates.append(order.label)
        self.on_create()
        how = self.next_creates.pop(0) if self.next_creates else "made"
        if isinstance(how, Refused):
            return how
        if how in ("nothing", "lost"):
            self.untold.add(order.label)
        if how == "nothing":
            return Unknown("timeout")
        batch = self.make(order.label, self.uploads[upload])
        return Unknown("timeout") if how == "lost" else Created(batch.id)

    def make(self, label: str, data: bytes) -> FakeBatch:
        """Make a batch, as somebody else may do as well."""
        ids = [msgspec.json.decode(line, type=_Line).id for line in data.splitlines()]
        batch = FakeBatch(f"batch-{len(self.batches) + 1}", label, ids, self._clock.now())
        self.batches[batch.id] = batch
        return batch

    async def find(self, route: Route, order: BatchOrder, upload: str, *, since: datetime) -> tuple[FoundBatch, ...]:
        del route, upload
        by_label = self.terms_now.proof == "label"
        now = self._clock.now()
        found = []
        for batch in self.batches.values():
            is_seen = batch.created_at + self.seen_after <= now and batch.created_at >= since - timedelta(minutes=1)
            if is_seen and (not by_label or batch.label == order.label):
                found.append(FoundBatch(batch.id, by_label, "", len(batch.lines)))
        return tuple(found)

    async def poll(self, route: Route, batch_id: str) -> BatchStatus:
        del route
        if batch_id in self.deleted or batch_id not in self.batches:
            return BatchStatus(batch_id, "gone", "deleted")
        batch = self.batches[batch_id]
        if batch.state == "running" and (batch.cancelled or self._clock.now() >= batch.created_at + self.takes):
            self.finish(batch_id, "cancelled" if batch.cancelled else self.ends_as)
        files = ("results",) if batch.state != "running" and batch.has_results else ()
        return BatchStatus(batch_id, batch.state, batch.state, files=files)

    def finish(self, batch_id: str, state: BatchState, *, has_results: bool = True) -> None:
        batch = self.batches[batch_id]
        if batch.state != "running":
            return
        told = tell(batch.lines, self.fate_of) if has_results else []
        batch.state, batch.has_results = state, has_results
        paid = {line.about for line in told if line.fate in ("answer", "double", "foreign")}
        paid |= {n for n in range(len(batch.lines)) if has_results and self.fate_of(n) == "missing"}
        batch.answered = len(paid)
        batch.results = b"".join(
            msgspec.json.encode(_Line(line.id, f"about {line.about}", line.fate)) + b"\n" for line in told
        )

    async def results(self, route: Route, order: BatchOrder, status: BatchStatus) -> AsyncIterator[bytes]:
        del route, order
        if status.id in self.deleted:
            raise MissingObjectError(status.id)
        data = self.batches[status.id].results
        for at in range(0, len(data), 1_000):
            yield data[at : at + 1_000]

    def read_line(self, line: bytes) -> ResultLine | None:
        try:
            found = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError:
            return None
        if found.fate in ("answer", "double", "foreign"):
            return AnsweredLine(found.id, found.text.encode())
        return FailedLine(found.id, _FAULTS[found.fate], found.fate)  # type: ignore[index]

    def read_answer(self, route: Route, request: CompletionRequest, line: AnsweredLine) -> Completion:
        if line.body == b"garbage":
            raise ProviderError("malformed", usage_unknown=True)
        asked = "".join(getattr(part, "text", "") for message in request.messages for part in message.parts)
        return Completion(f"In a batch: {asked}", "stop", USAGE, raw_finish="stop", model=route.model)

    async def cancel(self, route: Route, batch_id: str) -> None:
        del route
        self.cancels.append(batch_id)
        batch = self.batches.get(batch_id)
        if batch is not None and batch.state == "running" and not batch.deaf:
            batch.cancelled = True

    async def delete(self, route: Route, upload: str, status: BatchStatus) -> None:
        del route
        self.uploads.pop(upload, None)
        self.deleted.add(status.id)

    def move_to(self, clock: Clock) -> None:
        """Go by another clock from now on."""
        self._clock = clock

    @property
    def bill(self) -> int:
        return sum(batch.bill for batch in self.batches.values())
