"""What becomes of every field of an API's request: a word for the route's own API, and one for any other.

``promptmill providers --fields`` prints it. A test walks the types of the official SDKs, so that a new field of theirs has
to get a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from promptmill.domain.completion import WireFormat
from promptmill.domain.provider_table import RESERVED_BODY_FIELDS, Provider
from promptmill.domain.recipe import Endpoint
from promptmill.wire.field_rules import BODY_RULES
from promptmill.wire.line_fields import OwnTools, Reach
from promptmill.wire.translation import HINTS

Verdict = Literal["carried", "translated", "refused", "paid extra"]
Elsewhere = Literal["translated", "left out", "refused"]


class FieldWord(Struct, frozen=True):
    """What becomes of a field.

    Attributes:
        own: on a route of the line's own API.
        elsewhere: on a route of another API.
        why: to what it is translated, or why it is refused.
    """

    name: str
    own: Verdict
    elsewhere: Elsewhere
    why: str = ""


_MODEL = ("model", "translated", "translated", "to the route's model, or by the recipe's `models`")
_STREAM = "to false: nobody reads a batch as a stream"
_SYSTEM = "to the system prompt of each API"
_LIMIT = "to the API's own name, and lowered to the recipe's limit"
_WORDS: Final = (
    _MODEL,
    ("stream", "translated", "translated", _STREAM),
    ("stream_options", "translated", "translated", _STREAM),
    ("temperature", "carried", "translated", ""),
    ("top_p", "carried", "translated", ""),
)
_READ: Mapping[WireFormat, tuple[tuple[str, str, str, str], ...]] = {
    "openai-chat": (
        *_WORDS,
        ("messages", "carried", "translated", ""),
        ("max_completion_tokens", "carried", "translated", _LIMIT),
        ("max_tokens", "translated", "translated", _LIMIT),
        ("seed", "carried", "left out", "where the API has none"),
        ("stop", "carried", "translated", ""),
        ("top_k", "carried", "translated", "where the API has one"),
    ),
    "openai-responses": (
        *_WORDS,
        ("input", "carried", "translated", ""),
        ("instructions", "carried", "translated", _SYSTEM),
        ("max_output_tokens", "carried", "translated", _LIMIT),
    ),
    "openai-completions": (
        *_WORDS,
        ("prompt", "carried", "translated", "to a user message"),
        ("max_tokens", "carried", "translated", _LIMIT),
        ("seed", "carried", "left out", "where the API has none"),
        ("stop", "carried", "translated", ""),
    ),
    "openai-embeddings": (
        _MODEL,
        ("input", "carried", "translated", "tokens only to their own API, and where the recipe redacts nothing"),
        ("dimensions", "carried", "translated", ""),
        ("encoding_format", "translated", "translated", "the result is written as it was asked for"),
    ),
    "openai-moderations": (
        _MODEL,
        ("input", "carried", "refused", "only a route with `dialect: moderations` takes it"),
    ),
    "anthropic-messages": (
        *(word for word in _WORDS if word[0] != "stream_options"),
        ("messages", "carried", "translated", ""),
        ("system", "carried", "translated", _SYSTEM),
        ("max_tokens", "carried", "translated", _LIMIT),
        ("stop_sequences", "carried", "translated", ""),
        ("top_k", "carried", "translated", "where the API has one"),
        ("output_format", "carried", "translated", "to output_config.format"),
        ("mcp_servers", "refused", "refused", "it holds addresses"),
        ("fallbacks", "refused", "refused", "it names other models"),
    ),
    "bedrock-converse": (
        ("modelId", "translated", "translated", "to the route's model, or by the recipe's `models`"),
        ("messages", "carried", "translated", ""),
        ("system", "carried", "translated", _SYSTEM),
        ("inferenceConfig", "carried", "translated", _LIMIT),
    ),
    "vertex-generate": (
        _MODEL,
        ("contents", "carried", "translated", ""),
        ("systemInstruction", "carried", "translated", _SYSTEM),
    ),
}
_TRANSLATED = frozenset(
    (
        *("parallel_tool_calls", "user", "metadata", "reasoning_effort", "reasoning", "text", "verbosity", "thinking"),
        *("frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "functions", "function_call", "tools"),
        *(
            "response_format",
            "tool_choice",
            "output_config",
            "requestMetadata",
            "additionalModelRequestFields",
            "labels",
        ),
        *("toolConfig", "outputConfig", "generationConfig", "safety_identifier", "cache_control"),
    )
)
_ENDPOINTS: Mapping[Endpoint, WireFormat] = {
    "chat": "openai-chat",
    "responses": "openai-responses",
    "completions": "openai-completions",
    "embeddings": "openai-embeddings",
    "moderations": "openai-moderations",
    "messages": "anthropic-messages",
    "converse": "bedrock-converse",
    "generate": "vertex-generate",
}


def field_table(wire_format: WireFormat) -> list[FieldWord]:
    """Return a word for each field of an API's request, by name."""
    words = {name: FieldWord(name, own, elsewhere, why) for name, own, elsewhere, why in _READ.get(wire_format, ())}  # type: ignore[arg-type]  # the tables hold the words
    for name, rule in BODY_RULES.get(wire_format, {}).items():
        words.setdefault(name, _word(name, rule))
    return [words[name] for name in sorted(words)]


def _word(name: str, rule: Any) -> FieldWord:
    elsewhere: Elsewhere = "translated" if name in _TRANSLATED else "left out" if name in HINTS else "refused"
    if name in RESERVED_BODY_FIELDS:
        return FieldWord(name, "refused", "refused", "the route decides this")
    match rule:
        case Reach(moves_price=True):
            return FieldWord(name, "paid extra", "refused", _allowed(name, rule))
        case Reach():
            return FieldWord(name, "refused", elsewhere, _allowed(name, rule))
        case OwnTools():
            why = "your own tools; the provider's are paid extra, and need `allow: [tools.…]` of the route"
            return FieldWord(name, "carried", elsewhere, why)
    return FieldWord(name, "carried", elsewhere)


def _allowed(name: str, rule: Reach) -> str:
    free = f", except {', '.join(map(_shown, rule.values))}" if rule.values else ""
    cost = "; its cost is unknown unless the provider reports it" if rule.moves_price else ""
    return f"it {rule.reason}: needs `allow: [{rule.name or name}]` of the route{free}{cost}"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def apis_of(provider: Provider) -> list[WireFormat]:
    """Return the APIs of a provider whose fields are known."""
    found = [_ENDPOINTS[endpoint] for endpoint in provider.endpoints if endpoint in _ENDPOINTS]
    is_openai = any(api.startswith("openai") for api in found[:1])
    return [api for api in found if is_openai or api != "openai-embeddings"]
