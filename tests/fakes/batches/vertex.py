"""Vertex AI's batch prediction jobs and Cloud Storage from the server's side; names as in google-genai 3.6.1."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal

import msgspec

from promptmill.domain.times import rfc3339
from tests.fakes.batches.fates import Fate, FateOf, Told, all_answered, tell
from tests.fakes.batches.gemini import error
from tests.fakes.batches.server import FakeBatchServer, Operation, Says, Seen
from tests.fakes.clock import START, FakeClock
from tests.fakes.providers import vertex
from tests.fakes.providers.behaviours import Answer, Sent
from tests.fakes.providers.google_tokens import GoogleTokenServer
from tests.fakes.providers.vertex import LOCATION, PROJECT

BUCKET = "mill-results"
_JOBS = rf"/v1/projects/{PROJECT}/locations/{LOCATION}/batchPredictionJobs"
_PLACES: tuple[tuple[str, str, Operation], ...] = (
    ("POST", r"/token", "token"),
    ("POST", rf"/upload/storage/v1/b/{BUCKET}/o", "upload"),
    ("GET", rf"/storage/v1/b/{BUCKET}/o", "begin_upload"),
    ("GET", rf"/storage/v1/b/{BUCKET}/o/(?P<id>.+)", "read"),
    ("DELETE", rf"/storage/v1/b/{BUCKET}/o/(?P<id>.+)", "delete_file"),
    ("POST", _JOBS, "create"),
    ("GET", _JOBS, "list"),
    ("GET", rf"{_JOBS}/(?P<id>\d+)", "poll"),
    ("POST", rf"{_JOBS}/(?P<id>\d+):cancel", "cancel"),
    ("DELETE", rf"{_JOBS}/(?P<id>\d+)", "delete"),
)
_STATUSES: dict[Fate, str] = {
    "refuse": 'Bad Request: {"error": {"code": 400, "message": "too long", "status": "INVALID_ARGUMENT"}}',
    "overload": '{"error": {"code": 429, "message": "exhausted", "status": "RESOURCE_EXHAUSTED"}}',
    "zero": "Internal error encountered.",
    "no_money": '{"error": {"code": 403, "message": "billing", "status": "PERMISSION_DENIED"}}',
    "not_run": "CANCELLED: the job was cancelled",
}
_ENDINGS = {"completed": "SUCCEEDED", "expired": "EXPIRED", "cancelled": "CANCELLED", "failed": "FAILED"}


class VertexBatchServer(FakeBatchServer):
    """Takes a job through QUEUED and PENDING, one state a poll, and runs it until ``finish``.

    Attributes:
        echoes: which ids come back beside a row's request: all, or none as for some users.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.fate_of: FateOf = all_answered
        self.echoes = True
        self.tokens = GoogleTokenServer(now=START)
        self.objects: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}

    def operation_of(self, seen: Seen) -> Operation:
        found = [name for method, path, name in _PLACES if method == seen.method and re.fullmatch(path, seen.path)]
        return found[0] if found else ""

    def serve(self, operation: Operation, seen: Seen) -> Says:
        sent = Sent(seen.raw_path, seen.headers, seen.data, {}, method=seen.method)
        if operation == "token":
            wire = self.tokens.aside(sent)
            assert wire is not None
            return Says(wire.status, wire.body)
        if not operation:
            return self.refuse(error(404, "NOT_FOUND", seen.path), f"no {seen.method} {seen.path}")
        if seen.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens.live:
            return self.refuse(error(401, "UNAUTHENTICATED", "no valid token"), f"the token at {operation}")
        plain = {"upload": self._upload, "begin_upload": self._objects, "create": self._create, "list": self._list}
        if operation in plain:
            return plain[operation](seen)
        path = next(path for _, path, name in _PLACES if name == operation)
        found = re.fullmatch(path, seen.path)
        assert found is not None
        if operation in ("read", "delete_file"):
            return self._object(found["id"], operation)
        name = f"{_JOBS.removeprefix('/v1/')}/{found['id']}"
        return self._job(name, operation) if name in self.batches else error(404, "NOT_FOUND", "no such job")

    def finish(
        self, batch_id: str, ending: Literal["completed", "expired", "cancelled", "failed"] = "completed"
    ) -> None:
        """End a job, as time does."""
        job = self.batches[batch_id]
        rows = self._rows(job)
        told = tell([row.get("id") or row["custom_id"] for row in rows], self.fate_of)
        written = [self._written(one, rows[one.about], job) for one in told]
        folder = f"{job['outputConfig']['gcsDestination']['outputUriPrefix']}prediction-model-2026"
        name = folder.removeprefix(f"gs://{BUCKET}/")
        half = len(written) // 2
        for place, part in enumerate((written[:half], written[half:])):
            self.objects[f"{name}/predictions_{place}.jsonl"] = b"\n".join(map(msgspec.json.encode, part))
        good = sum(not row["status"] for row in written)
        job |= {
            "state": f"JOB_STATE_{_ENDINGS[ending]}",
            "outputInfo": {"gcsOutputDirectory": folder},
            "completionStats": {
                "successfulCount": str(good),
                "failedCount": str(len(rows) - good),
                "incompleteCount": "0",
            },
            "endTime": self._now(),
        }

    def say(self, batch_id: str, word: str) -> None:
        """Let the service call the job's state by this word."""
        self.batches[batch_id]["state"] = word

    def vanish(self, batch_id: str) -> None:
        """Somebody else deletes the job."""
        del self.batches[batch_id]

    def _upload(self, seen: Seen) -> Says:
        if seen.query.get("uploadType") != "media":
            return self.refuse(error(400, "INVALID_ARGUMENT", "uploadType"), "uploadType")
        self.objects[seen.query["name"]] = seen.data
        return Says(200, {"kind": "storage#object", "name": seen.query["name"], "size": str(len(seen.data))})

    def _objects(self, seen: Seen) -> Says:
        names = sorted(name for name in self.objects if name.startswith(seen.query["prefix"]))
        start = int(seen.query.get("pageToken") or "0")
        more = {"nextPageToken": str(start + 1)} if start + 1 < len(names) else {}
        return Says(200, {"items": [{"name": name} for name in names[start : start + 1]], **more})

    def _object(self, name: str, operation: Operation) -> Says:
        if name not in self.objects:
            return error(404, "NOT_FOUND", "No such object")
        if operation == "read":
            return Says(200, self.objects[name])
        del self.objects[name]
        return Says(204, b"")

    def _create(self, seen: Seen) -> Says:
        job = seen.json
        if wrong := self._problem(job):
            return self.refuse(error(400, "INVALID_ARGUMENT", wrong), wrong)
        name = f"{_JOBS.removeprefix('/v1/')}/{len(self.batches) + 1}"
        self.batches[name] = {**job, "name": name, "state": "JOB_STATE_QUEUED", "createTime": self._now()}
        self.wrong += [wrong for row in self._rows(job) if (wrong := _row_problem(row, job["model"]))]
        return Says(200, self.batches[name])

    def _problem(self, job: dict[str, Any]) -> str | None:
        if set(job) != {"displayName", "model", "inputConfig", "outputConfig"}:
            return f"a job of {sorted(job)}"
        if not re.fullmatch(r"publishers/(?:google|anthropic)/models/[^/]+", job["model"]):
            return f"the model {job['model']}"
        uris = job["inputConfig"]["gcsSource"]["uris"]
        target = job["outputConfig"]["gcsDestination"]["outputUriPrefix"]
        formats = {job["inputConfig"]["instancesFormat"], job["outputConfig"]["predictionsFormat"]}
        if formats != {"jsonl"} or not target.startswith("gs://") or not target.endswith("/"):
            return f"formats {formats}, {target}"
        missing = [uri for uri in uris if uri.removeprefix(f"gs://{BUCKET}/") not in self.objects]
        return f"no object {missing}" if missing or not uris else None

    def _list(self, seen: Seen) -> Says:
        known = [
            job
            for job in reversed(self.batches.values())
            if self.is_listed(datetime.fromisoformat(job["createTime"]).timestamp())
            and seen.query.get("filter", "") in ("", f'displayName="{job["displayName"]}"')
        ]
        start = int(seen.query.get("pageToken") or "0")
        page = known[start : start + 2]
        more = {"nextPageToken": str(start + len(page))} if start + len(page) < len(known) else {}
        return Says(200, {"batchPredictionJobs": page, **more})

    def _job(self, name: str, operation: Operation) -> Says:
        job = self.batches[name]
        if operation == "poll":
            answer = Says(200, dict(job))
            following = {"JOB_STATE_QUEUED": "JOB_STATE_PENDING", "JOB_STATE_PENDING": "JOB_STATE_RUNNING"}
            job["state"] = following.get(job["state"], job["state"])
            return answer
        if operation == "cancel":
            if "endTime" in job:
                return error(400, "FAILED_PRECONDITION", f"the job is {job['state']}")
            job["state"] = "JOB_STATE_CANCELLING"
            return Says(200, {})
        del self.batches[name]
        return Says(200, {"name": "operations/1", "done": True})

    def _rows(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        names = [uri.removeprefix(f"gs://{BUCKET}/") for uri in job["inputConfig"]["gcsSource"]["uris"]]
        return [msgspec.json.decode(line) for name in names for line in self.objects[name].splitlines()]

    def _written(self, told: Told, row: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
        request = row["request"]
        if "labels" in request:
            request = {**request, "labels": {**request["labels"], "promptmill_line": told.id}}
        is_claude = "custom_id" in row
        beside = {"custom_id": told.id} if is_claude else {"id": told.id} if self.echoes else {}
        whole = {**beside, "request": request, "processed_time": self._now()}
        if told.fate != "answer":
            return {**whole, "status": _STATUSES[told.fate], "response": {}}
        wire = vertex.Vertex().answer(
            Answer(f"Answer to {row.get('id') or row['custom_id']}."), Sent(_path(job["model"]), {}, b"", request)
        )
        return {**whole, "status": "", "response": wire.body}

    def _now(self) -> str:
        return rfc3339(self.clock.now())


def _path(model: str) -> str:
    verb = "rawPredict" if "anthropic" in model else "generateContent"
    return f"/v1/projects/{PROJECT}/locations/{LOCATION}/{model}:{verb}"


def _row_problem(row: dict[str, Any], model: str) -> str | None:
    fields = {"custom_id", "request"} if "anthropic" in model else {"id", "request"}
    if set(row) != fields:
        return f"a row of {sorted(row)}"
    server = vertex.Vertex()
    server.tokens.live.add("access-x")
    sent = Sent(_path(model), {"authorization": "Bearer access-x"}, b"", row["request"])
    refused = server.refusal_of(sent)
    return str(refused.body) if refused else None
