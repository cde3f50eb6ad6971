"""A request to a model and its answer, in no provider's format.

File formats read a ``CompletionRequest`` from a job file and write its ``Completion`` to the results; providers do the
opposite. Neither knows the other. What a request holds and an API cannot carry is refused by name
(``RecordError(code="unsupported_field", field=…)``), never dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from promptmill.domain.limits import Telling

Role = Literal["user", "assistant", "system"]
FinishReason = Literal["stop", "length", "tool", "filter", "error", "unknown"]
WireFormat = Literal[
    "openai-chat",
    "openai-responses",
    "openai-completions",
    "openai-embeddings",
    "openai-moderations",
    "anthropic-messages",
    "bedrock-converse",
    "bedrock-invoke",
    "vertex-generate",
    "vertex-embeddings",
    "replicate",
    "nlpcloud",
    "",
]
"""The APIs whose bodies a file format and a provider may share; "" is none."""


class Text(Struct, frozen=True, tag="text"):
    """A text. ``extra`` holds the other fields of its block, such as ``cache_control``, in the request's own API."""

    text: str
    extra: dict[str, Any] = field(default_factory=dict)


class ToolCall(Struct, frozen=True, tag="tool_call"):
    """The model's call of a tool. ``arguments`` is a JSON object; see ``Text`` for ``extra``."""

    id: str
    name: str
    arguments: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)


class Attachment(Struct, frozen=True, tag="attachment"):
    """Something that is not text: an image, a document, audio.

    ``data`` (base64) or ``url`` is set for what any API can carry that takes its kind. Otherwise ``native`` holds the
    block as it came, and only a provider of the same ``wire_format`` carries it. ``where`` is its place in the user's
    line. ``holds_text`` says that the block is words, such as the model's thinking, and is redacted like any.
    """

    kind: str
    where: str
    media_type: str = ""
    data: str = ""
    url: str = ""
    wire_format: WireFormat = ""
    native: dict[str, Any] | None = None
    holds_text: bool = False
    name: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class ToolResult(Struct, frozen=True, tag="tool_result"):
    """A tool's answer, in a user message.

    ``blocks`` is set where it holds more than plain texts; ``text`` is the texts in it all the same. See ``Text`` for
    ``extra``.
    """

    call_id: str
    text: str
    is_error: bool = False
    blocks: tuple[Text | Attachment, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)


Part = Text | ToolCall | ToolResult | Attachment


class Message(Struct, frozen=True):
    """A message. One of the system's stands here only where its place or its blocks matter.

    ``extra`` holds its other fields, such as ``name``, in the request's own API.
    """

    role: Role
    parts: tuple[Part, ...]
    extra: dict[str, Any] = field(default_factory=dict)


class JsonSchema(Struct, frozen=True):
    schema: dict[str, Any]
    name: str = "answer"
    strict: bool = True


class Tool(Struct, frozen=True):
    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool | None = None
    extra: dict[str, Any] = field(default_factory=dict)


class ToolChoice(Struct, frozen=True):
    mode: Literal["auto", "none", "required", "named"]
    name: str = ""


MAX_OUTPUT_TOKENS = 1_000_000
"""More than any model writes. A larger number is a mistake, and would take a limit group's whole allowance for hours."""


class CompletionRequest(Struct, frozen=True, omit_defaults=True):
    """A request to a model. None stands for the provider's default.

    Attributes:
        model: the model that the line named, "" if none. The recipe's routes decide which one answers.
        native: fields of the line that have no place here. A provider of the same ``wire_format`` sends them as they
            are; every other one refuses the record by their name.
        notes: what was changed in reading, for the result line, such as ``stream: true was set to false``.
        kind: ``embedding`` asks for a vector of each message's text; the messages are the user's, one text each.
            ``moderation`` asks for a verdict on each.
        dimensions: the size of those vectors.
        refuse_hints: a field that another API lacks is refused even if it is but a hint, instead of left out.
        columns: what the recipe's prompt took from the line, by column. It tells redaction what the values are, and ends there:
            it is never sent.
    """

    messages: tuple[Message, ...]
    system: str = ""
    model: str = ""
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    json_schema: JsonSchema | None = None
    json_object: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    wire_format: WireFormat = ""
    native: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kind: Literal["completion", "embedding", "moderation"] = "completion"
    dimensions: int | None = None
    refuse_hints: bool = False
    columns: dict[str, str] = field(default_factory=dict)


TOKENS = "list of tokens"
"""The kind of an attachment that is a text as numbers of tokens, which only the model that they belong to can read."""


def tokens_of(attachment: Attachment) -> list[int]:
    """Return the tokens of a text that came as such; [] for any other attachment."""
    if attachment.kind != TOKENS or attachment.native is None:
        return []
    tokens: list[int] = attachment.native["tokens"]
    return tokens


def attachments_of(request: CompletionRequest) -> Iterator[Attachment]:
    """Yield every attachment of a request, those in results of tools as well."""
    for message in request.messages:
        for part in message.parts:
            for block in part.blocks if isinstance(part, ToolResult) else (part,):
                if isinstance(block, Attachment):
                    yield block


class Usage(Struct, frozen=True):
    """Tokens of one call. ``input_total`` includes cache reads and writes, ``output_total`` includes reasoning.

    Attributes:
        cache_write_1h: the part of ``cache_write`` that is kept for an hour, at a higher rate.
        service_tier: the tier that served the call, as the provider calls it; "" where it does not say.
        compute_us: the microseconds that prices by time count: the provider's own, or else how long the call took.
        reported_nano_usd: the cost of the call as the provider reports it, None if it does not.
        input_audio, output_audio, output_image: parts of the input and of the output that have rates of their own.
        hosted: how often tools were called that the provider runs and charges for, by their names.
        place: where the call was served, as far as that moves its price: the provider's own word.
    """

    input_total: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output_total: int = 0
    reasoning: int = 0
    source: Literal["reported", "estimated", "none"] = "reported"
    cache_write_1h: int = 0
    service_tier: str = ""
    compute_us: int = 0
    reported_nano_usd: int | None = None
    input_audio: int = 0
    output_audio: int = 0
    output_image: int = 0
    hosted: dict[str, int] = field(default_factory=dict)
    place: str = ""


class Completion(Struct, frozen=True):
    """The answer of one call.

    Attributes:
        raw: the provider's body as JSON; a file format of the same ``wire_format`` returns it whole.
        request_id: the provider's own id of the call.
        first_token_ms: the time from sending to the first piece of the answer; None where it was not streamed.
        embeddings: the vectors, in the order of the request's messages, for an ``embedding``; ``raw`` is empty then.
        notes: warnings about the answer, for its result line.
        told: reads the limits that the reply tells, for pacing.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    raw_finish: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    model: str = ""
    request_id: str = ""
    wire_format: WireFormat = ""
    raw: dict[str, Any] = field(default_factory=dict)
    first_token_ms: int | None = None
    embeddings: tuple[tuple[float, ...], ...] = ()
    notes: tuple[str, ...] = ()
    told: Telling | None = None

    @property
    def answer_text(self) -> str:
        """Return the text or, where the answer is a vector or several, these as JSON."""
        if not self.embeddings:
            return self.text
        vectors = self.embeddings[0] if len(self.embeddings) == 1 else self.embeddings
        return msgspec.json.encode(vectors).decode()
