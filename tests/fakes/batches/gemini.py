"""Batches of the Gemini API from the server's side; shapes as in google-genai 3.6.1's ``batches.py`` and ``files.py``."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal

import msgspec

from promptmill.domain.times import rfc3339
from tests.fakes.batches.fates import Fate, FateOf, Told, all_answered, tell
from tests.fakes.batches.server import FakeBatchServer, Operation, Says, Seen
from tests.fakes.clock import FakeClock
from tests.fakes.providers import vertex
from tests.fakes.providers.behaviours import Answer, Sent

_PLACES: tuple[tuple[str, str, Operation], ...] = (
    ("POST", r"/upload/v1beta/files", "begin_upload"),
    ("POST", r"/store/(?P<id>\d+)", "upload"),
    ("POST", r"/v1beta/models/(?P<model>[^/:]+):batchGenerateContent", "create"),
    ("GET", r"/v1beta/batches", "list"),
    ("GET", r"/v1beta/(?P<id>batches/[^/:]+)", "poll"),
    ("POST", r"/v1beta/(?P<id>batches/[^/:]+):cancel", "cancel"),
    ("DELETE", r"/v1beta/(?P<id>batches/[^/:]+)", "delete"),
    ("GET", r"/v1beta/(?P<id>files/[^/:]+):download", "read"),
    ("DELETE", r"/v1beta/(?P<id>files/[^/:]+)", "delete_file"),
)
_ERRORS: dict[Fate, tuple[int, str]] = {
    "refuse": (3, "The input token count exceeds the maximum number of tokens allowed"),
    "overload": (14, "The model is overloaded."),
    "zero": (13, "Internal error"),
    "no_money": (7, "This API method requires billing to be enabled."),
}
_ENDINGS = {"completed": "SUCCEEDED", "expired": "EXPIRED", "cancelled": "CANCELLED", "failed": "FAILED"}


class GeminiBatchServer(FakeBatchServer):
    """Runs a batch until ``finish``."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.fate_of: FateOf = all_answered
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self._begun: dict[str, int] = {}

    def operation_of(self, seen: Seen) -> Operation:
        found = [name for method, path, name in _PLACES if method == seen.method and re.fullmatch(path, seen.path)]
        return found[0] if found else ""

    def serve(self, operation: Operation, seen: Seen) -> Says:
        if not operation:
            return self.refuse(error(404, "NOT_FOUND", seen.path), f"no {seen.method} {seen.path}")
        if (seen.headers.get("x-goog-api-key") == vertex.GEMINI_KEY) == (operation == "upload"):
            return self.refuse(error(401, "UNAUTHENTICATED", "API key not valid."), f"the key at {operation}")
        groups = next(
            found for _, path, name in _PLACES if name == operation and (found := re.fullmatch(path, seen.path))
        )
        match operation:
            case "begin_upload" | "upload" | "create" | "list":
                start = {
                    "begin_upload": self._begin,
                    "upload": self._upload,
                    "create": self._create,
                    "list": self._list,
                }
                return start[operation](seen)
            case "read" | "delete_file":
                return self._file(groups["id"], operation)
        if groups["id"] not in self.batches:
            return error(404, "NOT_FOUND", "Requested entity was not found.")
        return self._batch(groups["id"], operation)

    def finish(
        self, batch_id: str, ending: Literal["completed", "expired", "cancelled", "failed"] = "completed"
    ) -> None:
        """End a batch, as time does."""
        metadata = self.batches[batch_id]["metadata"]
        lines = self._lines(metadata["inputConfig"]["fileName"])
        told = [one for one in tell([line["key"] for line in lines], self.fate_of) if one.fate != "not_run"]
        written = [_written(one, lines[one.about]) for one in told]
        name = f"files/results-{len(self.files) + 1}"
        self.files[name] = b"\n".join(map(msgspec.json.encode, written))
        good = sum("response" in line for line in written)
        stats = {"requestCount": str(len(lines)), "successfulRequestCount": str(good)}
        metadata |= {
            "state": f"BATCH_STATE_{_ENDINGS[ending]}",
            "output": {"responsesFile": name},
            "batchStats": {**stats, "failedRequestCount": str(len(written) - good)},
            "endTime": self._now(),
        }
        self.batches[batch_id] |= {"done": True, "response": {"responsesFile": name}}

    def say(self, batch_id: str, word: str) -> None:
        """Let the service call the batch's state by this word."""
        self.batches[batch_id]["metadata"]["state"] = word

    def vanish(self, batch_id: str) -> None:
        """Somebody else deletes the batch."""
        del self.batches[batch_id]

    def _begin(self, seen: Seen) -> Says:
        wanted = {"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"}
        if wrong := [name for name, value in wanted.items() if seen.headers.get(name) != value]:
            return self.refuse(error(400, "INVALID_ARGUMENT", str(wrong)), f"an upload without {wrong}")
        place = str(len(self._begun) + 1)
        self._begun[place] = int(seen.headers["x-goog-upload-header-content-length"])
        return Says(200, {}, {"X-Goog-Upload-URL": f"{self.url}/store/{place}", "X-Goog-Upload-Status": "active"})

    def _upload(self, seen: Seen) -> Says:
        place = seen.path.rpartition("/")[2]
        wanted = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}
        if any(seen.headers.get(name) != value for name, value in wanted.items()):
            return self.refuse(error(400, "INVALID_ARGUMENT", "upload"), "an upload without its commands")
        if len(seen.data) != self._begun[place]:
            return self.refuse(error(400, "INVALID_ARGUMENT", "length"), "another length than was said")
        name = f"files/in-{place}"
        self.files[name] = seen.data
        return Says(200, {"file": {"name": name, "sizeBytes": str(len(seen.data))}}, {"X-Goog-Upload-Status": "final"})

    def _create(self, seen: Seen) -> Says:
        batch = seen.json.get("batch", {})
        if set(seen.json) != {"batch"} or set(batch) != {"displayName", "inputConfig"}:
            return self.refuse(error(400, "INVALID_ARGUMENT", "fields"), f"a batch of {sorted(batch)}")
        if set(batch["inputConfig"]) != {"fileName"}:
            return self.refuse(error(400, "INVALID_ARGUMENT", "inputConfig"), "the inputConfig")
        if batch["inputConfig"]["fileName"] not in self.files:
            return error(403, "PERMISSION_DENIED", "You do not have permission to access the File or it may not exist.")
        for line in self._lines(batch["inputConfig"]["fileName"]):
            if wrong := _line_problem(line):
                self.wrong.append(wrong)
        name = f"batches/b{len(self.batches) + 1}"
        metadata = {**batch, "name": name, "state": "BATCH_STATE_PENDING", "createTime": self._now()}
        self.batches[name] = {"name": name, "metadata": metadata}
        return Says(200, self.batches[name])

    def _list(self, seen: Seen) -> Says:
        known = [b for b in reversed(self.batches.values()) if self.is_listed(_epoch(b["metadata"]["createTime"]))]
        start = int(seen.query.get("pageToken") or "0")
        page = known[start : start + min(int(seen.query.get("pageSize", "20")), 40)]
        more = {"nextPageToken": str(start + len(page))} if start + len(page) < len(known) else {}
        return Says(200, {"operations": page, **more})

    def _batch(self, name: str, operation: Operation) -> Says:
        batch = self.batches[name]
        is_over = batch.get("done", False)
        if operation == "poll":
            answer = Says(200, {**batch, "metadata": dict(batch["metadata"])})
            if batch["metadata"]["state"] == "BATCH_STATE_PENDING":
                batch["metadata"]["state"] = "BATCH_STATE_RUNNING"
            return answer
        if operation == "cancel":
            return error(400, "FAILED_PRECONDITION", "it has ended") if is_over else Says(200, {})
        del self.batches[name]
        return Says(200, {})

    def _file(self, name: str, operation: Operation) -> Says:
        if name not in self.files:
            return error(404, "NOT_FOUND", "no such file")
        if operation == "read":
            return Says(200, self.files[name])
        del self.files[name]
        return Says(200, {})

    def _lines(self, name: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.files[name].splitlines()]

    def _now(self) -> str:
        return rfc3339(self.clock.now())


def _line_problem(line: dict[str, Any]) -> str | None:
    if set(line) != {"key", "request"}:
        return f"a line of {sorted(line)}"
    sent = Sent("/v1beta/models/m:generateContent", {"x-goog-api-key": vertex.GEMINI_KEY}, b"", line["request"])
    refused = vertex.Gemini().refusal_of(sent)
    return str(refused.body) if refused else None


def _written(told: Told, line: dict[str, Any]) -> dict[str, Any]:
    if told.fate != "answer":
        code, words = _ERRORS[told.fate]
        return {"key": told.id, "error": {"code": code, "message": words}}
    sent = Sent("/v1beta/models/gemini-3.8-flash:generateContent", {}, b"", line["request"])
    return {"key": told.id, "response": vertex.Gemini().answer(Answer(f"Answer to {line['key']}."), sent).body}


def _epoch(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def error(status: int, code: str, message: str) -> Says:
    return Says(status, {"error": {"code": status, "status": code, "message": message}})
