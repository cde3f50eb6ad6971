"""The most that a call may cost, which a budget sets aside before the call is made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import product

import msgspec
from msgspec import Struct, structs

from promptmill.domain.completion import TOKENS, CompletionRequest, Usage, attachments_of
from promptmill.domain.limits import CallTokens
from promptmill.domain.recipe import Route
from promptmill.ports.ledger import PriceBook
from promptmill.wire.costly_fields import Extras, extras_of, priced_as_asked, size_of


class Bound(Struct, frozen=True):
    """The most that a call may take.

    Attributes:
        high: nano-dollars, None where the cost has no bound.
        tokens: an estimate, for pacing.
        reason: why there is no bound, "" if nobody asked for one.
        remedy: what to do about that.
    """

    high: int | None
    tokens: CallTokens
    reason: str = ""
    remedy: str = ""


DEFAULT_OUTPUT_TOKENS = 4096
"""The limit that a budget sets where nobody has set ``max_output_tokens``: an answer without one has no highest price."""

_OVERHEAD_TOKENS = 512  # for the templates and formats that providers put around a request
_TOKENS_A_MESSAGE = 32
_BYTES_A_TOKEN = 4  # about, for pacing
_IMAGE_TOKENS = 32_768  # for an image that is named by its address: several times what any provider counts for one
_STANDARD_TIER = "default"

_encoder = msgspec.json.Encoder()


def bound_of(request: CompletionRequest, route: Route, *, prices: PriceBook, at: datetime, priced: bool) -> Bound:
    """Return the most that a call may take. ``priced``: a budget holds, so the cost is needed as well."""
    # A tokenizer makes at most one token of a byte, in any script: the size bounds the input without counting tokens.
    size = len(_encoder.encode(request))
    most_output = 0 if request.kind != "completion" else request.max_output_tokens or DEFAULT_OUTPUT_TOKENS
    tokens = CallTokens(size // _BYTES_A_TOKEN, most_output)
    if not priced:
        return Bound(None, tokens)
    extras = extras_of(request, route)
    if extras.no_bound:
        return Bound(None, tokens, extras.no_bound, extras.remedy)
    elsewhere = _tokens_pointed_to(request)
    if elsewhere is None:
        reason = "the line holds or names something whose tokens cannot be counted"
        return Bound(None, tokens, reason, "run it without a budget")
    size += size_of(route) + elsewhere + extras.described
    most_input = size + _OVERHEAD_TOKENS + _TOKENS_A_MESSAGE * len(request.messages)
    most = _Most(most_input, max(most_output, extras.max_output or 0), round(route.timeout_s * 1_000_000))
    reached = _with_extras(most, extras, prices.context_window(route, at=at) if extras.hosted else None)
    if reached is None:
        return Bound(None, tokens, "the context window of the model is not known", "run it without a budget")
    high = _highest_price(priced_as_asked(request, route), reached, extras, prices, at)
    return Bound(high, tokens) if high is not None else Bound(None, tokens, "it has no price", "set its price")


class _Most(Struct, frozen=True):
    """The most tokens that a call reads and writes, and the longest that it takes."""

    read: int
    written: int
    time_us: int


def _tokens_pointed_to(request: CompletionRequest) -> int | None:
    """Return the most tokens of what the request only points to; None where that has no bound."""
    attachments = [part for part in attachments_of(request) if not part.holds_text and part.kind != TOKENS]
    if any(part.kind != "image" for part in attachments):  # a page or a minute of these has no size that bounds it
        return None
    pointers = [part for part in attachments if not part.data]
    return _IMAGE_TOKENS * len(pointers)


def _with_extras(most: _Most, extras: Extras, window: int | None) -> _Most | None:
    """Return the most with what the fields of the call add, None where a hosted tool may find without limit.

    What a tool finds is put into the prompt, which the model then reads again: at most its whole context window.
    """
    written = most.written * max(1, extras.answers) + (most.read if extras.predicted else 0)
    if not extras.hosted:
        return structs.replace(most, written=written)
    rounds = 1 + sum(extras.hosted.values())
    if window is None:
        return None
    return structs.replace(most, read=rounds * max(window, most.read), written=rounds * written)


def _highest_price(route: Route, most: _Most, extras: Extras, prices: PriceBook, at: datetime) -> int | None:
    """Return the highest price of any split of the tokens: plain, cache-written, heard and spoken, at any tier."""
    costs = [prices.price(route, usage, model="", at=at).nano_usd for usage in _usages(most, extras)]
    known = [cost for cost in costs if cost is not None]
    return max(known) if len(known) == len(costs) else None


def _usages(most: _Most, extras: Extras) -> Iterator[Usage]:
    plain = Usage(
        input_total=most.read,
        output_total=most.written,
        compute_us=most.time_us,
        hosted={name: calls for name, calls in extras.hosted.items() if calls},
    )
    written, written_1h = structs.replace(plain, cache_write=most.read), most.read
    splits = (plain, written, structs.replace(written, cache_write_1h=written_1h))
    for usage, tier, spoken in product(
        splits, ("", _STANDARD_TIER)[: 1 + extras.tiers], (0, most.written)[: 1 + extras.has_media]
    ):
        yield structs.replace(usage, service_tier=tier, output_audio=spoken)
