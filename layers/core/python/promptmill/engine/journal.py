"""Journals: what came of a unit's calls, page by page, in the bucket.

A page is written once, under the next free number of its epoch. A later owner ends an epoch with a *seal* in the place
of its next page: from then on the epoch's journal is complete and fixed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.errors import SupersededError
from promptmill.domain.record import Attempt, RecordResult
from promptmill.engine.heartbeat import wait_for
from promptmill.ports.clock import Clock
from promptmill.ports.object_store import ObjectWriter


class Page(Struct, frozen=True, tag="page", array_like=True):
    """One page: what was learned since the page before.

    Attributes:
        attempts: calls that ended.
        voids: sequences of intents that were never sent.
        results: outcomes that are final.
    """

    attempts: tuple[Attempt, ...] = ()
    voids: tuple[int, ...] = ()
    results: tuple[RecordResult, ...] = ()


class Seal(Struct, frozen=True, tag="seal", array_like=True):
    """Marks the end of an epoch's journal. Its bytes are the same whoever writes it."""


_decoder = msgspec.msgpack.Decoder(Page | Seal)
_encoder = msgspec.msgpack.Encoder()
SEAL = _encoder.encode(Seal())


def encode(page: Page) -> bytes:
    return _encoder.encode(page)


def decode(data: bytes) -> Page | Seal:
    """Decode a page or a seal. Raises msgspec.DecodeError if the data is neither."""
    found: Page | Seal = _decoder.decode(data)
    return found


MAX_RESULTS = 50
MAX_BYTES = 1 << 20
LINGER_S = 1.0
"""A page is written once it holds that much, or that long after its first entry. A crash may repeat what is not in one."""

_TRIES = 5
_PAUSE_S = 0.5


class JournalWriter:
    """Writes the journal of one unit in one epoch: page after page, one at a time.

    Args:
        on_page: called with every page once it is durable.

    Attributes:
        pages: the pages that are durable.
    """

    def __init__(
        self,
        journals: str,
        epoch: int,
        *,
        objects: ObjectWriter,
        clock: Clock,
        on_page: Callable[[Page], Awaitable[None]],
    ) -> None:
        self.pages: list[Page] = []
        self._prefix, self._epoch = journals, epoch
        self._objects, self._clock, self._on_page = objects, clock, on_page
        self._attempts: list[Attempt] = []
        self._voids: list[int] = []
        self._results: list[RecordResult] = []
        self._bytes = 0
        # A page whose write was begun and not confirmed. It may be in the store, so it is written again as it is: a page
        # with other bytes in its place would be refused, as if a later owner had sealed the epoch.
        self._open: Page | None = None
        self._writing = asyncio.Lock()
        self._filled = asyncio.Event()
        self._due = asyncio.Event()

    @property
    def complete(self) -> bool:
        """True if everything that was noted is durable."""
        return self._open is None and self._next() == Page()

    @property
    def refused(self) -> Page:
        """The calls that were noted and stand in no durable page.

        It is asked for once a later owner has sealed the epoch. A page whose write was never confirmed is among them, and
        may be durable: only the journal itself can tell.
        """
        pages = [page for page in (self._open, self._next()) if page is not None]
        return Page(
            tuple(attempt for page in pages for attempt in page.attempts),
            tuple(void for page in pages for void in page.voids),
        )

    def note(self, attempt: Attempt) -> None:
        """Note a call that is over."""
        self._attempts.append(attempt)
        self._filled.set()

    def void(self, sequence: int) -> None:
        """Note an intent whose call was never made."""
        self._voids.append(sequence)
        self._filled.set()

    def put(self, result: RecordResult) -> None:
        """Note a record's outcome."""
        self._results.append(result)
        self._bytes += len(result.line) + len(result.error)
        self._filled.set()
        if len(self._results) >= MAX_RESULTS or self._bytes >= MAX_BYTES:
            self._due.set()

    async def run(self) -> None:
        """Write pages as they fill, until cancelled. Raises SupersededError."""
        while True:
            await self._filled.wait()
            if not self._due.is_set():
                await wait_for(self._due, LINGER_S, self._clock)
            await self.flush()

    async def flush(self) -> None:
        """Make everything that was noted so far durable.

        Raises:
            SupersededError: a later owner has sealed this epoch.
        """
        async with self._writing:  # pages take numbers in order: two at once would leave a gap that a seal could fill
            while not self.complete:
                if self._open is None:
                    self._open = self._next()
                    self._clear()
                await self._write(self._open)

    async def _write(self, page: Page) -> None:
        key = layout.journal_key(self._prefix, self._epoch, len(self.pages))
        # The store says True for our own bytes too: then an earlier try had been made, and only its answer was lost.
        if not await self._create(key, encode(page)):
            raise SupersededError("another worker owns this unit")
        self.pages.append(page)
        self._open = None
        await self._on_page(page)

    async def _create(self, key: str, data: bytes) -> bool:
        """Write the same bytes at the same place until it is known whether they are there."""
        for attempt in range(1, _TRIES):
            try:
                return await self._objects.create(key, data)
            except Exception:  # noqa: BLE001  the last error is raised below; answers are paid for, and worth the patience
                await self._clock.sleep(_PAUSE_S * attempt)
        return await self._objects.create(key, data)

    def _next(self) -> Page:
        return Page(tuple(self._attempts), tuple(self._voids), tuple(self._results))

    def _clear(self) -> None:
        self._attempts, self._voids, self._results, self._bytes = [], [], [], 0
        self._filled.clear()
        self._due.clear()
