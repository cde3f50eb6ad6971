"""Every error Promptmill raises on purpose.

PromptmillError
├─ UserError              what a person wrote is wrong: where, why, and what to do
│  ├─ RecipeError         a recipe document; ``where`` is the path in the document
│  ├─ RejectedFileError   a whole job file; nothing is sent
│  ├─ RecordError         one record of a file, or one request; its neighbours go on
│  └─ SettingsError       the environment of a function, or a stage's values
├─ ProviderError          one call to a model failed; classified once, by the adapter
│  ├─ RetryLaterError     throttled, overloaded, cut off: the same call may work later
│  ├─ RecordRefusedError  this record will never work on this route
│  └─ RouteClosedError    no record will work on this route: key, quota, money, access
├─ RefusedByAwsError      AWS refuses a call until somebody mends a right, a key or a resource
├─ SupersededError        another worker owns the unit now
├─ MissingObjectError     an object or item that was expected is not there
│  └─ JobFilesGoneError    one of a job's own objects, without which it cannot go on
├─ ForeignEventError      an event that none of this deployment's own queues sent
├─ NewerVersionError      what later code wrote, and only later code may read
└─ InconsistentError      what can only be written in one way was found written in another
"""

from __future__ import annotations

import traceback
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptmill.domain.completion import Usage
    from promptmill.domain.limits import Telling

_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
MAX_WHERE = 500
MAX_REASON = 4_000
MAX_REMEDY = 1_000
"""The most characters of the parts of an error: it ends up in status.json, replies, result lines and tables."""


def make_readable(text: str, most: int) -> str:
    """Return a text of at most ``most`` characters in which nothing steers a terminal, save for line ends and tabs.

    Control characters, and those that turn the direction of writing, are shown as escapes.
    """
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    if text.isprintable():
        return text
    return "".join(
        one if one in "\n\t" or not is_unprintable(one) else one.encode("unicode_escape").decode() for one in text
    )[: 2 * most]


def is_unprintable(character: str) -> bool:
    """Return True for what a terminal obeys instead of showing: controls, and marks of the direction of writing."""
    return character in _TURNS or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


class PromptmillError(Exception):
    """Root of the tree."""


class UserError(PromptmillError):
    """Something that a person wrote is wrong.

    Attributes:
        code: stable, snake_case, safe for logs and tables.
        where: file and line, or path in a document; never content.
        reason: what is wrong, in words. May quote the user's text: never log it.
        remedy: what to do about it.
    """

    def __init__(self, reason: str, *, code: str, where: str = "", remedy: str = "") -> None:
        self.code, self.where = code, make_readable(where, MAX_WHERE)
        self.reason, self.remedy = make_readable(reason, MAX_REASON), make_readable(remedy, MAX_REMEDY)
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """``where: reason. remedy`` with whatever is known."""
        text = f"{self.where}: {self.reason}" if self.where else self.reason
        return f"{text}. {self.remedy}" if self.remedy else text


class RecipeError(UserError):
    """A recipe is not valid, or there is none of that name."""


class RejectedFileError(UserError):
    """A job file cannot be run at all."""


class RecordError(UserError):
    """One record cannot be run. ``field`` names the part of it that is wrong, if one is."""

    def __init__(self, reason: str, *, code: str, where: str = "", remedy: str = "", field: str = "") -> None:
        self.field = make_readable(field, MAX_WHERE)
        super().__init__(reason, code=code, where=where, remedy=remedy)


class SettingsError(UserError):
    """A setting is missing or malformed."""


class ProviderError(PromptmillError):
    """One call to a model failed.

    Attributes:
        code: the provider's own code, or ours (``timeout``, ``connection``, ``malformed``); safe for logs.
        detail: the provider's text. It may repeat the prompt: for results only, never for logs or tables.
        status: HTTP status, 0 where there was none.
        request_id: the provider's, "" where there was none.
        usage_unknown: True where the provider may have answered, and so charged, all the same.
        usage: what the reply told of it, None if it told nothing; ``model`` is the model that it named.
        told: reads the limits that the reply tells, for pacing.
    """

    usage: Usage | None = None
    model: str = ""
    told: Telling | None = None

    def __init__(
        self, code: str, detail: str = "", *, status: int = 0, request_id: str = "", usage_unknown: bool = False
    ) -> None:
        self.code, self.detail, self.status = code, detail, status
        self.request_id, self.usage_unknown = request_id, usage_unknown
        super().__init__(code)


class RetryLaterError(ProviderError):
    """Try again; not before ``retry_after_s`` seconds if that is not None."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        status: int = 0,
        request_id: str = "",
        usage_unknown: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(code, detail, status=status, request_id=request_id, usage_unknown=usage_unknown)


class RecordRefusedError(ProviderError):
    """The record is at fault: too long, filtered, a field this model does not take."""


class RouteClosedError(ProviderError):
    """The route is at fault: its key, its quota, its access, its model's name.

    Attributes:
        is_certain: False where one reply leaves a doubt, since it may be about the record: several in a row decide.
    """

    is_certain: bool = True


class RefusedByAwsError(PromptmillError):
    """AWS refuses a call, and will until somebody changes something outside of the code.

    Attributes:
        code: stable, snake_case, safe for logs and tables.
        reason: what was refused, in words; it names resources, never content.
        remedy: what to mend. The same call works afterwards.
        key: the object that could not be read; "" for everything else.
        about_object: True if the fault lies in how that object was stored, and not in Promptmill's own deployment.
    """

    def __init__(self, reason: str, *, code: str, remedy: str, key: str = "", about_object: bool = False) -> None:
        self.code, self.reason, self.remedy = code, reason, remedy
        self.key, self.about_object = key, about_object
        Exception.__init__(self, f"{reason}. {remedy}")  # an adapter's error may be a botocore error as well


@contextmanager
def lone_refusals() -> Iterator[None]:
    """Raise a refusal itself, where tasks that ran side by side raise it among others as a group."""
    try:
        yield
    except ExceptionGroup as group:
        refused, _ = group.split(RefusedByAwsError)
        if refused is None:
            raise
        raise _first_leaf(refused) from group


def _first_leaf(error: Exception) -> Exception:
    return _first_leaf(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


class SupersededError(PromptmillError):
    """Another worker owns the unit now: send nothing more."""


class MissingObjectError(PromptmillError):
    """An object or item that was expected is not there."""


class JobFilesGoneError(MissingObjectError):
    """A manifest, a page beside it, or a result that a further run keeps is not there."""


class ForeignEventError(PromptmillError):
    """An event came from a queue that is not this function's. Nothing in it is looked at."""

    code = "foreign_event"


class NewerVersionError(PromptmillError):
    """Later code wrote this: leave it to that code."""


class InconsistentError(PromptmillError):
    """Something that can only be written in one way was found written in another: a fault of ours, or of a store."""


_FRAMES = 8


def fault_of(error: BaseException) -> dict[str, object]:
    """Type, code where it has one, and the innermost frames. The message may quote a prompt: it stays out."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    fault: dict[str, object] = {"error": type(error).__name__, "at": where}
    code = getattr(error, "code", None) or _aws_code(error)
    return fault | {"code": code} if code else fault


def _aws_code(error: BaseException) -> str:
    response = getattr(error, "response", None)
    found = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    return str(found)
