"""The shape of a recipe document as pydantic models, with every key that exists."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from promptmill.domain.completion import MAX_OUTPUT_TOKENS
from promptmill.domain.provider_table import RESERVED_BODY_FIELDS
from promptmill.domain.recipe import Endpoint, Lane
from promptmill.recipes import fields
from promptmill.recipes.route_headers import route_headers
from promptmill.redaction import ALL_TYPES

_MAX_TEXT = 100_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _check_in_stage(check: Any) -> AfterValidator:
    """Return a check that depends on the stage, which the caller passes as context."""

    def validate(value: str, info: ValidationInfo) -> str:
        checked: str = check(value, stage=(info.context or {}).get("stage", ""))
        return checked

    return AfterValidator(validate)


def expand_route(value: Any) -> Any:
    """Return a route in its short form, ``- provider/model``, as a map."""
    return {"model": value} if isinstance(value, str) else value


def _body(value: dict[str, Any]) -> dict[str, Any]:
    if ours := sorted(RESERVED_BODY_FIELDS & value.keys()):
        raise ValueError(f"{', '.join(ours)} can't be set here")
    body: dict[str, Any] = fields.plain(value)
    return body


def _names_to_routes(value: Any) -> Any:
    return (
        {name: name for name in value} if isinstance(value, list) and all(isinstance(n, str) for n in value) else value
    )


_Price = Annotated[str, BeforeValidator(fields.price_text)]
_Prompt = Annotated[str, Field(max_length=_MAX_TEXT), AfterValidator(fields.template)]


class PriceDocument(_Strict):
    input_usd_per_mtok: _Price | None = None
    output_usd_per_mtok: _Price | None = None
    cache_read_usd_per_mtok: _Price | None = None
    cache_write_usd_per_mtok: _Price | None = None
    cache_write_1h_usd_per_mtok: _Price | None = None
    usd_per_request: _Price | None = None
    covered_output_tokens: Annotated[int, Field(ge=1, le=MAX_OUTPUT_TOKENS)] | None = None
    usd_per_second: _Price | None = None
    usd_per_hour: _Price | None = None
    calls_at_once: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if fault := fields.price_fault(self.model_dump(exclude_none=True)):
            raise ValueError(fault)
        return self


class WireDocument(_Strict):
    max_tokens: Annotated[str, AfterValidator(fields.field_name)] = ""
    system: Literal["", "system", "developer", "user"] = ""
    answer_format: Literal["", "json_schema", "json_object", "none"] = ""
    stream_usage: bool | None = None
    key_header: Annotated[str, AfterValidator(fields.header_name)] = ""
    turn: Annotated[str, Field(max_length=1000), AfterValidator(fields.template)] = ""
    reply: Annotated[str, Field(max_length=1000)] = ""
    names: Annotated[dict[str, str], AfterValidator(fields.field_names)] = Field(default_factory=dict)


class RouteDocument(_Strict):
    model: Annotated[str, Field(pattern=r"^[a-z0-9_-]+/[!-~]{1,256}$")]
    key: Annotated[str, AfterValidator(fields.secret_name)] = ""
    base_url: Annotated[str, _check_in_stage(fields.address)] = ""
    region: Annotated[str, AfterValidator(fields.region)] = ""
    in_flight: Annotated[int, Field(ge=1, le=1000)] = 100
    timeout: Annotated[float, BeforeValidator(fields.number), Field(ge=1, le=600)] = 120.0
    attempts: Annotated[int, Field(ge=1, le=20)] = 6
    price: PriceDocument | None = None
    body: Annotated[dict[str, Any], AfterValidator(_body)] = Field(default_factory=dict)
    dialect: Endpoint = ""
    stream: bool | None = None
    stall_timeout: Annotated[float, BeforeValidator(fields.number), Field(ge=1, le=600)] = 60.0
    api_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,64}$")] = ""
    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{0,128}$")] = ""
    price_as: Annotated[str, Field(pattern=r"^([a-z0-9_.-]+/[!-~]{1,256})?$")] = ""
    wire: WireDocument = WireDocument()
    headers: Annotated[dict[str, Any], AfterValidator(route_headers)] = Field(default_factory=dict)
    allow: Annotated[list[Annotated[str, AfterValidator(fields.line_field)]], Field(max_length=50)] = Field(
        default_factory=list
    )

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]


class AnswerDocument(_Strict):
    json_schema: Annotated[dict[str, Any], BeforeValidator(fields.answer_schema)]


class BudgetDocument(_Strict):
    per_job_usd: _Price | None = None
    per_day_usd: _Price | None = None
    when_day_spent: Literal["wait", "stop"] = "wait"


_Fields = Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=100)]


_Engine = Literal["structured", "ner", "comprehend", "guardrail"]


def _structured_only() -> list[_Engine]:
    return ["structured"]


class GuardrailDocument(_Strict):
    id: Annotated[
        str,
        Field(max_length=2048, pattern=r"^([a-z0-9]+|arn:aws[a-z-]*:bedrock:[a-z0-9-]+:\d{12}:guardrail/[a-z0-9]+)$"),
    ]
    version: Annotated[str, BeforeValidator(fields.digits_as_text), Field(pattern=r"^([1-9][0-9]{0,7}|DRAFT)$")]


class PatternDocument(_Strict):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,30}[a-z]$"), AfterValidator(fields.own_type)]
    pattern: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(fields.own_pattern)]
    score: Annotated[float, BeforeValidator(fields.number), Field(ge=0, le=1)] = 0.9


class RedactDocument(_Strict):
    types: Annotated[tuple[str, ...], BeforeValidator(fields.redaction_types)] = ALL_TYPES
    restore: bool = True
    engines: Annotated[list[_Engine], Field(min_length=1, max_length=4)] = Field(default_factory=_structured_only)
    actions: dict[str, Literal["placeholder", "hash", "mask", "keep", "refuse"]] = Field(default_factory=dict)
    salt: Annotated[str, Field(max_length=200)] = ""
    min_score: Annotated[float, BeforeValidator(fields.number), Field(ge=0, le=1)] = 0.4
    patterns: Annotated[list[PatternDocument], Field(max_length=50)] = Field(default_factory=list)
    allow: Annotated[list[Annotated[str, AfterValidator(fields.allowed_value)]], Field(max_length=1000)] = Field(
        default_factory=list
    )
    skip: _Fields = Field(default_factory=list)
    whole: _Fields = Field(default_factory=list)
    language: Literal["en", "es"] = "en"
    guardrail: GuardrailDocument | None = None


class RecipeDocument(_Strict):
    routes: Annotated[list[Annotated[RouteDocument, BeforeValidator(expand_route)]], Field(min_length=1, max_length=20)]
    model: Literal["route", "line"] = "route"
    models: Annotated[dict[str, str], BeforeValidator(_names_to_routes)] = Field(default_factory=dict)
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, BeforeValidator(fields.number), Field(ge=0, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool = False
    system: Annotated[str, Field(max_length=_MAX_TEXT)] = ""
    prompt: _Prompt = ""
    answer: AnswerDocument | None = None
    redact: RedactDocument = RedactDocument()
    budget: BudgetDocument = BudgetDocument()
    give_up_after: Annotated[int, BeforeValidator(fields.hours), Field(ge=1, le=14 * 24)] = 24
    overflow: bool = False
    lane: Lane = "live"
    deadline: Annotated[int, BeforeValidator(fields.hours), Field(ge=1, le=14 * 24)] = 24
    attachments: Literal["inline", "refuse", "pass"] = "refuse"
    invocation_type: Literal["detect", "converse", "native"] = "detect"
    unknown_fields: Literal["drop", "refuse"] = "drop"
    replies: Annotated[list[Annotated[str, _check_in_stage(fields.reply_queue)]], Field(max_length=50)] = Field(
        default_factory=list
    )
