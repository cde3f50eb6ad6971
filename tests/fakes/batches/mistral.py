"""Mistral's batch jobs from the server's side; names and states as in mistralai 3.7.0's models."""

from __future__ import annotations

from typing import Any

from tests.fakes.batches.openai import OpenAiBatchServer
from tests.fakes.batches.server import Operation, Says, Seen

_STATES = {
    "validating": "QUEUED",
    "in_progress": "RUNNING",
    "cancelling": "CANCELLATION_REQUESTED",
    "completed": "SUCCESS",
    "failed": "FAILED",
    "expired": "TIMEOUT_EXCEEDED",
    "cancelled": "CANCELLED",
}
_FIELDS = {"input_files", "endpoint", "model", "metadata", "timeout_hours"}


class MistralBatchServer(OpenAiBatchServer):
    """OpenAI's service underneath, told and asked in Mistral's words."""

    expires = False

    def operation_of(self, seen: Seen) -> Operation:
        return super().operation_of(_underneath(seen))

    def serve(self, operation: Operation, seen: Seen) -> Says:
        answer = super().serve(operation, _underneath(seen))
        if answer.status != 200 or operation not in ("create", "poll", "list", "cancel"):
            return answer
        if operation != "list":
            return Says(200, self.job_of(answer.body))
        return Says(
            200, {"object": "list", "data": list(map(self.job_of, answer.body["data"])), "total": len(self.batches)}
        )

    def create(self, seen: Seen) -> Says:
        asked = seen.json
        wrong = self._job_problem(asked)
        if wrong:
            return self.refuse(Says(422, {"object": "error", "message": wrong}), wrong)
        batch = {"input_file_id": asked["input_files"][0], "endpoint": asked["endpoint"], "completion_window": "24h"}
        return self.keep_batch({**batch, "metadata": asked["metadata"]}, model=asked["model"])

    def upload(self, seen: Seen) -> Says:
        answer = super().upload(seen)
        more = {"sample_type": "batch_request", "source": "upload"}
        return Says(200, {**answer.body, **more}) if answer.status == 200 else answer

    def upload_problem(self, fields: dict[str, Any], name: str) -> str | None:
        # Its SDK says who may see a file, which is the workspace where nothing is said.
        return super().upload_problem({key: value for key, value in fields.items() if key != "visibility"}, name)

    def line_problem(self, line: dict[str, Any], endpoint: str) -> str | None:
        if set(line) != {"custom_id", "body"} or "model" in line["body"]:
            return f"a line of {sorted(line)}, {sorted(line['body'])}"
        body = {**line["body"], "model": "the job's"}
        return super().line_problem({**line, "method": "POST", "url": endpoint, "body": body}, endpoint)

    def page_of(self, known: list[dict[str, Any]], seen: Seen) -> list[dict[str, Any]]:
        size = int(seen.query.get("page_size", "100"))
        start = int(seen.query.get("page", "0")) * size
        return known[start : start + size]

    def job_of(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return a batch as a job."""
        counts = batch["request_counts"]
        errors = (batch.get("errors") or {}).get("data", [])
        return {
            "id": batch["id"],
            "object": "batch",
            "input_files": [batch["input_file_id"]],
            "endpoint": batch["endpoint"],
            "metadata": batch["metadata"],
            "model": batch.get("model"),
            "status": _STATES.get(batch["status"], batch["status"]),
            "created_at": batch["created_at"],
            "output_file": batch["output_file_id"],
            "error_file": batch["error_file_id"],
            "errors": [{"message": error["message"], "count": 1} for error in errors],
            "total_requests": counts["total"],
            "completed_requests": counts["completed"] + counts["failed"],
            "succeeded_requests": counts["completed"],
            "failed_requests": counts["failed"],
        }

    def _job_problem(self, asked: dict[str, Any]) -> str | None:
        if set(asked) != _FIELDS:
            return f"a job of {sorted(asked)}"
        if not 1 <= asked["timeout_hours"] <= 168:
            return f"timeout_hours {asked['timeout_hours']}"
        return None


def _underneath(seen: Seen) -> Seen:
    return Seen(
        seen.method, seen.path.replace("/batch/jobs", "/batches"), seen.query, seen.headers, seen.data, seen.raw_path
    )
