"""A request as the input of a model at Replicate, each of which has fields of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from promptmill.adapters.flat_prompts import flat_prompt
from promptmill.adapters.request_bodies import unsupported, with_native
from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import RouteClosedError
from promptmill.domain.recipe import Route

PROTOCOL: Final = "replicate"
LABEL = "Replicate"
NAMES: Mapping[str, str] = {
    "prompt": "prompt",
    "system": "system_prompt",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "stop": "stop_sequences",
}
"""What most language models call them; a route's ``wire: {names: …}`` says what its model does."""
_STOP_SEPARATOR = ","


def request_body(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Raises RecordError for what cannot be carried."""
    names = {**NAMES, **_own_names(route)}
    flat = flat_prompt(msgspec.structs.replace(request, system=""), route.wire, by=LABEL)
    fields = {
        "prompt": flat.text,
        "system": request.system or None,
        "max_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "stop": _stop(flat.stop),
    }
    given = {names[ours]: value for ours, value in fields.items() if value is not None}
    return with_native({"input": given}, request, protocol=PROTOCOL)


def _own_names(route: Route) -> Mapping[str, str]:
    if unknown := route.wire.names.keys() - NAMES.keys():
        raise RouteClosedError("wire_names", f"{route.id}: there is no {min(unknown)}; known: {', '.join(NAMES)}")
    return route.wire.names


def _stop(sequences: tuple[str, ...]) -> str | None:
    """One text with commas, so that none can be in a sequence."""
    if any(_STOP_SEPARATOR in sequence for sequence in sequences):
        raise unsupported("stop", f"a sequence with a comma cannot be sent to {LABEL}")
    return _STOP_SEPARATOR.join(sequences) or None
