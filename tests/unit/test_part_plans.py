"""Parts that one object is made of."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.aws.s3.multipart import COPY, MIN_PART, PART, Part, Span, plan_parts

_SIZES = st.one_of(
    st.integers(0, 64),
    st.integers(MIN_PART - 2, MIN_PART + 2),
    st.integers(PART - 2, PART + 2),
    st.integers(COPY - 2, 3 * COPY),
)


def _spans(parts: list[Part]) -> list[Span]:
    return list(itertools.chain.from_iterable(part.spans for part in parts))


@given(st.lists(_SIZES, max_size=30))
@settings(max_examples=300)
def test_every_byte_comes_once_and_in_order(sizes: list[int]) -> None:
    parts = plan_parts(Span(str(n), 0, size) for n, size in enumerate(sizes))
    at = {str(n): 0 for n in range(len(sizes))}
    keys = []
    for span in _spans(parts):
        assert span.start == at[span.key] < span.end
        at[span.key] = span.end
        keys.append(int(span.key))
    assert list(at.values()) == sizes
    assert keys == sorted(keys)


@given(st.lists(_SIZES, max_size=30))
def test_s3_takes_each_part(sizes: list[int]) -> None:
    parts = plan_parts(Span(str(n), 0, size) for n, size in enumerate(sizes))
    for part in parts[:-1]:
        assert sum(span.size for span in part.spans) >= MIN_PART
    for part in parts:
        size = sum(span.size for span in part.spans)
        assert len(part.spans) == 1 and MIN_PART <= size <= COPY if part.copied else size <= PART


def test_no_more_parts_than_s3_takes() -> None:
    for size in (1, MIN_PART, PART + 1, COPY + 1, 2 << 30):
        assert len(plan_parts(Span(str(n), 0, size) for n in range(2_000))) <= 10_000


def test_what_is_huge_is_copied_in_larger_parts() -> None:
    parts = plan_parts([Span("k", 0, 5 << 40)])
    assert len(parts) <= 10_000
    assert max(part.spans[0].size for part in parts) <= 5 << 30
