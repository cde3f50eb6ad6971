"""Estimate what a file will take: cut it as for a job, look at its records or at a random sample, and send nothing."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime

from msgspec import Struct, field

from promptmill.domain import layout
from promptmill.domain.job_file import ChunkRange
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import RawRecord
from promptmill.estimates.file_estimate import FileEstimate, FileEstimateBuilder
from promptmill.estimates.record_estimate import AnswerLength, Estimating, Tokenizer, estimate_record
from promptmill.estimates.scaling import Population
from promptmill.formats.file_format import format_named
from promptmill.jobs.chunk_unit import CutObject, read_records
from promptmill.jobs.cut_file import CutFile
from promptmill.jobs.manifests import PAGE, decode_ranges
from promptmill.ports.ledger import PriceBook
from promptmill.ports.model_provider import ModelProviders
from promptmill.ports.object_store import ObjectReader

WHOLE_BYTES = 20 << 20
"""A file of at most this size is looked at whole, which takes some seconds."""
_LEAST_SAMPLE, _SHARE_OF_SAMPLE, _MOST_SAMPLE = 1_000, 0.02, 20_000


class EstimatingPorts(Struct, frozen=True):
    """The ports and values that an estimate needs.

    Attributes:
        providers: write calls and send none.
        answers, tokenizers: see ``Estimating``.
        on_seen: told how many records of how many were looked at.
    """

    objects: ObjectReader
    providers: ModelProviders
    prices: PriceBook
    at: datetime
    rng: random.Random
    answers: Mapping[str, AnswerLength] = field(default_factory=dict)
    tokenizers: Mapping[str, Tokenizer] = field(default_factory=dict)
    on_seen: Callable[[int, int], None] = lambda _seen, _of: None


async def estimate_file(
    cut: CutFile, recipe: Recipe, ports: EstimatingPorts, *, sample: int | None = None
) -> FileEstimate:
    """Return what a file will take.

    ``sample`` is how many records to draw at random, None for all of a small file and some of a large one.
    """
    ranges = [chunk async for chunk in _read_ranges(cut, ports.objects)]
    size = sum(chunk.end - chunk.start for chunk in ranges)
    wanted = min(cut.records, _choose_sample(cut.records, size) if sample is None else sample)
    chosen = None if wanted >= cut.records else frozenset(ports.rng.sample(range(cut.records), wanted))
    estimating = Estimating(
        file_format=format_named(cut.facts.format),
        facts=cut.facts,
        recipe=recipe,
        providers=ports.providers,
        prices=ports.prices,
        at=ports.at,
        answers=ports.answers,
        tokenizers=ports.tokenizers,
    )
    builder, seen = FileEstimateBuilder(), 0
    for chunk in ranges:
        for record in await _read_chosen(chunk, chosen, cut, ports.objects):
            builder.add(await estimate_record(record, estimating))
            seen += 1
            ports.on_seen(seen, wanted)
    return builder.build(Population(cut.records, size), [route.id for route in recipe.routes])


def _choose_sample(records: int, size: int) -> int:
    if size <= WHOLE_BYTES:
        return records
    return max(_LEAST_SAMPLE, min(_MOST_SAMPLE, round(_SHARE_OF_SAMPLE * records)))


async def _read_ranges(cut: CutFile, objects: ObjectReader) -> AsyncIterator[ChunkRange]:
    for page in range(-(-cut.chunks // PAGE)):
        for chunk in decode_ranges(await objects.read(layout.ranges_key(cut.ranges, page))):
            yield chunk


async def _read_chosen(
    chunk: ChunkRange, chosen: frozenset[int] | None, cut: CutFile, objects: ObjectReader
) -> list[RawRecord]:
    """Return the records of a chunk that are to be looked at. A chunk without any is not read."""
    places = range(chunk.first_record, chunk.first_record + chunk.records)
    if chosen is not None and chosen.isdisjoint(places):
        return []
    records = await read_records(chunk, CutObject(cut.key, cut.version, cut.facts), objects=objects)
    return [record for record in records if chosen is None or record.index in chosen]
