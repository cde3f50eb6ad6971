"""Bound what the fields of a call that cost extra can add to it: more answers, calls of hosted tools, dearer tiers.

A line sets such fields where its route allows them by name, and the operator sets them in the route's ``body``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, field, structs

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.pricing import TIERS, hosted_tools_in
from promptmill.domain.recipe import Route
from promptmill.wire.line_fields import may_need, moved_by, tool_kind
from promptmill.wire.request_bodies import overlay

_ANSWERS = ("n", "best_of", "generationConfig.candidateCount")
_PREDICTION = "prediction"
_SOUND = ("audio", "modalities", "generationConfig.responseModalities")
_LOOKED_UP = frozenset((*TIERS, "inference_geo"))
"""Fields by which a price is looked up."""
_BOUNDED = _LOOKED_UP | {*_ANSWERS, _PREDICTION, *_SOUND}
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens", "max_gen_len")
_MORE_LIMITS = ("maxTokens", "maxOutputTokens", "maxTokenCount", "max_tokens_to_sample")
_RUN_BY_USER = ("bash", "text_editor", "computer", "memory", "computer_use_preview", "local_shell", "apply_patch")
"""Tools that a provider describes to the model, and that the user runs."""
_DESCRIPTION_TOKENS = 4096
"""More than the description of any such tool takes."""
_LIMITED_BY_USES = ("web_search", "web_fetch")
_COUNTED_AS = {"web_search_preview": "web_search"}


class Extras(Struct, frozen=True):
    """The most that the fields of a call add to its cost.

    Attributes:
        answers: how many answers the model writes.
        max_output: the limit of an answer that the route's body sets in place of the line's, None if it sets none.
        predicted: True if tokens of a prediction may be charged beside those of the answer.
        hosted: the most calls of each tool that the provider runs.
        described: tokens by which tools that the provider describes make the prompt longer.
        tiers: True if the call may be served at another tier than the standard one.
        has_media: True if the answer may hold sound or images, which have rates of their own.
        no_bound: why the cost has no bound, "" if it has one.
        remedy: what to do about that.
    """

    answers: int = 1
    max_output: int | None = None
    predicted: bool = False
    hosted: dict[str, int] = field(default_factory=dict)
    described: int = 0
    tiers: bool = False
    has_media: bool = False
    no_bound: str = ""
    remedy: str = ""


_NONE = Extras()


def extras_of(request: CompletionRequest, route: Route) -> Extras:
    """Return what the fields of the line and of the route's body add. Most calls have none of them."""
    if not (route.body or may_need(request)):
        return _NONE
    asked = overlay(request.native, route.body)
    tools = _bound_tools(asked)
    unlimited = next((kind for kind, most in tools.items() if most is None), None)
    others = sorted(name for name in moved_by(request) if name not in _BOUNDED and not name.startswith("tools."))
    if route.body.get("web_search_options") is not None:
        others.append("web_search_options")
    no_bound, remedy = "", ""
    own_price = next((name for name in request.native if name in _LOOKED_UP), "") if route.price is not None else ""
    if own_price:
        no_bound = f"the route's own price does not tell what {own_price} costs"
        remedy = "leave the field out, or run it without a budget"
    elif others:
        no_bound, remedy = f"nothing limits what {others[0]} costs", "leave the field out, or run it without a budget"
    elif unlimited:
        no_bound = f"nothing limits how often {unlimited} is called"
        remedy = f"{_how_to_limit(request, unlimited)}, or run it without a budget"
    run_by_user = [kind for kind in tools if kind in _RUN_BY_USER]
    return Extras(
        answers=max(_count_at(asked, path) or 1 for path in _ANSWERS),
        max_output=max(_limits_in(route.body), default=None),
        predicted=asked.get(_PREDICTION) is not None,
        hosted={_COUNTED_AS.get(kind, kind): most or 0 for kind, most in tools.items() if kind not in _RUN_BY_USER},
        described=_DESCRIPTION_TOKENS * len(run_by_user),
        tiers=any(name in asked for name in TIERS),
        has_media=any(_value_at(asked, path) not in (None, ["text"], ["TEXT"]) for path in _SOUND),
        no_bound=no_bound,
        remedy=remedy,
    )


def may_stream(request: CompletionRequest, route: Route) -> bool:
    """Return True if the route streams, and the answer is one: several cannot be put together from one stream."""
    return route.stream and extras_of(request, route).answers == 1


def _how_to_limit(request: CompletionRequest, kind: str) -> str:
    if request.wire_format == "openai-responses":
        return "set max_tool_calls"
    return "set max_uses of the tool" if kind in _LIMITED_BY_USES else "leave the tool out"


def priced_as_asked(request: CompletionRequest, route: Route) -> Route:
    """Return the route with those fields of the line in its body by which the price is looked up."""
    asked = {name: value for name, value in request.native.items() if name in _LOOKED_UP}
    return structs.replace(route, body=overlay(asked, route.body)) if asked else route


def _bound_tools(asked: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the kinds of tools that the provider runs or brings, and how often each is called at most."""
    most: dict[str, int | None] = {}
    for tool in hosted_tools_in(asked):
        kind = tool_kind(tool)
        limit = 0 if kind in _RUN_BY_USER else _as_limit(tool.get("max_uses"), asked.get("max_tool_calls"))
        before = most.get(kind, 0)
        most[kind] = None if limit is None or before is None else before + limit
    return most


def _as_limit(*values: Any) -> int | None:
    known = [value for value in values if isinstance(value, int) and not isinstance(value, bool) and value >= 0]
    return min(known, default=None)


def _value_at(body: Mapping[str, Any], path: str) -> Any:
    value: Any = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _count_at(body: Mapping[str, Any], path: str) -> int | None:
    return _as_limit(_value_at(body, path))


def _limits_in(body: Mapping[str, Any]) -> Iterator[int]:
    for name, value in body.items():
        if isinstance(value, Mapping):
            yield from _limits_in(value)
        elif name in (*_LIMITS, *_MORE_LIMITS) and (limit := _as_limit(value)):
            yield limit


def size_of(route: Route) -> int:
    """Return the bytes that the route's body adds to a request."""
    return len(msgspec.json.encode(route.body)) if route.body else 0
