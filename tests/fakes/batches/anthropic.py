"""Anthropic's Message Batches from the server's side. The SDK's own types judge creates."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal

import msgspec
from anthropic.types.messages.batch_create_params import BatchCreateParams, Request

from promptmill.domain.times import rfc3339
from tests.fakes.batches.fates import Fate, FateOf, Told, all_answered, tell
from tests.fakes.batches.server import FakeBatchServer, Operation, Says, Seen
from tests.fakes.clock import FakeClock
from tests.fakes.providers.anthropic import KEY, WORKSPACE, body_problem, message
from tests.fakes.providers.aws_signature import signature_problem
from tests.fakes.providers.behaviours import Answer, Sent

_PATH = re.compile(r"/v1/messages/batches(?:/(?P<id>[^/]+)(?:/(?P<verb>results|cancel))?)?")
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ERRORS: dict[Fate, tuple[str, str]] = {
    "refuse": ("invalid_request_error", "messages: at least one message is required"),
    "overload": ("overloaded_error", "Overloaded"),
    "zero": ("api_error", "Internal server error"),
    "no_money": ("invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
}


class AnthropicBatchServer(FakeBatchServer):
    """Runs a batch until ``finish``. Counts stay at zero until the end, as the real ones do.

    Args:
        on_aws: as Claude Platform on AWS, which wants a signature and a workspace instead of a key.

    Attributes:
        page_cap: the most batches on a page of the list, whatever is asked for.
    """

    def __init__(self, clock: FakeClock, *, on_aws: bool = False) -> None:
        super().__init__(clock)
        self._on_aws = on_aws
        self.fate_of: FateOf = all_answered
        self.page_cap = 50
        self.batches: dict[str, dict[str, Any]] = {}
        self.requests: dict[str, list[dict[str, Any]]] = {}
        self.results: dict[str, bytes] = {}

    def operation_of(self, seen: Seen) -> Operation:
        found = _PATH.fullmatch(seen.path)
        if found is None:
            return ""
        names: dict[tuple[str, bool, str | None], Operation] = {
            ("POST", False, None): "create",
            ("GET", False, None): "list",
            ("GET", True, None): "poll",
            ("DELETE", True, None): "delete",
            ("GET", True, "results"): "read",
            ("POST", True, "cancel"): "cancel",
        }
        return names.get((seen.method, bool(found["id"]), found["verb"]), "")

    def serve(self, operation: Operation, seen: Seen) -> Says:
        found = _PATH.fullmatch(seen.path)
        if found is None or not operation:
            return self.refuse(error(404, "not_found_error", "no such path"), f"no {seen.method} {seen.path}")
        if wrong := self._stranger(seen):
            return self.refuse(error(401, "authentication_error", wrong), wrong)
        if seen.headers.get("anthropic-version") != "2023-06-01":
            return self.refuse(error(400, "invalid_request_error", "anthropic-version"), "the version")
        if operation in ("create", "list"):
            return self._create(seen) if operation == "create" else self._list(seen)
        serve = {"poll": self._poll, "cancel": self._cancel, "read": self._read, "delete": self._delete}[operation]
        return serve(found["id"]) if found["id"] in self.batches else error(404, "not_found_error", "no such batch")

    def finish(self, batch_id: str, ending: Literal["completed", "expired", "cancelled"] = "completed") -> None:
        """End a batch, as time does."""
        lines = self.requests[batch_id]
        told = tell([line["custom_id"] for line in lines], self.fate_of)
        written = [_written(one, lines[one.about], ending) for one in told]
        # Real ones end their last line too; a reading that is cut there must be noticed all the same.
        self.results[batch_id] = b"\n".join(map(msgspec.json.encode, written))
        batch = self.batches[batch_id]
        counts = dict.fromkeys(batch["request_counts"], 0)
        for line in written:
            counts[line["result"]["type"]] += 1
        counts["errored"] += len(lines) - sum(counts.values()) if sum(counts.values()) < len(lines) else 0
        batch |= {
            "processing_status": "ended",
            "request_counts": counts,
            "ended_at": self._now(),
            "results_url": f"https://api.anthropic.com/v1/messages/batches/{batch_id}/results",
        }

    def say(self, batch_id: str, word: str) -> None:
        """Let the service call the batch's state by this word."""
        self.batches[batch_id]["processing_status"] = word

    def vanish(self, batch_id: str) -> None:
        """Somebody else deletes the batch."""
        del self.batches[batch_id]

    def archive(self, batch_id: str) -> None:
        """29 days pass."""
        self.batches[batch_id] |= {"archived_at": self._now(), "results_url": None}
        del self.results[batch_id]

    def _stranger(self, seen: Seen) -> str | None:
        if not self._on_aws:
            return None if seen.headers.get("x-api-key") == KEY else "invalid x-api-key"
        if seen.headers.get("anthropic-workspace-id") != WORKSPACE:
            return "anthropic-workspace-id: header is required"
        sent = Sent(seen.raw_path, seen.headers, seen.data, {}, method=seen.method)
        return signature_problem(sent, "aws-external-anthropic", signed=frozenset({"anthropic-workspace-id"}))

    def _create(self, seen: Seen) -> Says:
        body = seen.json
        if wrong := _problem(body):
            return self.refuse(error(400, "invalid_request_error", wrong), wrong)
        batch_id = f"msgbatch_{len(self.batches) + 1}"
        self.requests[batch_id] = body["requests"]
        counts = {"processing": len(body["requests"]), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        self.batches[batch_id] = {
            "id": batch_id,
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": counts,
            "created_at": self._now(),
            "expires_at": "2030-01-01T00:00:00Z",
            "ended_at": None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": None,
        }
        return Says(200, self.batches[batch_id])

    def _list(self, seen: Seen) -> Says:
        limit = int(seen.query.get("limit", "20"))
        if not 1 <= limit <= 1000:
            return self.refuse(error(400, "invalid_request_error", "limit"), f"limit {limit}")
        known = [b for b in reversed(self.batches.values()) if self.is_listed(_epoch(b["created_at"]))]
        ids = [batch["id"] for batch in known]
        start = ids.index(seen.query["after_id"]) + 1 if seen.query.get("after_id") in ids else 0
        page = known[start : start + min(limit, self.page_cap)]
        has_more = start + len(page) < len(known)
        ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
        return Says(200, {"data": page, "has_more": has_more, **ends})

    def _poll(self, batch_id: str) -> Says:
        return Says(200, self.batches[batch_id])

    def _read(self, batch_id: str) -> Says:
        body = self.results.get(batch_id)
        return error(404, "not_found_error", "no results") if body is None else Says(200, body)

    def _cancel(self, batch_id: str) -> Says:
        batch = self.batches[batch_id]
        if batch["processing_status"] == "ended":
            return error(400, "invalid_request_error", "a batch that has ended cannot be canceled")
        batch |= {"processing_status": "canceling", "cancel_initiated_at": self._now()}
        return Says(200, batch)

    def _delete(self, batch_id: str) -> Says:
        if self.batches[batch_id]["processing_status"] != "ended":
            return error(400, "invalid_request_error", "cancel it first")
        del self.batches[batch_id]
        return Says(200, {"id": batch_id, "type": "message_batch_deleted"})

    def _now(self) -> str:
        return rfc3339(self.clock.now())


def _problem(body: dict[str, Any]) -> str | None:
    if set(body) != {"requests"} or not body["requests"]:
        return f"a body of {sorted(body)}, wanted {sorted(BatchCreateParams.__annotations__)}"
    ids = [request.get("custom_id", "") for request in body["requests"]]
    if len(set(ids)) < len(ids) or not all(_ID.fullmatch(one) for one in ids):
        return "custom_id: unique, and of letters, digits, - and _"
    if any(set(request) != Request.__annotations__.keys() for request in body["requests"]):
        return "requests: unknown fields"
    if any(request["params"].get("stream") for request in body["requests"]):
        return "stream: not in a batch"
    return next((wrong for request in body["requests"] if (wrong := body_problem(request["params"]))), None)


def _written(told: Told, request: dict[str, Any], ending: str) -> dict[str, Any]:
    if told.fate == "answer":
        whole = message(Answer(f"Answer to {request['custom_id']}."), request["params"]["model"])
        whole["usage"]["service_tier"] = "batch"
        return {"custom_id": told.id, "result": {"type": "succeeded", "message": whole}}
    if told.fate == "not_run":
        return {"custom_id": told.id, "result": {"type": "canceled" if ending == "cancelled" else "expired"}}
    kind, words = _ERRORS[told.fate]
    wrong = {"type": "error", "error": {"type": kind, "message": words}, "request_id": f"req_{told.about}"}
    return {"custom_id": told.id, "result": {"type": "errored", "error": wrong}}


def _epoch(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def error(status: int, kind: str, message_text: str) -> Says:
    return Says(status, {"type": "error", "error": {"type": kind, "message": message_text}, "request_id": "req_1"})
