"""The most that a call can cost."""

from __future__ import annotations

from datetime import datetime

import msgspec

from promptmill.calls.sending import Bound
from promptmill.domain.completion import Attachment, CompletionRequest, Usage
from promptmill.domain.recipe import Route
from promptmill.ports.ledger import PriceBook

DEFAULT_OUTPUT_TOKENS = 4096
"""Where a budget holds and nobody has set ``max_output_tokens``: without it an answer has no price to reckon with."""

_OVERHEAD_TOKENS = 512  # of templates and formats that providers put around a request
_TOKENS_A_MESSAGE = 32
_BYTES_A_TOKEN = 4  # about, for pacing
_IMAGE_TOKENS = 32_768  # of one that is named by its address: several times what any provider makes of one

_encoder = msgspec.json.Encoder()


def bound_of(request: CompletionRequest, route: Route, *, prices: PriceBook, at: datetime, priced: bool) -> Bound:
    """A tokenizer makes at most one token of a byte, in any script; ``priced``: a budget wants to know the cost too."""
    size = len(_encoder.encode(request))
    most_output = request.max_output_tokens or DEFAULT_OUTPUT_TOKENS
    tokens = size // _BYTES_A_TOKEN + most_output
    if not priced:
        return Bound(None, tokens)
    elsewhere = _elsewhere(request)
    if elsewhere is None:
        return Bound(None, tokens)
    most_input = size + elsewhere + _OVERHEAD_TOKENS + _TOKENS_A_MESSAGE * len(request.messages)
    return Bound(_most(route, most_input, most_output, prices, at), tokens)


def _elsewhere(request: CompletionRequest) -> int | None:
    """Tokens of what the request only points to; None where that has no bound."""
    parts = (part for message in request.messages for part in message.parts if isinstance(part, Attachment))
    pointers = [part for part in parts if not part.data]
    if any(part.kind != "image" for part in pointers):
        return None
    return _IMAGE_TOKENS * len(pointers)


def _most(route: Route, most_input: int, most_output: int, prices: PriceBook, at: datetime) -> int | None:
    """Whatever of the input is read from a cache or written to one. Time that is charged is the longest there is."""
    time_us = round(route.timeout_s * 1_000_000)
    usages = (
        Usage(input_total=most_input, output_total=most_output, compute_us=time_us),
        Usage(input_total=most_input, cache_write=most_input, output_total=most_output, compute_us=time_us),
        Usage(
            input_total=most_input,
            cache_write=most_input,
            cache_write_1h=most_input,
            output_total=most_output,
            compute_us=time_us,
        ),
    )
    costs = [prices.price(route, usage, model="", at=at).nano_usd for usage in usages]
    known = [cost for cost in costs if cost is not None]
    return max(known) if len(known) == len(costs) else None
