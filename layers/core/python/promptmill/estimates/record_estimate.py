"""Estimate what one record will take: read it and redact it as a worker would, and send nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol, Self

import msgspec
from msgspec import Struct, field, structs

from promptmill.calls.bounds import DEFAULT_OUTPUT_TOKENS
from promptmill.calls.complete_record import allowed_by, name_of_body, routes_for
from promptmill.domain.completion import (
    TOKENS,
    Attachment,
    CompletionRequest,
    Message,
    Part,
    Text,
    ToolResult,
    Usage,
    tokens_of,
)
from promptmill.domain.errors import ProviderError, RecordError
from promptmill.domain.job_file import FileFacts
from promptmill.domain.recipe import Recipe, Route
from promptmill.domain.record import RawRecord
from promptmill.estimates.token_table import Shape, TokenRange, count_tokens, shape_of, vocabulary_of
from promptmill.formats.file_format import FileFormat
from promptmill.ports.ledger import PriceBook
from promptmill.ports.model_provider import ModelProviders, NotSentError
from promptmill.redaction import redact_request
from promptmill.wire.line_fields import refuse_unallowed

_SHARE_OF_OUTPUT = 0.25
"""The part of ``max_output_tokens`` that an answer is expected to take where no answer of the recipe was seen yet."""
_ATTACHMENT_TOKENS = TokenRange(0, 1_000, 32_768)
"""The tokens of an image or a document, which each provider counts in its own way."""

_encoder = msgspec.json.Encoder()


class AnswerLength(Struct, frozen=True):
    """The output tokens of a route's answers, as the ledger has them. ``low`` and ``high`` are means of single days."""

    low: float
    mean: float
    high: float


class Refusal(Struct, frozen=True):
    """A record that will fail, and why. Its message may quote the line, as those in the errors file do."""

    line: int
    code: str
    message: str


class CostRange(Struct, frozen=True):
    """The cost of a call on a route in nano-dollars; None where the route has no price."""

    low: int | None
    expected: int | None
    high: int | None


class RecordEstimate(Struct, frozen=True):
    """The estimate of one record.

    Attributes:
        size: its bytes in the file.
        refusal: why it will fail before any call; nothing else is set then.
        route: the id of the first route that carries the record.
        costs: by route that carries it, if that route answers.
        masked: values that redaction will replace, by type.
    """

    size: int
    refusal: Refusal | None = None
    route: str = ""
    inputs: Mapping[str, TokenRange] = field(default_factory=dict)
    outputs: Mapping[str, TokenRange] = field(default_factory=dict)
    costs: Mapping[str, CostRange] = field(default_factory=dict)
    masked: Mapping[str, int] = field(default_factory=dict)


class Tokenizer(Protocol):
    """The vocabulary of one model."""

    async def count(self, route: Route, request: CompletionRequest) -> int | None:
        """Return the input tokens of a call, None if it cannot be asked."""
        ...


class Estimating(Struct, frozen=True):
    """The facts and ports that all records of a file are estimated with.

    Attributes:
        providers: write the calls and do not send them: every call ends in ``NotSentError``.
        answers: by route, how long its answers to this recipe were.
        tokenizers: by provider, what counts the tokens of its models exactly.
    """

    file_format: FileFormat
    facts: FileFacts
    recipe: Recipe
    providers: ModelProviders
    prices: PriceBook
    at: datetime
    answers: Mapping[str, AnswerLength] = field(default_factory=dict)
    tokenizers: Mapping[str, Tokenizer] = field(default_factory=dict)


async def estimate_record(record: RawRecord, estimating: Estimating) -> RecordEstimate:
    """Return what a record will take. A record that is wrong is a refusal, never an error."""
    size = len(record.data)
    if record.error is not None:
        return RecordEstimate(size, Refusal(record.line, record.error.code, record.error.message))
    try:
        return await _estimate(record, estimating)
    except RecordError as error:
        return RecordEstimate(size, Refusal(record.line, error.code, error.message))


async def _estimate(record: RawRecord, estimating: Estimating) -> RecordEstimate:
    recipe, where = estimating.recipe, f"line {record.line}"
    request = estimating.file_format.parse(record, estimating.facts, recipe)
    refuse_unallowed(request, allowed_by(recipe), where=where, inside=name_of_body(estimating.file_format))
    redacted = redact_request(request, structs.replace(recipe.redact, engines=("structured",)))
    routes = await _find_takers(redacted.request, routes_for(request, recipe, where=where), estimating)
    texts = _Texts.of(redacted.request)
    attachments = [part for message in request.messages for part in message.parts if isinstance(part, Attachment)]
    inputs, outputs, costs = {}, {}, {}
    for route in routes:
        counted = await _count_exactly(redacted.request, route, estimating) or texts.count(route)
        inputs[route.id] = _with_attachments(counted, attachments)
        outputs[route.id] = _output(request, estimating.answers.get(route.id))
        costs[route.id] = _cost(route, inputs[route.id], outputs[route.id], estimating)
    return RecordEstimate(len(record.data), None, routes[0].id, inputs, outputs, costs, redacted.counts)


async def _find_takers(request: CompletionRequest, routes: Sequence[Route], estimating: Estimating) -> list[Route]:
    """Return the routes whose API carries the request, in order. Raises RecordError: there is none."""
    takers, refusals = list[Route](), list[RecordError]()
    for route in routes:
        try:
            await estimating.providers.provider_for(route).complete(route, request, call_id="")
        except RecordError as refusal:
            refusals.append(refusal)
        except (NotSentError, ProviderError):  # a route without a key or an address is for doctor to tell
            takers.append(route)
    if not takers:
        raise refusals[0]
    return takers


async def _count_exactly(request: CompletionRequest, route: Route, estimating: Estimating) -> TokenRange | None:
    tokenizer = estimating.tokenizers.get(route.provider)
    if tokenizer is None:
        return None
    tokens = await tokenizer.count(route, request)
    return None if tokens is None else TokenRange(tokens, tokens, tokens)


_OWN_SERVERS = ("local", "compatible")
_SYSTEM_OF_TEMPLATE = 40
"""The templates of some open models put a system prompt of their own where the request has none."""


class _Texts(Struct, frozen=True):
    """The shapes of a request's texts, once without and once with the schema of its answer.

    Some services put the schema into the prompt. Servers of one's own make a grammar of it, which is no input.
    """

    messages: int
    has_system: bool
    plain: Shape
    with_schema: Shape

    @classmethod
    def of(cls, request: CompletionRequest) -> Self:
        texts = "\n".join(_texts(request))
        schema = _encoder.encode(request.json_schema.schema).decode() if request.json_schema else ""
        plain = shape_of(texts)
        messages = len(request.messages) + bool(request.system)
        return cls(messages, bool(request.system), plain, shape_of(f"{texts}\n{schema}") if schema else plain)

    def count(self, route: Route) -> TokenRange:
        """Return the input tokens of a call on the route."""
        vocabulary = vocabulary_of(route)
        least, most = (count_tokens(shape, self.messages, vocabulary) for shape in (self.plain, self.with_schema))
        expected = least if route.provider in _OWN_SERVERS else most
        template = _SYSTEM_OF_TEMPLATE if route.provider in _OWN_SERVERS and not self.has_system else 0
        return TokenRange(least.low, expected.expected + template / 2, most.high + template)


def _texts(request: CompletionRequest) -> Iterator[str]:
    yield request.system
    for message in request.messages:
        yield from _texts_of_message(message)
    for document in (*request.tools, request.native):
        if document:
            yield _encoder.encode(document).decode()


def _texts_of_message(message: Message) -> Iterator[str]:
    return (_text_of_part(part) for part in message.parts)


def _text_of_part(part: Part) -> str:
    if isinstance(part, Text | ToolResult):
        return part.text
    return "" if isinstance(part, Attachment) else _encoder.encode(part).decode()


def _with_attachments(counted: TokenRange, attachments: Sequence[Attachment]) -> TokenRange:
    each, attached = _ATTACHMENT_TOKENS, sum(attachment.kind != TOKENS for attachment in attachments)
    tokens = sum(len(tokens_of(attachment)) for attachment in attachments)
    return TokenRange(
        counted.low + tokens + attached * each.low,
        counted.expected + tokens + attached * each.expected,
        counted.high + tokens + attached * each.high,
    )


def _output(request: CompletionRequest, seen: AnswerLength | None) -> TokenRange:
    if request.kind != "completion":
        return TokenRange()
    most = request.max_output_tokens or DEFAULT_OUTPUT_TOKENS
    if seen is not None:
        return TokenRange(min(most, seen.low), min(most, seen.mean), min(most, seen.high))
    return TokenRange(0, _SHARE_OF_OUTPUT * most, most)


def _cost(route: Route, given: TokenRange, got: TokenRange, estimating: Estimating) -> CostRange:
    def price(tokens_in: float, tokens_out: float) -> int | None:
        usage = Usage(input_total=round(tokens_in), output_total=round(tokens_out), source="estimated")
        return estimating.prices.price(route, usage, model="", at=estimating.at).nano_usd

    return CostRange(price(given.low, got.low), price(given.expected, got.expected), price(given.high, got.high))
