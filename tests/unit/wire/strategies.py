"""Requests and completions that hypothesis makes up, within what an API can carry."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

from promptmill.domain.completion import (
    Attachment,
    Completion,
    CompletionRequest,
    FinishReason,
    JsonSchema,
    Message,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)

INTEGERS = st.integers(min_value=1, max_value=2**31)
FRACTIONS = st.floats(min_value=0, max_value=2, allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=2)
FILLED_OBJECTS = st.dictionaries(NAMES, VALUES, min_size=1, max_size=2)
STRICT = st.none() | st.booleans()
SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "max_output_tokens": st.none() | INTEGERS,
    "temperature": st.none() | FRACTIONS,
    "top_p": st.none() | FRACTIONS,
    "stop": st.lists(TEXTS, max_size=3).map(tuple),
}
SAMPLED = {"top_k": st.none() | INTEGERS, "seed": st.none() | INTEGERS}
TOOLS = st.lists(st.builds(Tool, NAMES, TEXTS, FILLED_OBJECTS, STRICT), max_size=2).map(tuple)
SOME_TOOLS = st.lists(st.builds(Tool, NAMES, TEXTS, FILLED_OBJECTS, STRICT), min_size=1, max_size=2).map(tuple)
CHOICES = st.sampled_from([ToolChoice("auto"), ToolChoice("required"), ToolChoice("named", "look_up")])
ANY_CHOICE = st.none() | CHOICES | st.just(ToolChoice("none"))

USER_TEXT = st.builds(Text, TEXTS)
CALLS = st.builds(ToolCall, NAMES, NAMES, OBJECTS)
RESULTS = st.builds(ToolResult, NAMES, TEXTS)
RESULTS_AND_ERRORS = st.builds(ToolResult, NAMES, TEXTS, st.booleans())
IMAGES = st.builds(
    lambda media_type, data: Attachment("image", "", media_type=media_type, data=base64.b64encode(data).decode()),
    st.sampled_from(["image/jpeg", "image/png", "image/gif", "image/webp"]),
    st.binary(min_size=1, max_size=8),
)
LINKS = st.builds(
    lambda scheme, path: Attachment("image", "", url=f"{scheme}://host.example/{path}"),
    st.sampled_from(["http", "https"]),
    NAMES,
)


def parts(*kinds: st.SearchStrategy[Any], at_most: int = 3) -> st.SearchStrategy[tuple[Part, ...]]:
    return st.lists(st.one_of(*kinds), min_size=1, max_size=at_most).map(tuple)


def user(*kinds: st.SearchStrategy[Any], at_most: int = 3) -> st.SearchStrategy[Message]:
    return parts(*kinds, at_most=at_most).map(lambda made: Message("user", made))


def assistant(*kinds: st.SearchStrategy[Any], at_most: int = 3) -> st.SearchStrategy[Message]:
    return parts(*kinds, at_most=at_most).map(lambda made: Message("assistant", made))


def conversations(*kinds: st.SearchStrategy[Message]) -> st.SearchStrategy[tuple[Message, ...]]:
    return st.lists(st.one_of(*kinds), min_size=1, max_size=4).map(tuple)


def requests(
    messages: st.SearchStrategy[Any], **fields: st.SearchStrategy[Any]
) -> st.SearchStrategy[CompletionRequest]:
    return st.builds(CompletionRequest, messages=messages, **fields)


def embeddings(*, at_most: int, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[CompletionRequest]:
    texts = st.lists(USER_TEXT.map(lambda text: Message("user", (text,))), min_size=1, max_size=at_most).map(tuple)
    return requests(texts, kind=st.just("embedding"), dimensions=st.none() | INTEGERS, **fields)


SCHEMAS = st.builds(JsonSchema, OBJECTS)
NAMED_SCHEMAS = st.builds(JsonSchema, OBJECTS, NAMES)
STRICT_SCHEMAS = st.builds(JsonSchema, OBJECTS, NAMES, st.booleans())


@st.composite
def usages(draw: st.DrawFn, *, cached: bool = False, written: bool = False, reasoning: bool = False) -> Usage:
    counts = st.integers(0, 10_000)
    read, write, thought = (draw(counts) if wanted else 0 for wanted in (cached, written, reasoning))
    return Usage(
        input_total=draw(counts) + read + write,
        cache_read=read,
        cache_write=write,
        output_total=draw(counts) + thought,
        reasoning=thought,
    )


def completions(
    usage: st.SearchStrategy[Usage],
    *reasons: FinishReason,
    texts: st.SearchStrategy[str] = TEXTS,
    model: str = "",
    calls: bool = False,
) -> st.SearchStrategy[Completion]:
    return st.builds(
        Completion,
        texts,
        st.sampled_from(reasons),
        usage,
        model=st.just(model),
        tool_calls=st.lists(CALLS, max_size=2).map(tuple) if calls else st.just(()),
    )


def vectors(usage: st.SearchStrategy[Usage], *, at_most: int, model: str = "") -> st.SearchStrategy[Completion]:
    numbers = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4).map(tuple)
    made = st.lists(numbers, min_size=1, max_size=at_most).map(tuple)
    return st.builds(Completion, st.just(""), st.just("stop"), usage, model=st.just(model), embeddings=made)
