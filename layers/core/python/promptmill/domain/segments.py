"""Segments: runs of neighbouring chunks whose results one invocation joins, whatever the size of the job."""

from __future__ import annotations

from msgspec import Struct

from promptmill.domain.run_totals import RunTotals

CHUNKS = 100
"""Chunks a segment: 50 MB as a rule, joined within seconds; where answers are huge, still within minutes."""
LANES = 4
"""Segments that are joined at once: fewer than there are joiners, so that other jobs end meanwhile."""
_MOST = 800


class Joined(Struct, frozen=True):
    """What a segment came to. ``sizes``: bytes of its part of results, errors and attempts."""

    totals: RunTotals
    sizes: tuple[int, int, int]


class Segments(Struct, frozen=True):
    """How a run is divided: a function of its number of chunks, so that all who join it agree. ``chunks``: of each."""

    chunks: int
    of: int

    def __len__(self) -> int:
        return max(1, -(-self.of // self.chunks))

    def chunks_of(self, segment: int) -> range:
        return range(segment * self.chunks, min(self.of, (segment + 1) * self.chunks))

    def next_in_lane(self, after: int, missing: set[int]) -> int | None:
        """The next segment that whoever joined this one joins."""
        return next((n for n in range(after + LANES, len(self), LANES) if n in missing), None)

    def first_in_lanes(self, missing: set[int]) -> list[int]:
        """Where each lane goes on."""
        lanes = (range(lane, len(self), LANES) for lane in range(LANES))
        firsts = (next((n for n in lane if n in missing), None) for lane in lanes)
        return [n for n in firsts if n is not None]


def segments_of(chunks: int, *, least: int = CHUNKS) -> Segments:
    """``least``: chunks a segment; more where there would be too many of them."""
    return Segments(max(least, -(-chunks // _MOST)), chunks)
