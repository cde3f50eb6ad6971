"""A recipe, resolved: what the workflows read, and what a job's manifest freezes.

``recipe_document`` turns the operator's YAML into this.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field


class UserPrice(Struct, frozen=True):
    """Set by the operator, USD per million tokens as decimal text; None where the table's own price holds."""

    input_usd_per_mtok: str
    output_usd_per_mtok: str
    cache_read_usd_per_mtok: str | None = None
    cache_write_usd_per_mtok: str | None = None


class Route(Struct, frozen=True):
    """A provider, a model and its settings.

    Attributes:
        id: ``provider/model`` as written in the recipe; unique in it; used in tables and logs.
        provider: a name that ``wiring`` knows an adapter for.
        key: name of the secret in Secrets Manager, "" for none.
        base_url: "" for the provider's own.
        region: for AWS providers, "" for the deployment's own.
        in_flight: calls at once from one worker.
        timeout_s: of one attempt.
        attempts: tries on this route for one record, the first included.
        body: fields merged into each request body as they are (operator's own, never a line's).
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


class RedactionPolicy(Struct, frozen=True):
    """``types`` empty: nothing is redacted, and the recipe says so in words."""

    types: tuple[str, ...]
    restore: bool = True


class Recipe(Struct, frozen=True):
    """One family of jobs.

    Attributes:
        version: hash of the document, in hex.
        model: whether a line's own model is ignored (``route``) or looked up in ``models`` (``line``).
        models: what a line may ask for → the id of the route that answers it.
        prompt: template with ``{{ column }}`` for CSV, ``{{ text }}`` for txt and ``{"id", "prompt"}`` lines; "" for none.
        answer_schema: JSON schema that answers follow where a record brings none of its own.
        replies: names or URLs of queues that requests may ask their reply on.
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
    attachments: Literal["refuse", "pass"] = "refuse"
    invocation_type: Literal["detect", "converse", "native"] = "detect"
    replies: tuple[str, ...] = ()
