"""Forget one record or request: find everything that is stored about its id, and erase it or blank it out.

What is stored is searched by its content, since files are named by people and answers by digests. Results files are
written again with the record's lines blanked, so that the others keep their places.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun
from promptmill.formats.record_id import ID_FIELDS
from promptmill.ports.object_store import ObjectEraser, ObjectReader, StoredVersion

FORGOTTEN = "forgotten"
_REPORT = "report.html"
_PAGE = b"""<!DOCTYPE html>
<title>Erased report</title>
<p>This report named a record that was forgotten. What it told of the others is in the files beside it.</p>
"""
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_MAX_ID_BYTES = 4096
_SOME_JOB = "20261122t120000z-0123456789"  # as long as any
_JOB = re.compile(r"\d{8}t\d{6}z-[0-9a-f]+")

ALWAYS_REMAINS = {
    "the ledger": "amounts, tokens and times of calls stay, without content: they are the bill",
    "the jobs table": "states, counts and digests stay, without content, until they expire after 400 days",
    "queues": "a request or a reply that nobody has read yet stays until it is read, or for 14 days",
    "redaction maps": "they are never stored",
    "logs": "they hold no prompts, answers or ids of records; names of files may tell",
    "the provider": "what was sent stays there as long as the provider's terms say",
}


class Store(ObjectReader, ObjectEraser, Protocol):
    """The bucket, as far as forgetting needs it."""


class JobReader(Protocol):
    async def read(self, job_id: str, run: int) -> JobRun | None: ...


class Findings(Struct):
    """What is stored about an id.

    Attributes:
        erased: versions that hold this record alone, or work that only a resumed job would read.
        blanked: keys of results files, and how many lines of each are about the record.
        mentioned: keys of results files that hold the id, but in no line of the record itself.
        dropped: versions of dropped files, which hold other records as well.
        unsearched: keys of files that cannot be searched.
        jobs: the jobs that ran the record.
    """

    erased: list[StoredVersion] = []
    blanked: dict[str, int] = {}
    mentioned: list[str] = []
    dropped: list[StoredVersion] = []
    unsearched: list[str] = []
    jobs: list[str] = []

    @property
    def nothing(self) -> bool:
        return not (self.erased or self.blanked or self.dropped)


async def find(subject: str, recipe: str, *, store: Store, jobs: JobReader) -> Findings:
    """Find what is stored about an id under a recipe. Nothing is changed.

    Raises:
        UserError: the id is too short to search for, or a job that ran the record has not ended.
    """
    if not subject.strip() or len(subject.encode()) > _MAX_ID_BYTES:
        raise UserError("this is no id to search for", code="id_unusable", remedy="give the whole id of the record")
    found, pattern = Findings(), pattern_for(subject)
    for prefix in (layout.ANSWERS, layout.BODIES, f"{layout.WORK}requests/"):
        found.erased += [v async for v in _holding(f"{prefix}{recipe}/", pattern, store, found)]
    inbox = layout.INBOX if recipe == layout.DEFAULT_RECIPE else f"{layout.INBOX}{recipe}/"
    drops = [v async for v in _holding(inbox, pattern, store, found)]
    found.dropped = [version for version in drops if layout.recipe_of(version.key) == recipe]
    results = [v async for v in _holding(f"{layout.RESULTS}{recipe}/", pattern, store, found)]
    found.erased += await _journals_of(found.erased, recipe, store)
    found.jobs = await _jobs_of((version.key for version in results), found.dropped, store)
    for job_id in found.jobs:
        await _check_ended(job_id, jobs)
        found.erased += [version async for version in store.versions(f"{layout.WORK}{job_id}/")]
    await _sort_results(results, subject, store, found)
    return found


async def forget(found: Findings, subject: str, *, store: Store, drops: bool) -> None:
    """Erase and blank what was found. ``drops``: the dropped files go as well, with every other record in them."""
    for key in found.blanked:
        await _blank_file(key, subject, store)
    await store.erase(found.erased)
    if drops:
        await store.erase(found.dropped)


def pattern_for(subject: str) -> re.Pattern[bytes]:
    """Return what to search for: the id as such, as JSON writes it, and in UTF-16; never as a part of a longer word."""
    forms = {
        subject.encode(),
        json.dumps(subject)[1:-1].encode(),
        json.dumps(subject, ensure_ascii=False)[1:-1].encode(),
    }
    alone = rb"(?<![\w-])(?:" + b"|".join(map(re.escape, sorted(forms))) + rb")(?![\w-])"
    wide = b"|".join(re.escape(subject.encode(f"utf-16-{order}")) for order in ("le", "be"))
    return re.compile(alone + b"|" + wide)


async def _holding(
    prefix: str, pattern: re.Pattern[bytes], store: Store, found: Findings
) -> AsyncIterator[StoredVersion]:
    """Yield the versions under a prefix that hold the id, and note those that cannot be searched."""
    async for version in store.versions(prefix):
        if version.is_marker:
            continue
        verdict = await _holds(version, pattern, store)
        if verdict:
            yield version
        elif verdict is None:
            found.unsearched.append(version.key)


async def _holds(version: StoredVersion, pattern: re.Pattern[bytes], store: Store) -> bool | None:
    """Return None for an archive, such as a workbook, which cannot be searched as it is."""
    unpack: Any = None
    tail, first = b"", True
    async for block in store.stream(version.key, version=version.version):
        if first and block.startswith(_ZIP):
            return None
        if first and block.startswith(_GZIP):
            unpack = zlib.decompressobj(wbits=31)
        first = False
        text = tail + (unpack.decompress(block) if unpack else block)
        if pattern.search(text):
            return True
        tail = text[-2 * _MAX_ID_BYTES :]
    return False


async def _sort_results(results: Sequence[StoredVersion], subject: str, store: Store, found: Findings) -> None:
    """Decide which results files are blanked, and which are only old versions, which are erased."""
    for key in dict.fromkeys(version.key for version in results):
        if await store.head(key) is None:
            found.erased += [version for version in results if version.key == key]
        elif lines := sum([count async for _, count in _blanked(key, subject, store)]):
            found.blanked[key] = lines
        else:
            found.mentioned.append(key)
    for folder in dict.fromkeys(key.rpartition("/")[0] for key in found.blanked):
        # It may name the record in a form of its own: cut, or with characters written out.
        if await store.head(f"{folder}/{_REPORT}") is not None:
            found.blanked[f"{folder}/{_REPORT}"] = 1


async def _journals_of(erased: Sequence[StoredVersion], recipe: str, store: Store) -> list[StoredVersion]:
    """Return the journals of the requests whose answers were found: both are named by the same digest."""
    digests = {PurePosixPath(v.key).stem for v in erased if v.key.startswith(layout.ANSWERS)}
    known = {(v.key, v.version) for v in erased}
    journals = [
        version
        for digest in sorted(digests)
        async for version in store.versions(f"{layout.WORK}requests/{recipe}/{digest[:2]}/{digest}/")
    ]
    return [version for version in journals if (version.key, version.version) not in known]


async def _jobs_of(results: Iterable[str], dropped: Sequence[StoredVersion], store: Store) -> list[str]:
    """Return the jobs whose results hold the record, and those of the dropped files that do."""
    keys = list(results)
    for drop in {version.key for version in dropped}:
        folder = layout.results_prefix(drop, _SOME_JOB).removesuffix(f"{_SOME_JOB}/")
        keys += [version.key async for version in store.versions(folder)]
    return sorted({part for key in keys for part in key.split("/") if _JOB.fullmatch(part)})


async def _check_ended(job_id: str, jobs: JobReader) -> None:
    run = 1
    while (job := await jobs.read(job_id, run)) is not None:
        if not job.state.resting:
            raise UserError(
                f"job {job_id} has not ended, and would write the record again",
                code="job_running",
                remedy=f"wait for it, or run promptmill cancel {job_id}",
            )
        run += 1


async def _blank_file(key: str, subject: str, store: Store) -> None:
    """Write the file again, then erase every other version of it: a crash in between leaves both, never none."""
    old = [version async for version in store.versions(key) if version.key == key]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blanked"
        with path.open("wb") as file:
            async for data, _ in _blanked(key, subject, store):
                file.write(data)
        new = await store.rewrite(key, path)
    await store.erase([version for version in old if version.version != new])


async def _blanked(key: str, subject: str, store: Store) -> AsyncIterator[tuple[bytes, int]]:
    """Yield the records of a file, and 1 with each that was blanked. Of a report that names the record nothing stays."""
    if key.endswith(f"/{_REPORT}"):
        yield _PAGE, 1
        return
    if key.endswith(".csv"):
        async for row in _rows(key, store):
            yield _blank_row(row, subject)
        return
    async for line in _lines(key, store):
        yield _blank_line(line, subject)


async def _lines(key: str, store: Store) -> AsyncIterator[bytes]:
    rest = b""
    async for block in store.stream(key):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest


async def _rows(key: str, store: Store) -> AsyncIterator[bytes]:
    """Yield the rows of a table: a quoted cell may hold line breaks, which an odd number of quotes tells."""
    held = b""
    async for line in _lines(key, store):
        held += line
        if held.count(b'"') % 2 == 0:
            yield held
            held = b""
    if held:
        yield held


def _blank_line(line: bytes, subject: str) -> tuple[bytes, int]:
    try:
        fields = json.loads(line)
    except ValueError:
        fields = None
    if not isinstance(fields, dict) or not any(str(fields.get(name, "")) == subject for name in ID_FIELDS):
        return line, 0
    kept = {"record": fields["record"]} if "record" in fields else {}
    return json.dumps(kept | {"status": FORGOTTEN}).encode() + b"\n", 1


def _blank_row(row: bytes, subject: str) -> tuple[bytes, int]:
    """Empty the cells of a row of which one is the id. The table is in UTF-8 and its delimiter is the likeliest one."""
    text = row.decode("utf-8", "surrogateescape").lstrip("\ufeff")
    for delimiter in (",", ";", "\t", "|"):
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
        if subject in cells:
            ending = row[len(row.rstrip(b"\r\n")) :]
            return FORGOTTEN.encode() + delimiter.encode() * (len(cells) - 1) + ending, 1
    return row, 0
