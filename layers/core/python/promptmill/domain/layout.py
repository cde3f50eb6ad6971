"""Say where everything lies in the bucket, and in which version it is stored."""

from __future__ import annotations

import hashlib
import posixpath
import re

from promptmill.domain.errors import NewerVersionError
from promptmill.domain.names import valid_name

STORED_VERSION = 1
"""The version of what is stored and sent: messages, runs, claims, manifests and charges carry it as ``v``.

It rises only when code of the version before would misread what is written now; a new field with a default is no such
change. While an update is deployed, functions of both versions run side by side, and after one is taken back, messages
of the newer version remain. So code that meets a newer version leaves it as it is: the message is delivered again.
"""
VERSION_FIELD = "v"
"""What carries none was written before there was one, and counts as version 1."""

INBOX = "inbox/"
RECIPES = "recipes/"
RESULTS = "results/"
WORK = "work/"
ANSWERS = "answers/"
BODIES = "requests/"
"""Prefix of the objects that the ``body_key`` of a request may name, each recipe's in a folder of its own."""
BATCHES = "batches/"
"""Prefix of what is staged for batch services, and of what comes back: placeholders stand for sensitive values in it."""
MAPS = "maps/"
"""Prefix of what these placeholders stand for. No service may read it, and it is erased with its submission."""
PREFIXES = (INBOX, RECIPES, RESULTS, WORK, ANSWERS, BODIES, BATCHES, MAPS)
"""Everything in the bucket lies under one of them."""
DEFAULT_RECIPE = "default"

_MAX_KEY_BYTES = 1024
_MAX_SUFFIX = 80
_IGNORED_NAMES = re.compile(
    r"(?:_SUCCESS|_COMMITTED.*|_STARTED.*|\.DS_Store|\.keep|\.gitkeep|Thumbs\.db|desktop\.ini|~\$.*|.*_\$folder\$)"
)


def check_version(found: int, what: str) -> None:
    """Raise NewerVersionError if ``found`` is beyond what this code knows."""
    if found > STORED_VERSION:
        raise NewerVersionError(f"{what} has version {found}, and this code knows versions up to {STORED_VERSION}")


def starts_a_job(key: str) -> bool:
    """Return whether a dropped key starts a job: folder markers and what tools leave beside files do not."""
    name = posixpath.basename(key)
    return key.startswith(INBOX) and bool(name) and not _IGNORED_NAMES.fullmatch(name)


def recipe_of(key: str) -> str:
    """Return the recipe that a dropped key names: ``inbox/<recipe>/…``, or the default one for ``inbox/<file>``."""
    recipe, slash, _ = key.removeprefix(INBOX).partition("/")
    return recipe if slash else DEFAULT_RECIPE


def results_prefix(key: str, job_id: str) -> str:
    """Return ``results/<recipe>/<path of the file>/<job>/``, made safe and short enough whatever the file is called.

    A first folder that no recipe can be called never becomes the folder of one.
    """
    recipe, path = recipe_of(key), key.removeprefix(INBOX)
    rest = path.partition("/")[2] if "/" in path else path
    folder = recipe if valid_name(recipe) else _folder_of_no_recipe(recipe)
    safe = "/".join((folder, *(_safe_segment(segment) for segment in rest.split("/") if segment)))
    room = _MAX_KEY_BYTES - _MAX_SUFFIX - len(RESULTS) - len(job_id)
    if len(safe.encode()) > room:
        digest = hashlib.sha256(safe.encode()).hexdigest()[:10]
        safe = safe.encode()[: room - 11].decode(errors="ignore") + "~" + digest
    return f"{RESULTS}{safe}/{job_id}/"


def rerun_prefix(key: str, job_id: str, run: int) -> str:
    """Return the prefix of a further run, which is in the job's own folder."""
    return f"{results_prefix(key, job_id)}run-{run}/"


def _folder_of_no_recipe(name: str) -> str:
    safe = _safe_segment(name)
    return f"_{safe}" if valid_name(safe) or not safe else safe


def _safe_segment(segment: str) -> str:
    if segment in (".", ".."):
        return "_" * len(segment)
    return re.sub(r"[\x00-\x1f\x7f\\]", "_", segment)


def bodies_prefix(recipe: str) -> str:
    """Return the prefix of the bodies that requests of a recipe may name."""
    return f"{BODIES}{recipe}/"


def names_an_object(key: str, prefix: str) -> bool:
    """Return whether a key is that of an object under a prefix, which holds no step to anywhere else and no odd character."""
    path = key.removeprefix(prefix)
    is_plain = all(segment not in ("", ".", "..") for segment in path.split("/"))
    return key.startswith(prefix) and is_plain and path.isprintable() and len(key.encode()) <= _MAX_KEY_BYTES


def recipe_key(name: str) -> str:
    return f"{RECIPES}{name}.yaml"


def run_prefix(job_id: str, run: int) -> str:
    return f"{WORK}{job_id}/{run:04d}/"


def manifest_key(job_id: str, run: int) -> str:
    return f"{run_prefix(job_id, run)}manifest.json"


def ranges_prefix(job_id: str, token: str) -> str:
    """Return the prefix of the pages of one cut."""
    return f"{WORK}{job_id}/ranges/{token}/"


def ranges_key(prefix: str, page: int) -> str:
    return f"{prefix}{page:06d}"


def staged_key(job_id: str) -> str:
    return f"{WORK}{job_id}/staged"


def chunk_results_prefix(job_id: str, run: int) -> str:
    return f"{run_prefix(job_id, run)}chunks/"


def chunk_result_key(job_id: str, run: int, chunk: int) -> str:
    """Return the key of a chunk's result. Keys sort by the number of the chunk."""
    return f"{chunk_results_prefix(job_id, run)}{chunk:08d}"


def joined_prefix(job_id: str, run: int, chunks: int) -> str:
    """Return the prefix of a run's segments of so many chunks each."""
    return f"{run_prefix(job_id, run)}joined/{chunks}/"


def segments_prefix(prefix: str, column: str) -> str:
    """Return the prefix of all segments' parts of a file."""
    return f"{prefix}{column}/"


def segment_key(prefix: str, column: str, segment: int) -> str:
    """Return the key of a segment's part of a file. Keys sort by the number of the segment."""
    return f"{segments_prefix(prefix, column)}{segment:06d}"


def chunk_journals(job_id: str, run: int, chunk: int) -> str:
    """Return the prefix of a chunk's journals."""
    return f"{run_prefix(job_id, run)}journals/{chunk:08d}/"


def batch_prefix(submission: str) -> str:
    """Return the prefix of everything that one submission stages, but its maps."""
    return f"{BATCHES}{submission}/"


def batch_lines_prefix(submission: str) -> str:
    """Return the prefix of the lines of a submission, and of nothing else."""
    return f"{batch_prefix(submission)}lines/"


def batch_lines_key(submission: str, chunk: int) -> str:
    return f"{batch_lines_prefix(submission)}{chunk:08d}.jsonl"


def batch_output_prefix(submission: str) -> str:
    """Return the prefix for services that write their results into our bucket."""
    return f"{batch_prefix(submission)}output/"


def batch_answers_key(submission: str) -> str:
    """Return the key of the copy of all results."""
    return f"{batch_prefix(submission)}answers.jsonl"


def maps_prefix(submission: str) -> str:
    return f"{MAPS}{submission}/"


def map_key(submission: str, chunk: int) -> str:
    return f"{maps_prefix(submission)}{chunk:08d}"


def request_journals(recipe: str, request_id: str) -> str:
    """Return the prefix of a request's journals."""
    digest = hashlib.sha256(request_id.encode()).hexdigest()
    return f"{WORK}requests/{recipe}/{digest[:2]}/{digest}/"


def journal_key(journals: str, epoch: int, page: int) -> str:
    """Return the key of a page. Keys sort by epoch and page."""
    return f"{journals}{epoch:06d}/{page:06d}"


def answer_key(recipe: str, request_id: str) -> str:
    """Return the key of a request's answer. It holds a digest, since an id may hold anything."""
    digest = hashlib.sha256(request_id.encode()).hexdigest()
    return f"{ANSWERS}{recipe}/{digest[:2]}/{digest}.json"
