"""A resolved recipe: workflows read it, and a job's manifest freezes it.

``recipe_document`` turns the operator's YAML into this.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

from promptmill.domain.budget import BudgetPolicy


class UserPrice(Struct, frozen=True):
    """A price that the operator sets, in USD as decimal text. A call costs the sum of all parts that are set.

    Attributes:
        cache_*: None where the table's own price holds.
        usd_per_request: the price of each call; it covers the first ``covered_output_tokens`` of its answer.
        usd_per_second: the price of compute as the provider counts it, or else of the call's time.
        usd_per_hour: the price of a machine that answers ``calls_at_once`` calls at a time.
    """

    input_usd_per_mtok: str = "0"
    output_usd_per_mtok: str = "0"
    cache_read_usd_per_mtok: str | None = None
    cache_write_usd_per_mtok: str | None = None
    cache_write_1h_usd_per_mtok: str | None = None
    usd_per_request: str = "0"
    covered_output_tokens: int = 0
    usd_per_second: str = "0"
    usd_per_hour: str = "0"
    calls_at_once: int = 1


class Wire(Struct, frozen=True):
    """How an endpoint differs from its provider's row, as the operator says; "" and None leave it at that.

    Attributes:
        max_tokens: the name of the field that limits the answer.
        system: the role in which the system prompt is sent; ``user`` puts it before the first message.
        answer_format: how a JSON schema is asked for: as one, as any JSON object, or not at all.
        stream_usage: whether usage is asked for in a stream by ``stream_options``.
        key_header: the header that carries the key; ``Authorization`` has ``Bearer`` before it.
        turn: the template of a message for APIs that take one text only, with ``{{ role }}`` and ``{{ text }}``.
        reply: the end of such a text, where the model continues.
        names: the model's own names of fields of the request's body, by the names that we use.
    """

    max_tokens: str = ""
    system: Literal["", "system", "developer", "user"] = ""
    answer_format: Literal["", "json_schema", "json_object", "none"] = ""
    stream_usage: bool | None = None
    key_header: str = ""
    turn: str = ""
    reply: str = ""
    names: dict[str, str] = field(default_factory=dict)


Endpoint = Literal[
    "",
    "chat",
    "responses",
    "completions",
    "embeddings",
    "moderations",
    "messages",
    "converse",
    "invoke",
    "generate",
]
"""The API of a provider that a route calls; "" is its first."""


class Route(Struct, frozen=True):
    """A provider, a model and its settings.

    Attributes:
        id: ``provider/model`` as written in the recipe; unique in it; used in tables and logs.
        provider: a name that ``wiring`` knows an adapter for.
        key: the name of the secret in Secrets Manager, "" for none.
        base_url: the address of the endpoint, "" for the provider's own.
        region: the region of an AWS provider, "" for the deployment's own.
        in_flight: the number of calls at once from one worker.
        timeout_s: the limit of one attempt.
        attempts: the tries on this route for one record, the first included.
        body: fields merged into each request body as they are (the operator's, never a line's).
        stream: True if the answer is streamed, which measures its first token and detects a stall.
        stall_s: how long a stream may be silent after its first event.
        api_version: the version of the provider's API, "" for the adapter's own.
        account: the provider's account, project or workspace, where its addresses or headers name one.
        headers: further headers of each call, by their names in lower case.
        header_secrets: the same, with the name of the secret that holds the value.
        allow: fields that lines may set on this route although they reach out: hosted tools, tiers, stored files.
        price_as: the ``provider/model`` whose price in the table holds, "" for the route's own.
    """

    id: str
    provider: str
    model: str
    key: str = ""
    base_url: str = ""
    region: str = ""
    in_flight: int = 100
    timeout_s: float = 120.0
    attempts: int = 6
    price: UserPrice | None = None
    body: dict[str, Any] = field(default_factory=dict)
    endpoint: Endpoint = field(name="dialect", default="")
    stream: bool = False
    stall_s: float = 60.0
    api_version: str = ""
    account: str = ""
    price_as: str = ""
    wire: Wire = Wire()
    allow: tuple[str, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    header_secrets: dict[str, str] = field(default_factory=dict)


RedactionAction = Literal["placeholder", "hash", "mask", "keep", "refuse"]


class OwnPattern(Struct, frozen=True):
    """An operator's own type: what an RE2 pattern (or its first group) matches."""

    name: str
    pattern: str
    score: float = 0.9


class Guardrail(Struct, frozen=True):
    """A Bedrock guardrail: its id or ARN, and a version of it."""

    id: str = ""
    version: str = ""


class RedactionPolicy(Struct, frozen=True):
    """``types`` empty: nothing is redacted, and the recipe says so in words.

    Attributes:
        engines: names of what looks for values; one that is not there fails every record.
        actions: by type, what is done with a value; ``placeholder`` where nothing is said.
        salt: key of the ``hash`` action: the same value has the same placeholder in all records with this salt.
        min_score: finds that are less sure than this are left alone.
        allow: values that may leave, in any case; between slashes, RE2 patterns of whole values.
        skip: fields of JSON documents in which nothing is looked for.
        whole: fields of JSON documents whose texts are replaced as a whole.
        language: of the texts, for the detector comprehend.
        guardrail: for the detector of that name.
    """

    types: tuple[str, ...]
    restore: bool = True
    engines: tuple[str, ...] = ("structured",)
    actions: dict[str, RedactionAction] = field(default_factory=dict)
    salt: str = ""
    min_score: float = 0.4
    patterns: tuple[OwnPattern, ...] = ()
    allow: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    language: Literal["en", "es"] = "en"
    guardrail: Guardrail = Guardrail()


Lane = Literal["live", "batch", "auto"]


class Recipe(Struct, frozen=True):
    """One family of jobs.

    Attributes:
        version: hash of the document, in hex.
        model: whether a line's own model is ignored (``route``) or looked up in ``models`` (``line``).
        models: what a line may ask for → the id of the route that answers it.
        attachments: whether lines may hold images and the like: ``inline`` takes their bytes only, ``pass`` also the
            addresses of public hosts, which the provider fetches.
        prompt: template with ``{{ column }}`` for CSV, ``{{ text }}`` for txt and ``{"id", "prompt"}`` lines; "" for none.
        answer_schema: JSON schema that answers follow where a record brings none of its own.
        unknown_fields: whether a hint that a route's API has no place for is left out, or refuses the record.
        replies: names or URLs of queues that requests may ask their reply on.
        give_up_after_h: hours after which a run ends, whatever is still open.
        lane: how files are answered: by live calls; in the batches of the first route's service; or (``auto``) in those where
            the price of its batches is known to be lower.
        deadline_h: hours after which everything is answered, live where batches took too long.
        overflow: True if a record that the first routes throttle is asked of the next one, instead of waiting.
    """

    name: str
    version: str
    routes: tuple[Route, ...]
    model: Literal["route", "line"] = "route"
    models: dict[str, str] = field(default_factory=dict)
    system: str = ""
    prompt: str = ""
    answer_schema: dict[str, Any] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    redact: RedactionPolicy = RedactionPolicy(types=())
    attachments: Literal["inline", "refuse", "pass"] = "refuse"
    invocation_type: Literal["detect", "converse", "native"] = "detect"
    unknown_fields: Literal["drop", "refuse"] = "drop"
    replies: tuple[str, ...] = ()
    budget: BudgetPolicy = BudgetPolicy()
    give_up_after_h: int = 24
    overflow: bool = False
    lane: Lane = "live"
    deadline_h: int = 24
