"""Units of work: one chunk of one run, or one request; their claims, gates, intents and verdicts.

A unit belongs to the worker that raised its epoch last. Everything durable about it is written once; what follows
from it is derived (``engine/history.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

GATES = 16
"""How many gates a run has: so many that the transactions of many workers seldom meet on one of them."""

MAX_IN_GROUP = 50
"""How many intents one group may hold: they are written as one item."""


SUSPICIOUS_CRASHES = 2
"""After so many crashes in a row a unit's records are tried alone. One may be anything: a deploy, a lost machine."""

NOBODY = -1
"""The place of no record."""

PLACES = -2
"""Stands for a record where what is tried is to find out where the records of a suspected unit lie."""


class Verdict(Struct, frozen=True):
    """How a unit ends, decided once; after it nobody calls.

    Attributes:
        kind: ``completed``: every record has its outcome in a journal; ``stopped``: the others fail with ``code``.
        unread: the unit's bytes bring workers down, and are not read again to write the failures.
    """

    kind: Literal["completed", "stopped"]
    code: str = ""
    unread: bool = False


class Claim(Struct, frozen=True):
    """Who works on a unit, and what the unit holds.

    Attributes:
        beat: a number that moves while the owner lives.
        owner: drawn anew for each claim, so that a claim whose answer was lost is recognised.
        released: the owner gave the unit back.
        crashes: owners in a row that ended without giving it back and without journaling anything.
        trying: the record that is tried alone, -1 for none, -2 while the places of all records are looked for.
        tries: workers that tried it alone, the present one included.
        granted: nano-dollars taken from the budgets, less what was returned.
        day: UTC day of the budgets that the unspent part came from, "" for none.
        holds: the unit is counted among the holders of its budgets.
        body_hash: the hash of a request's body; the first claim sets it.
        lines: the keys of the budgets that granted the unspent part, whatever the configuration says by now. It is
            empty where nothing is held, and in a claim of earlier code, which did not note them.
        held: the submission that holds the unit, "" for none. However long its beat stands still, nobody else takes it.
    """

    epoch: int
    beat: int
    owner: str
    released: bool = False
    crashes: int = 0
    trying: int = NOBODY
    tries: int = 0
    granted: int = 0
    day: str = ""
    holds: bool = False
    verdict: Verdict | None = None
    body_hash: str = ""
    lines: tuple[str, ...] = ()
    held: str = ""

    @property
    def suspected(self) -> bool:
        """True if one of the unit's records may bring workers down: they are tried one at a time."""
        return self.crashes >= SUSPICIOUS_CRASHES or self.trying != NOBODY


class Gate(Struct, frozen=True):
    """One of a run's gates. It is shut once and never opened again; no intent passes a shut gate."""

    job_id: str
    run: int
    number: int


class Intent(Struct, frozen=True, array_like=True):
    """The durable word that a call may be made; it is written before the call.

    Attributes:
        sequence: the number of the call in its epoch.
        record: its place in the file, from 0.
        high: the most it can cost in nano-dollars; None where the route has no price.
    """

    sequence: int
    record: int
    route: str
    high: int | None


class IntentGroup(Struct, frozen=True):
    """Intents that are written as one item, before any of their calls is sent.

    Attributes:
        day: the UTC day that the calls count for, frozen when the epoch was claimed.
        models: by route, the ``provider/model`` that is called: the recipe may say another one by the time it is charged.
            Empty in a group of earlier code.
    """

    epoch: int
    day: str
    intents: tuple[Intent, ...]
    models: Mapping[str, str] = {}

    @property
    def first(self) -> int:
        """The first sequence of the group: with the epoch it is the group's key."""
        return self.intents[0].sequence

    @property
    def high(self) -> int:
        return sum(intent.high or 0 for intent in self.intents)


def chunk_unit(job_id: str, run: int, chunk: int) -> str:
    """Return the name of a chunk's unit."""
    return f"{job_id}.{run}.{chunk}"


def call_id(unit: str, epoch: int, sequence: int) -> str:
    """Return the id of a call; it is used for one call at most, since epochs and sequences only grow."""
    return f"{unit}.{epoch}.{sequence}"


def gate_of(job_id: str, run: int, chunk: int) -> Gate:
    """Return the gate that a chunk's intents must pass."""
    return Gate(job_id, run, chunk % GATES)


def gates_of(job_id: str, run: int) -> Iterator[Gate]:
    """Yield all gates of a run."""
    return (Gate(job_id, run, number) for number in range(GATES))
