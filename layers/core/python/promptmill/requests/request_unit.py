"""A request as the engine sees it: a unit of one record."""

from __future__ import annotations

from typing import Any

import msgspec

from promptmill.calls.call_gate import ClosedRoutes
from promptmill.calls.complete_record import render_result
from promptmill.domain.errors import InconsistentError
from promptmill.domain.job import Counts
from promptmill.domain.job_file import FileFacts
from promptmill.domain.layout import answer_key, request_journals
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Failure, Outcome, RawRecord, RecordResult
from promptmill.domain.units import Verdict
from promptmill.engine.history import History
from promptmill.engine.takeover import record_charges
from promptmill.engine.unit import UnitRuntime
from promptmill.formats.file_format import FileFormat, format_named
from promptmill.ports.message_queue import MessageLease
from promptmill.requests.envelope import RequestEnvelope, StoredAnswer, request_unit

_FACTS = FileFacts(format="promptmill")

_STOPPED = {
    "expired": Failure("stopped", "expired", "the request's expires_at had passed before it could run", "expires_at"),
    "gave_up": Failure(
        "stopped",
        "gave_up",
        "the request had waited for as long as its recipe allows (give_up_after). Publish it again under a new id",
    ),
    "worker_crashed": Failure(
        "worker", "worker_crashed", "the request could not be run: every worker that tried it ended"
    ),
    "budget_spent": Failure("stopped", "budget_spent", "the budget is spent"),
    "day_spent": Failure("stopped", "day_spent", "the day's budget is spent; publish it again tomorrow (UTC)"),
}


class RequestUnit:
    """The ``Unit`` of one request. Its ``body`` is a line of our own format."""

    job_id = ""
    gate = None
    facts = _FACTS

    def __init__(
        self,
        envelope: RequestEnvelope,
        body: dict[str, Any],
        recipe: Recipe,
        body_hash: str,
        *,
        identity: str,
        lease: MessageLease,
        runtime: UnitRuntime,
    ) -> None:
        self.envelope, self.body_hash, self.recipe = envelope, body_hash, recipe
        self._identity = identity
        self._record = RawRecord(0, 1, msgspec.json.encode({"id": envelope.id} | body))
        self.lease, self._runtime = lease, runtime
        self.closed = ClosedRoutes()

    @property
    def name(self) -> str:
        return request_unit(self.recipe.name, self._identity)

    @property
    def journals(self) -> str:
        return request_journals(self.recipe.name, self._identity)

    @property
    def file_format(self) -> FileFormat:
        return format_named("promptmill")

    async def stop_code(self) -> str:
        return ""

    async def records(self) -> list[RawRecord]:
        return [self._record]

    async def outline(self) -> list[RawRecord]:
        return [self._record]

    async def read_record(self, place: RawRecord) -> RawRecord:
        return place

    def result(self, outcome: Outcome) -> RecordResult:
        return render_result(outcome, self.file_format, _FACTS, self.recipe, "")

    async def ends_without_money(self, code: str, *, waits: bool) -> bool:
        """End the request at once: somebody waits for the reply."""
        del code, waits
        return True

    async def progress(self, counts: Counts) -> None:
        """Do nothing: a request is over too soon for anybody to ask."""

    async def close(self, history: History, verdict: Verdict) -> None:
        """Write the charges and the answer, which may be an error."""
        await record_charges(self, history, runtime=self._runtime)
        result = history.results.get(0) or self._stopped(verdict, history)
        answer = msgspec.json.encode(StoredAnswer(self.body_hash, self._reply(result)))
        key = answer_key(self.recipe.name, self._identity)
        if not await self._runtime.objects.create(key, answer, content_type="application/json"):
            raise InconsistentError(f"the answer of {self.name} is there, and differs")

    def _stopped(self, verdict: Verdict, history: History) -> RecordResult:
        failure = _STOPPED.get(
            verdict.code, Failure("stopped", verdict.code, "the request was ended before it could run")
        )
        return self.result(Outcome(self._record, None, failure, attempts=history.attempts_of(0)))

    def _reply(self, result: RecordResult) -> dict[str, Any]:
        line: dict[str, Any] = msgspec.json.decode(result.line)
        fields = {name: value for name, value in line.items() if name != "record"}
        return {"recipe": self.recipe.name} | fields | {"id": self.envelope.id}
