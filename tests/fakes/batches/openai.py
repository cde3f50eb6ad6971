"""OpenAI's batch API from the server's side. The SDK's own types judge uploads, creates and lines."""

from __future__ import annotations

import re
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Literal

import msgspec
from openai.types import BatchCreateParams, FileCreateParams
from openai.types.file_create_params import ExpiresAfter

from tests.fakes.batches.fates import Fate, FateOf, Told, all_answered, tell
from tests.fakes.batches.server import FakeBatchServer, Operation, Says, Seen
from tests.fakes.clock import FakeClock
from tests.fakes.providers.behaviours import Answer, Sent
from tests.fakes.providers.openai import KEY, PARAMS, Dialect, answer_in
from tests.fakes.providers.typed_params import problem_with

Ending = Literal["completed", "failed", "expired", "cancelled"]
DIALECTS: dict[str, Dialect] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
}
_ERRORS: dict[Fate, tuple[int, str]] = {
    "refuse": (400, "context_length_exceeded"),
    "overload": (503, "server_is_overloaded"),
    "no_money": (429, "insufficient_quota"),
}
_AFTERWARDS = {"expired": "batch_expired", "cancelled": "batch_cancelled"}
_PATH = re.compile(r"(?P<root>.*?)/(?P<kind>files|batches)(?:/(?P<id>[^/]+)(?:/(?P<verb>content|cancel))?)?")


class OpenAiBatchServer(FakeBatchServer):
    """Validates a batch at the first poll, as OpenAI does after a create, and runs it until ``finish``.

    Args:
        own: how another server differs, by the names of the attributes below.

    Attributes:
        fate_of: what becomes of the line at a place.
        whole_fault: (code, message) by which the next batch fails as a whole when it is validated.
        lie: the counts say that no line failed.
    """

    root = "/v1"
    key_header, key = "authorization", f"Bearer {KEY}"
    purpose = "batch"
    windows: tuple[str, ...] = ("24h",)
    expires = True

    def __init__(self, clock: FakeClock, **own: Any) -> None:
        super().__init__(clock)
        vars(self).update(own)
        self.fate_of: FateOf = all_answered
        self.whole_fault: tuple[str, str] | None = None
        self.lie = False
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.billed = 0

    def operation_of(self, seen: Seen) -> Operation:
        found = _PATH.fullmatch(seen.path)
        if found is None:
            return ""
        names: dict[tuple[str, str, bool, str | None], Operation] = {
            ("POST", "files", False, None): "upload",
            ("DELETE", "files", True, None): "delete_file",
            ("GET", "files", True, "content"): "read",
            ("POST", "batches", False, None): "create",
            ("GET", "batches", False, None): "list",
            ("GET", "batches", True, None): "poll",
            ("POST", "batches", True, "cancel"): "cancel",
        }
        return names.get((seen.method, found["kind"], bool(found["id"]), found["verb"]), "")

    def serve(self, operation: Operation, seen: Seen) -> Says:
        found = _PATH.fullmatch(seen.path)
        if found is None or not operation or found["root"] != self.root:
            return self.refuse(error(404, "unknown_url", f"Invalid URL {seen.path}"), f"no {seen.method} {seen.path}")
        if seen.headers.get(self.key_header) != self.key:
            return self.refuse(error(401, "invalid_api_key", "Incorrect API key provided"), "the key")
        by_id = {"poll": self._poll, "read": self._read, "cancel": self._cancel, "delete_file": self._delete}
        if operation in by_id:
            return by_id[operation](found["id"])
        return {"upload": self.upload, "create": self.create, "list": self._list}[operation](seen)

    def _read(self, file_id: str) -> Says:
        body = self.files.get(file_id)
        return error(404, "not_found", "No such File object") if body is None else Says(200, body)

    def _delete(self, file_id: str) -> Says:
        gone = self.files.pop(file_id, None) is None
        return error(404, "not_found", "No such File") if gone else Says(200, {"id": file_id, "deleted": True})

    def finish(self, batch_id: str, ending: Ending = "completed") -> None:
        """End a batch, as time does."""
        batch = self.batches[batch_id]
        batch["status"] = ending
        batch[f"{ending}_at"] = self.seconds()
        self._write_results(batch, ending)

    def say(self, batch_id: str, word: str) -> None:
        """Let the service call the batch's state by this word."""
        self.batches[batch_id]["status"] = word

    def vanish(self, batch_id: str) -> None:
        """Somebody else deletes the batch."""
        del self.batches[batch_id]

    def lines_of(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.files[batch["input_file_id"]].splitlines()]

    def upload(self, seen: Seen) -> Says:
        fields, file, name = _form(seen)
        if wrong := self.upload_problem(fields, name):
            return self.refuse(error(400, "invalid_value", wrong), wrong)
        file_id = f"file-{len(self.files) + 1}"
        self.files[file_id] = file
        return Says(200, self._file(file_id, name))

    def fields_of(self, seen: Seen) -> dict[str, Any]:
        return _form(seen)[0]

    def upload_problem(self, fields: dict[str, Any], name: str) -> str | None:
        # The type of a file itself is no schema: everything beside it is.
        unknown = fields.keys() - FileCreateParams.__annotations__.keys()
        if "expires_after" in fields and not self.expires:
            return "expires_after is not known here"
        if unknown or fields.get("purpose") != self.purpose or not name.endswith(".jsonl"):
            return f"an upload of {name} with {fields}"
        return problem_with(fields["expires_after"], ExpiresAfter) if "expires_after" in fields else None

    def _file(self, file_id: str, name: str) -> dict[str, Any]:
        size, made = len(self.files[file_id]), self.seconds()
        about = {"bytes": size, "created_at": made, "filename": name, "purpose": self.purpose, "status": "processed"}
        return {"id": file_id, "object": "file", **about}

    def create(self, seen: Seen) -> Says:
        body = seen.json
        if wrong := self.create_problem(seen, body):
            return self.refuse(error(400, "invalid_value", wrong), wrong)
        if body["input_file_id"] not in self.files:
            return error(404, "not_found", f"No such File object: {body['input_file_id']}")
        return self.keep_batch(body)

    def keep_batch(self, body: dict[str, Any], **more: Any) -> Says:
        """Take a batch that is asked for in OpenAI's words."""
        batch = {
            "id": f"batch_{len(self.batches) + 1}",
            "object": "batch",
            "created_at": self.seconds(),
            "expires_at": self.seconds(later_h=24),
            "status": "validating",
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "errors": None,
            "output_file_id": None,
            "error_file_id": None,
            **body,
            **more,
        }
        self.batches[batch["id"]] = batch
        return Says(200, batch)

    def create_problem(self, seen: Seen, body: dict[str, Any]) -> str | None:
        del seen
        # Other servers have other windows; everything else is judged by OpenAI's type.
        window = {"completion_window": "24h"} if body.get("completion_window") in self.windows else {}
        return problem_with({**body, **window}, BatchCreateParams)

    def _list(self, seen: Seen) -> Says:
        known = [b for b in reversed(self.batches.values()) if self.is_listed(b["created_at"])]
        ids = [batch["id"] for batch in known]
        start = ids.index(seen.query["after"]) + 1 if seen.query.get("after") in ids else 0
        page = self.page_of(known[start:], seen)
        has_more = start + len(page) < len(known)
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return Says(200, {"object": "list", "data": page, "has_more": has_more, **ends})

    def page_of(self, known: list[dict[str, Any]], seen: Seen) -> list[dict[str, Any]]:
        return known[: int(seen.query.get("limit", "20"))]

    def _poll(self, batch_id: str) -> Says:
        batch = self.batches.get(batch_id)
        if batch is None:
            return error(404, "not_found", f"No batch found with id '{batch_id}'.")
        answer = Says(200, dict(batch))
        if batch["status"] == "validating":
            self._validate(batch)
        return answer

    def _validate(self, batch: dict[str, Any]) -> None:
        fault = self.whole_fault or self._file_fault(batch)
        if fault is None:
            batch["status"] = "in_progress"
            batch["request_counts"] = {"total": len(self.lines_of(batch)), "completed": 0, "failed": 0}
            return
        code, message, *line = fault
        batch["status"] = "failed"
        told = {"code": code, "message": message, "param": None, "line": line[0] if line else None}
        batch["errors"] = {"object": "list", "data": [told]}

    def _file_fault(self, batch: dict[str, Any]) -> tuple[str, str] | tuple[str, str, int] | None:
        ids: set[str] = set()
        for number, line in enumerate(self.files[batch["input_file_id"]].splitlines(), 1):
            try:
                read = msgspec.json.decode(line)
            except msgspec.DecodeError:
                return "invalid_json_line", "This line is not parseable as valid JSON.", number
            if read["custom_id"] in ids:
                return "duplicate_custom_id", "The custom_id is not unique.", number
            ids.add(read["custom_id"])
            if wrong := self.line_problem(read, batch["endpoint"]):
                self.wrong.append(wrong)
                return "invalid_request", wrong, number
        return None if ids else ("empty_file", "The file is empty.")

    def line_problem(self, line: dict[str, Any], endpoint: str) -> str | None:
        if set(line) != {"custom_id", "method", "url", "body"} or line["method"] != "POST":
            return f"a line of {sorted(line)}"
        if line["url"] != endpoint:
            return "url_mismatch"
        return problem_with(line["body"], PARAMS[DIALECTS[endpoint], False])

    def _cancel(self, batch_id: str) -> Says:
        batch = self.batches.get(batch_id)
        if batch is None:
            return error(404, "not_found", "No such batch")
        if batch["status"] not in ("validating", "in_progress", "finalizing"):
            return error(409, "invalid_request", f"Cannot cancel a batch with status '{batch['status']}'.")
        batch["status"] = "cancelling"
        return Says(200, dict(batch))

    def _write_results(self, batch: dict[str, Any], ending: Ending) -> None:
        lines = self.lines_of(batch)
        told = tell([line["custom_id"] for line in lines], self.fate_of)
        good = [one for one in told if one.fate == "answer"]
        bad = [one for one in told if one.fate != "answer"]
        written = [self._answered(one, lines, batch["endpoint"]) for one in good]
        self._keep(batch, "output_file_id", written)
        self._keep(batch, "error_file_id", [self._failed(one, ending) for one in bad])
        counts = {"total": len(lines), "completed": len(good), "failed": 0 if self.lie else len(bad)}
        batch["request_counts"] = counts
        tokens = Answer()
        self.billed = len(good)
        batch["usage"] = {
            "input_tokens": tokens.input_tokens * len(good),
            "input_tokens_details": {"cached_tokens": tokens.cache_read * len(good)},
            "output_tokens": tokens.output_tokens * len(good),
            "output_tokens_details": {"reasoning_tokens": tokens.reasoning * len(good)},
            "total_tokens": (tokens.input_tokens + tokens.output_tokens) * len(good),
        }

    def _keep(self, batch: dict[str, Any], name: str, lines: list[dict[str, Any]]) -> None:
        if lines:
            batch[name] = f"file-{len(self.files) + 1}"
            self.files[batch[name]] = b"\n".join(map(msgspec.json.encode, lines))

    def answer_to(self, line: dict[str, Any]) -> Answer:
        return Answer(f"Answer to {line['custom_id']}.")

    def _answered(self, told: Told, lines: list[dict[str, Any]], endpoint: str) -> dict[str, Any]:
        line = lines[told.about]
        sent = Sent("", {}, b"", line["body"])
        body = answer_in(
            DIALECTS[endpoint], self.answer_to(line), sent, headers={}, model=line["body"].get("model", "m")
        ).body
        return _line(told, {"status_code": 200, "request_id": f"req_{told.about}", "body": body}, None)

    def _failed(self, told: Told, ending: Ending) -> dict[str, Any]:
        if told.fate == "not_run":
            return _line(told, None, {"code": _AFTERWARDS.get(ending, "batch_expired"), "message": "not run"})
        if told.fate == "zero":
            return _line(told, {"status_code": 0, "request_id": "", "body": {}}, None)
        status, code = _ERRORS[told.fate]
        body = {
            "error": {"message": f"{code} on purpose", "type": "invalid_request_error", "param": None, "code": code}
        }
        return _line(told, {"status_code": status, "request_id": f"req_{told.about}", "body": body}, None)


def _line(told: Told, response: dict[str, Any] | None, wrong: dict[str, Any] | None) -> dict[str, Any]:
    return {"id": f"batch_req_{told.about}", "custom_id": told.id, "response": response, "error": wrong}


def error(status: int, code: str, message: str) -> Says:
    return Says(status, {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}})


def _form(seen: Seen) -> tuple[dict[str, Any], bytes, str]:
    """Read a multipart form by the standard library's parser of messages."""
    head = b"Content-Type: " + seen.headers["content-type"].encode() + b"\r\n\r\n"
    fields: dict[str, Any] = {}
    file, name = b"", ""
    form: Any = BytesParser(policy=HTTP).parsebytes(head + seen.data)
    for part in form.iter_parts():
        field = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if part.get_filename():
            file, name = content, part.get_filename()
        elif "[" in field:
            outer, inner = field.removesuffix("]").split("[")
            text = content.decode()
            fields.setdefault(outer, {})[inner] = int(text) if text.isdigit() else text
        else:
            fields[field] = content.decode()
    return fields, file, name
