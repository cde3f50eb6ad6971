"""Records, outcomes and whole files, as the tests of formats need them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

import pytest

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, Text, Usage
from promptmill.domain.errors import RecordError, RejectedFileError
from promptmill.domain.job_file import ChunkRange, FileFacts, FileFormatName
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Attempt, Failure, Outcome, Price, RawRecord
from promptmill.formats.cutting import make_cutter
from promptmill.formats.file_format import format_named
from promptmill.formats.recognise import recognise
from tests.fakes.recipes import recipe

JOB = "20261122t101112z-0123456789"
STARTED = "2026-11-22T10:11:12.345Z"


def raw(line: Any, *, index: int = 3, number: int = 7) -> RawRecord:
    """A record of these bytes, or of an object's JSON; the fourth of its file, on line 7."""
    data = line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode()
    return RawRecord(index, number, data)


def parsed(
    file_format: FileFormatName, line: Any, facts: FileFacts | None = None, given: Recipe | None = None, **changes: Any
) -> CompletionRequest:
    return format_named(file_format).parse(raw(line), facts or FileFacts(file_format), given or recipe(**changes))


def refused(file_format: FileFormatName, line: Any, facts: FileFacts | None = None, **changes: Any) -> RecordError:
    """The error of a record; every one of them names the line."""
    with pytest.raises(RecordError) as caught:
        parsed(file_format, line, facts, **changes)
    assert caught.value.where == "line 7"
    return caught.value


def prompt_of(request: CompletionRequest) -> str:
    (message,) = request.messages
    (part,) = message.parts
    assert isinstance(part, Text)
    return part.text


def answered(
    record: RawRecord, text: str = "Blue", *, finish: FinishReason = "stop", notes: tuple[str, ...] = (), **more: Any
) -> Outcome:
    usage = Usage(input_total=21, cache_read=5, cache_write=2, output_total=9, reasoning=7)
    completion = Completion(text, finish, usage, model="gpt-6-luna-2026-10-01", request_id="req_1", **more)
    return Outcome(record, completion, None, (attempt(),), route="openai/gpt-6-luna", notes=notes)


def failed(record: RawRecord, failure: Failure, *attempts: Attempt) -> Outcome:
    return Outcome(record, None, failure, attempts)


def attempt(code: str = "ok", status: int = 200, nano: int | None = 123_450) -> Attempt:
    return Attempt(
        call_id=f"{JOB}.1.0.2.5",
        record=3,
        route="openai/gpt-6-luna",
        started_at=STARTED,
        latency_ms=412,
        code=code,
        status=status,
        usage=Usage(21, output_total=9),
        price=Price(nano, "bundled"),
    )


def rendered(file_format: FileFormatName, outcome: Outcome, facts: FileFacts | None = None, **changes: Any) -> Any:
    """The result line as JSON; it is one line."""
    line = format_named(file_format).render(outcome, facts or FileFacts(file_format), recipe(**changes), JOB)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line)


def blocks_of(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def cut(
    data: bytes, facts: FileFacts, *, block: int = 1 << 20, max_records: int = 500, max_bytes: int = 8 << 20
) -> tuple[list[ChunkRange], FileFacts]:
    """Chunks as the planner makes them; none of a file without a record."""
    cutter = make_cutter(facts, max_records=max_records, max_bytes=max_bytes)
    chunks: list[ChunkRange] = []
    for part in blocks_of(data[facts.body_start :], block):
        chunks += cutter.feed(part)
    with contextlib.suppress(RejectedFileError):
        chunks += cutter.finish()
    return chunks, cutter.facts


def split(data: bytes, chunks: Iterable[ChunkRange], facts: FileFacts) -> list[RawRecord]:
    """Records as the workers read them."""
    file_format = format_named(facts.format)
    return [record for chunk in chunks for record in file_format.split(data[chunk.start : chunk.end], chunk, facts)]


def read_file(data: bytes, name: str) -> tuple[list[RawRecord], FileFacts]:
    """Recognised, cut and split; for files that need no staging."""
    recognised = recognise(data, name=name, size=len(data))
    assert recognised.staging == "none"
    chunks, facts = cut(data, recognised.facts)
    return split(data, chunks, facts), facts
