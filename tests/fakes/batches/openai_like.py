"""Servers that took over OpenAI's batch API, from their side, where they differ."""

from __future__ import annotations

from typing import Any

from perplexity.generated.api import BatchCreateRequestInput, BatchOutput
from perplexity.types.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import ValidationError

from tests.fakes.batches.openai import OpenAiBatchServer, error
from tests.fakes.batches.server import Operation, Says, Seen
from tests.fakes.providers import openai_like
from tests.fakes.providers.openai import KEY
from tests.fakes.providers.typed_params import problem_with

MIN_AZURE_EXPIRY_S = 14 * 86_400


class AzureBatchServer(OpenAiBatchServer):
    """Its models are deployments, and a file keeps at least a fortnight."""

    root = "/openai/v1"
    key_header, key = "api-key", openai_like.KEYS["azure"]
    deployment = "my-luna-batch"

    def upload_problem(self, fields: dict[str, Any], name: str) -> str | None:
        if fields.get("expires_after", {}).get("seconds", 0) < MIN_AZURE_EXPIRY_S:
            return "expires_after: at least 1209600 seconds"
        return super().upload_problem(fields, name)

    def line_problem(self, line: dict[str, Any], endpoint: str) -> str | None:
        if line["body"].get("model") != self.deployment:
            return "model_mismatch"
        return super().line_problem(line, endpoint)


class PerplexityBatchServer(OpenAiBatchServer):
    """Its own SDK judges creates and lines. A create under a key that was used makes nothing new."""

    key = f"Bearer {openai_like.KEYS['perplexity']}"
    expires = False

    def create_problem(self, seen: Seen, body: dict[str, Any]) -> str | None:
        if "idempotency-key" not in seen.headers:
            return "no Idempotency-Key"
        try:
            BatchCreateRequestInput.model_validate(body)
        except ValidationError as wrong:
            return str(wrong)
        unknown = body.keys() - BatchCreateRequestInput.model_fields.keys()
        return f"unknown fields {sorted(unknown)}" if unknown else None

    def line_problem(self, line: dict[str, Any], endpoint: str) -> str | None:
        if line["url"] != endpoint:
            return "url_mismatch"
        return problem_with(line["body"], ResponseCreateParamsNonStreaming)

    def in_words_of_the_sdk(self, batch_id: str) -> BatchOutput:
        """Raise ValidationError if the SDK would not understand a batch of ours."""
        return BatchOutput.model_validate(self.batches[batch_id])


class GroqBatchServer(OpenAiBatchServer):
    """Takes longer windows."""

    root = "/openai/v1"
    expires = False
    windows = ("24h", "48h", "2d", "7d")


class DeepInfraBatchServer(OpenAiBatchServer):
    root = "/v1/openai"
    expires = False


class CompatibleBatchServer(OpenAiBatchServer):
    expires = False


class TogetherBatchServer(OpenAiBatchServer):
    """Takes a file at another address, which it gives; wraps a new batch; lists all of them, bare; knows no labels."""

    purpose = "batch-api"
    key = f"Bearer {KEY}"
    _IN_THEIR_WORDS = ("id", "status", "created_at", "endpoint", "input_file_id", "output_file_id", "error_file_id")

    def operation_of(self, seen: Seen) -> Operation:
        if seen.path.startswith("/store/"):
            return "begin_upload"
        if seen.path.endswith("/preprocess"):
            return "begin_upload"
        return super().operation_of(seen)

    def serve(self, operation: Operation, seen: Seen) -> Says:
        if seen.method == "PUT":
            if "authorization" in seen.headers:
                return self.refuse(error(400, "x", "the store got our key"), "the store got our key")
            self.files[seen.path.rpartition("/")[2]] = seen.data
            return Says(200, b"")
        if operation == "begin_upload":
            file_id = seen.path.split("/")[-2]
            known = file_id in self.files
            about = {"object": "file", "filename": "lines.jsonl", "FileType": "jsonl", "purpose": self.purpose}
            sizes = {"bytes": len(self.files.get(file_id, b"")), "created_at": self.seconds(), "LineCount": 0}
            told = {"id": file_id, "Processed": True, **about, **sizes}
            return Says(200, told) if known else error(404, "not_found", "no file")
        answer = super().serve(operation, seen)
        if operation == "list" and answer.status == 200:
            return Says(200, [self._told(batch) for batch in answer.body["data"]])
        if operation in ("create", "poll") and answer.status == 200:
            told = self._told(answer.body)
            return Says(200, {"job": told, "warning": None} if operation == "create" else told)
        return answer

    def upload(self, seen: Seen) -> Says:
        fields = self.fields_of(seen)
        # Its SDK sends a checksum as well, by which a file that is there already is told.
        if fields.keys() - {"checksum"} != {"purpose", "file_name", "file_type"} or fields["purpose"] != self.purpose:
            return self.refuse(error(400, "x", str(fields)), f"an upload of {fields}")
        file_id = f"file-{len(self.files) + 1}"
        headers = {"Location": f"{self.url}/store/{file_id}", "X-Together-File-Id": file_id}
        return Says(302, b"", headers)

    def create_problem(self, seen: Seen, body: dict[str, Any]) -> str | None:
        unknown = body.keys() - {"input_file_id", "endpoint", "completion_window"}
        return f"unknown fields {sorted(unknown)}" if unknown else super().create_problem(seen, body)

    def line_problem(self, line: dict[str, Any], endpoint: str) -> str | None:
        if set(line) != {"custom_id", "body"}:
            return f"a line of {sorted(line)}"
        return super().line_problem({**line, "method": "POST", "url": endpoint}, endpoint)

    def page_of(self, known: list[dict[str, Any]], seen: Seen) -> list[dict[str, Any]]:
        del seen
        return known

    def _told(self, batch: dict[str, Any]) -> dict[str, Any]:
        told = {name: batch.get(name) for name in self._IN_THEIR_WORDS}
        errors = (batch.get("errors") or {}).get("data", [])
        return {**told, "status": batch["status"].upper(), "error": errors[0]["message"] if errors else None}
