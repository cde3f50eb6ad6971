"""A unit's journal, as its owner writes it: page after page, one at a time."""

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
    """What was learned since the page before.

    Attributes:
        attempts: calls that ended.
        voids: sequences of intents that were never sent.
        results: outcomes that are final.
    """

    attempts: tuple[Attempt, ...] = ()
    voids: tuple[int, ...] = ()
    results: tuple[RecordResult, ...] = ()


class Seal(Struct, frozen=True, tag="seal", array_like=True):
    """The end of an epoch's journal: the same bytes, whoever writes it."""


_decoder = msgspec.msgpack.Decoder(Page | Seal)
_encoder = msgspec.msgpack.Encoder()
SEAL = _encoder.encode(Seal())


def encode(page: Page) -> bytes:
    return _encoder.encode(page)


def decode(data: bytes) -> Page | Seal:
    """Raises msgspec.DecodeError: not a page of a journal."""
    found: Page | Seal = _decoder.decode(data)
    return found


MAX_RESULTS = 50
MAX_BYTES = 1 << 20
LINGER_S = 1.0
"""A page is written once it holds that much, or that long after its first entry: what a crash may repeat."""

_TRIES = 5
_PAUSE_S = 0.5


class JournalWriter:
    """Of one epoch.

    Args:
        on_page: told of every page once it is durable.

    Attributes:
        pages: those that are durable.
        refused: calls that were told of and are in no page; meant for once a later owner has sealed the epoch.
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
        self._open: Page | None = None  # perhaps written: no other page may take its place
        self._writing = asyncio.Lock()
        self._filled = asyncio.Event()
        self._due = asyncio.Event()

    @property
    def complete(self) -> bool:
        """Whether all that was said is durable."""
        return self._open is None and self._next() == Page()

    @property
    def refused(self) -> Page:
        pages = [page for page in (self._open, self._next()) if page is not None]
        return Page(
            tuple(attempt for page in pages for attempt in page.attempts),
            tuple(void for page in pages for void in page.voids),
        )

    def note(self, attempt: Attempt) -> None:
        """A call is over."""
        self._attempts.append(attempt)
        self._filled.set()

    def void(self, sequence: int) -> None:
        """A call was never made."""
        self._voids.append(sequence)
        self._filled.set()

    def put(self, result: RecordResult) -> None:
        """A record has its outcome."""
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
        """Everything that was said so far is durable once this returns.

        Raises:
            SupersededError: a later owner has sealed this epoch.
        """
        async with self._writing:
            while not self.complete:
                if self._open is None:
                    self._open = self._next()
                    self._clear()
                await self._write(self._open)

    async def _write(self, page: Page) -> None:
        key = layout.journal_key(self._prefix, self._epoch, len(self.pages))
        if not await self._created(key, encode(page)):
            raise SupersededError("another worker owns this unit")
        self.pages.append(page)
        self._open = None
        await self._on_page(page)

    async def _created(self, key: str, data: bytes) -> bool:
        """The same bytes at the same place until it is known whether they are there."""
        for attempt in range(1, _TRIES):
            try:
                return await self._objects.create(key, data)
            except Exception:  # noqa: BLE001  the last one is raised below; answers are paid for, and worth the patience
                await self._clock.sleep(_PAUSE_S * attempt)
        return await self._objects.create(key, data)

    def _next(self) -> Page:
        return Page(tuple(self._attempts), tuple(self._voids), tuple(self._results))

    def _clear(self) -> None:
        self._attempts, self._voids, self._results, self._bytes = [], [], [], 0
        self._filled.clear()
        self._due.clear()
