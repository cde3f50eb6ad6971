"""Add the estimates of records up to one of the whole file."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable

from msgspec import Struct

from promptmill.estimates.record_estimate import RecordEstimate, Refusal
from promptmill.estimates.scaling import Population, Total, scale_count, scale_total


class Between(Struct, frozen=True):
    """A number of the whole file: what is expected, and between what it lies."""

    low: int
    expected: int
    high: int


class RouteEstimate(Struct, frozen=True):
    """The estimate of a route if it answered all records that it carries.

    Attributes:
        first: the records that ask it first.
        carried: the records that its API carries.
        nano_usd: nano-dollars, None where the route has no price.
    """

    route: str
    first: int
    carried: int
    input_tokens: Between
    output_tokens: Between
    nano_usd: Between | None


class RefusedRecords(Struct, frozen=True):
    """Records that will fail for one reason, and the first of them that was seen."""

    code: str
    records: Between
    example: Refusal


class FileEstimate(Struct, frozen=True):
    """The estimate of a whole file.

    Attributes:
        records, size: of the whole file; size in bytes.
        seen: the records that were looked at: all, or a random sample.
        input_tokens, output_tokens, nano_usd: if each record is answered by the first route that carries it. Nano-dollars
            are None if one of those routes has no price.
        routes: by route, in the order of the recipe.
        masked: values that redaction will replace, by type.
    """

    records: int
    size: int
    seen: int
    will_run: Between
    input_tokens: Between
    output_tokens: Between
    nano_usd: Between | None
    routes: tuple[RouteEstimate, ...]
    refused: tuple[RefusedRecords, ...]
    masked: dict[str, int]


_BOUNDS = ("low", "expected", "high")
_QUANTITIES = ("inputs", "outputs", "costs")
_ALL = ""
"""The place of what all records take, each on its first route. No route is called so."""


class FileEstimateBuilder:
    """Holds some numbers of each record that was seen, and nothing of its text."""

    def __init__(self) -> None:
        self._sizes = array("q")
        self._columns: defaultdict[tuple[str, str, str], array[float]] = defaultdict(lambda: array("d"))
        self._first, self._carried, self._unpriced = Counter[str](), Counter[str](), set[str]()
        self._refused, self._examples = Counter[str](), dict[str, Refusal]()
        self._masked: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))

    def add(self, record: RecordEstimate) -> None:
        self._sizes.append(record.size)
        if record.refusal is not None:
            self._refused[record.refusal.code] += 1
            self._examples.setdefault(record.refusal.code, record.refusal)
            return
        self._first[record.route] += 1
        for route in record.inputs:
            self._carried[route] += 1
            self._add_route(record, route, route)
        self._add_route(record, record.route, _ALL)
        for kind, count in record.masked.items():
            _put(self._masked[kind], len(self._sizes), count)

    def _add_route(self, record: RecordEstimate, route: str, place: str) -> None:
        for quantity in _QUANTITIES:
            numbers = getattr(record, quantity)[route]
            for bound in _BOUNDS:
                number = getattr(numbers, bound)
                if number is None:
                    self._unpriced.add(place)
                _put(self._columns[place, quantity, bound], len(self._sizes), number or 0)

    def build(self, population: Population, routes: Iterable[str]) -> FileEstimate:
        """Return the estimate of a file of which the records that were added are all, or a random sample."""
        refused = [self._refused_by(code, population) for code, _ in self._refused.most_common()]
        return FileEstimate(
            records=population.records,
            size=population.size,
            seen=len(self._sizes),
            will_run=self._count(len(self._sizes) - self._refused.total(), population),
            input_tokens=self._between(_ALL, "inputs", population),
            output_tokens=self._between(_ALL, "outputs", population),
            nano_usd=None if _ALL in self._unpriced else self._between(_ALL, "costs", population),
            routes=tuple(self._route(route, population) for route in routes),
            refused=tuple(refused),
            masked={
                kind: round(self._total(values, population).value) for kind, values in sorted(self._masked.items())
            },
        )

    def _route(self, route: str, population: Population) -> RouteEstimate:
        return RouteEstimate(
            route,
            self._count(self._first[route], population).expected,
            self._count(self._carried[route], population).expected,
            self._between(route, "inputs", population),
            self._between(route, "outputs", population),
            None if route in self._unpriced else self._between(route, "costs", population),
        )

    def _refused_by(self, code: str, population: Population) -> RefusedRecords:
        return RefusedRecords(code, self._count(self._refused[code], population), self._examples[code])

    def _count(self, found: int, population: Population) -> Between:
        return Between(*scale_count(found, len(self._sizes), population))

    def _between(self, place: str, quantity: str, population: Population) -> Between:
        low, expected, high = (self._total(self._columns[place, quantity, bound], population) for bound in _BOUNDS)
        return Between(max(0, round(low.value - low.margin)), round(expected.value), round(high.value + high.margin))

    def _total(self, values: array[float], population: Population) -> Total:
        _fill(values, len(self._sizes))
        return scale_total(self._sizes, values, population)


def _put(column: array[float], place: int, value: float) -> None:
    """Set the value of the record at ``place``, counted from 1. Those before it that have none have 0."""
    _fill(column, place - 1)
    column.append(value)


def _fill(column: array[float], length: int) -> None:
    column.extend([0.0] * (length - len(column)))
