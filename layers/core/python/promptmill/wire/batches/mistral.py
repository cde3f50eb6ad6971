"""Mistral's batch jobs in the words of OpenAI's batches: the same service with other names, and the model on the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_STATES = {
    "SUCCESS": "completed",
    "FAILED": "failed",
    "TIMEOUT_EXCEEDED": "expired",
    "CANCELLED": "cancelled",
}
_FAULT = "failed"


def write_job(batch: Mapping[str, Any], *, model: str, hours: int) -> dict[str, Any]:
    """Return the job that OpenAI's create of a batch asks for."""
    return {
        "input_files": [batch["input_file_id"]],
        "endpoint": batch["endpoint"],
        "model": model,
        "metadata": batch["metadata"],
        "timeout_hours": hours,
    }


def read_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return the batch that a job is. A state that is not known keeps its name, so that it counts as running."""
    said = job.get("status")
    files = job.get("input_files")
    return {
        "id": job.get("id"),
        "status": _STATES.get(said, said) if isinstance(said, str) else "",
        "created_at": job.get("created_at"),
        "input_file_id": files[0] if isinstance(files, list) and files else None,
        "metadata": job.get("metadata"),
        "output_file_id": job.get("output_file"),
        "error_file_id": job.get("error_file"),
        "request_counts": {
            "total": job.get("total_requests"),
            "completed": job.get("succeeded_requests"),
            "failed": job.get("failed_requests"),
        },
        "errors": {"data": [_fault(error) for error in _list(job.get("errors"))]},
    }


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _fault(error: object) -> dict[str, Any]:
    return {"code": _FAULT, "message": error.get("message")} if isinstance(error, dict) else {}
