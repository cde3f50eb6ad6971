"""The values that differ between stages. Edit them here, or give ``-c name=value`` to override one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_network
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from promptmill.domain.errors import SettingsError
from promptmill.settings import DEAD_LETTERS, STAGES, Settings, Stage, deployment_name, stack_name

LAMBDA_PYTHON = "3.13"
MAX_QUEUE_NAME = 80
MAX_RECIPE_QUEUES = 20
"""So that a stack stays below 500 resources, and its policies below what IAM allows."""

MegaBytes = Annotated[int, Meta(ge=128, le=10_240)]
Workers = Annotated[int, Meta(ge=2, le=1_000)]
KeyArn = Annotated[str, Meta(pattern=r"^(arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/(mrk-[0-9a-f]{32}|[0-9a-f-]{36}))?$")]
PolicyArn = Annotated[str, Meta(pattern=r"^(arn:[a-z-]+:iam::(\d{12}|aws):policy/\S+)?$")]
RetentionDays = Annotated[int, Meta(ge=0, le=3650)]
NonEmpty = Annotated[str, Meta(min_length=1)]
SubnetId = Annotated[str, Meta(pattern=r"^subnet-[0-9a-f]{8,17}$")]
SecurityGroupId = Annotated[str, Meta(pattern=r"^sg-[0-9a-f]{8,17}$")]
Usd = Annotated[str, Meta(pattern=r"^(\d{1,9}(\.\d{1,9})?)?$")]
Moment = Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(Z|[+-]\d{2}:\d{2}))?$")]
ArnPattern = Annotated[str, Meta(pattern=r"^arn:\S+$")]
RecipeName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
GuardrailArn = Annotated[str, Meta(pattern=r"^arn:[a-z-]+:bedrock:[a-z0-9-]+:\d{12}:guardrail/([a-z0-9]+|\*)$")]
RETENTIONS = {
    1: "ONE_DAY",
    7: "ONE_WEEK",
    14: "TWO_WEEKS",
    30: "ONE_MONTH",
    90: "THREE_MONTHS",
    180: "SIX_MONTHS",
    365: "ONE_YEAR",
    1827: "FIVE_YEARS",
}


def _check_private(block: str) -> None:
    """Raise ValueError for what is no block, or one with public addresses, which may be called anyway."""
    network = ip_network(block)
    if not network.is_private:
        raise ValueError(f"private_ranges: {block} is not private")


def _check_differ(name: str, recipes: Sequence[str]) -> None:
    """Raise ValueError if two names would be one in the names of outputs, which hold letters and digits only."""
    if len({re.sub(r"[_-]", "", recipe).lower() for recipe in recipes}) < len(recipes):
        raise ValueError(f"{name}: two names are the same but for hyphens, underscores or case")


def _check_queue_name(stack: str, recipe: str) -> None:
    if recipe.startswith("replies"):  # names of reply queues begin so, and replies may go to all of these
        raise ValueError(f"recipe_queues: {recipe} begins as the names of reply queues do")
    if len(name := f"{stack}-{recipe}-requests{DEAD_LETTERS}") > MAX_QUEUE_NAME:
        raise ValueError(f"recipe_queues: the queue {name} would have a longer name than SQS allows ({MAX_QUEUE_NAME})")


class StageValues(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The values of one deployment.

    Attributes:
        name: tells several stacks of one stage in an account and region apart; "" for the only one. Its letters have no
            hyphen, so that no pattern for the resources of one stack fits another's, and they are few, since CloudFormation
            cuts the generated name of a bucket short.
        bucket: name of an existing bucket, versioned, encrypted with ``key``, in this account and region; "" makes one.
            Its owner merges the output ``NotificationToAdd`` into its notifications after the first deployment.
        key: ARN of an existing KMS key; "" makes one. Its policy needs the statements of the output ``KeyPolicyToAdd``
            before the first deployment: ``make synth`` writes them.
        bootstrap_qualifier: of the CDK bootstrap, "" for CDK's own.
        alarm_email: gets every alarm and every ended job; "" for nobody.
        keep_data: bucket, tables and key outlive the stack.
        protect_data: the stack and the tables refuse to be deleted, the tables can be restored to any second of the last
            35 days, and the logs outlive the stack.
        *_retention_days: how long objects are kept, 0 for ever: what was dropped, results, answers to requests, bodies that
            requests point to, and versions that were replaced or deleted. See docs/deploy.md.
        chunk_workers, request_workers: most invocations at once; each holds up to ``Settings.in_flight`` calls.
        *_mb: memory, which also decides the share of a CPU: 1,769 MB is one. See ``constructs/functions.py``.
        max_receives: crashes before a message becomes a dead letter. Throttled invocations count as well,
            so a new account (10 at once in all) needs patience here.
        day_cap_usd: what the whole deployment may spend in a day (UTC), whatever recipes allow; "" for no limit. Under
            it, jobs of recipes with a route whose price is unknown are rejected.
        max_records, max_unpacked_gb: the most that one file may hold; larger ones are rejected.
        max_expansion: the most bytes that one byte of gzip may become, in files of more than 64 MiB.
        planning_minutes: the longest that reading and cutting one file may take; Lambda ends it after 15.
        planners_per_recipe: the most large files of one recipe that are planned at once, of 5 in all.
        secret_prefix: names of the secrets that functions may read, and recipes may name, start with it; "" for
            ``promptmill/<deployment>/``, which no other deployment of the account has.
        models: ARNs of what Bedrock and Claude Platform on AWS may be asked for; empty for every foundation model,
            inference profile and workspace.
        ner: recipes may ask for the detector that finds names and addresses by a model of its own: one more layer, and a
            whole CPU (``NER_MB``) for the functions that redact.
        comprehend: recipes may ask for Amazon Comprehend's search for personal data, which is paid for by the text.
        guardrails: ARNs of the Bedrock guardrails that recipes may have texts searched by; likewise paid for.
        reply_queues: ARNs of queues that replies may go to besides the stack's own.
        recipe_policies: recipes that get managed policies of their own (inbox writer, recipe operator, result reader),
            besides those for all recipes. Their names differ by letters and digits.
        subnets, security_groups: where the functions that call models stand, for models in a private network; none
            for Lambda's own. From there they must reach S3, SQS, DynamoDB, Secrets Manager, KMS and X-Ray: by NAT or
            endpoints.
        private_ranges: CIDR blocks of private addresses that routes may call. With interface endpoints for Bedrock
            or Secrets Manager, theirs are among them.
        shared_bodies_until: requests published before this moment may name a body anywhere under ``requests/``, as all
            could until each recipe got a folder there; "" for the moment of that change. A later one gives publishers time.
        recipe_queues: recipes that get a requests queue of their own, which takes requests for nothing else, while the
            common queue refuses theirs. Each queue has up to ``request_workers`` invocations of its own.
        common_queue_until: requests published to the common queue before this moment are answered for these recipes as
            well, so that publishers have time to move; "" refuses even what waits there at the deployment.
    """

    stage: Stage
    name: Annotated[str, Meta(pattern=r"^([a-z][a-z0-9]{0,9})?$")] = ""
    bucket: Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")] = ""
    key: KeyArn = ""
    permissions_boundary: PolicyArn = ""
    bootstrap_qualifier: Annotated[str, Meta(pattern=r"^[a-z0-9]{0,10}$")] = ""
    tags: dict[NonEmpty, NonEmpty] = {}
    alarm_email: Annotated[str, Meta(pattern=r"^(\S+@\S+)?$")] = ""
    log_retention_days: int = 30
    work_retention_days: Annotated[int, Meta(ge=14, le=365)] = 30
    inbox_retention_days: RetentionDays = 0
    results_retention_days: RetentionDays = 0
    answers_retention_days: RetentionDays = 0
    requests_retention_days: RetentionDays = 0
    old_versions_retention_days: Annotated[int, Meta(ge=14, le=3650)] = 90
    keep_data: bool = True
    protect_data: bool = False
    chunk_workers: Workers = 5
    request_workers: Workers = 5
    plan_job_mb: MegaBytes = 1769
    run_chunk_mb: MegaBytes = 512
    run_requests_mb: MegaBytes = 512
    finish_job_mb: MegaBytes = 1769
    settle_dead_letter_mb: MegaBytes = 512
    sweep_mb: MegaBytes = 256
    max_receives: Annotated[int, Meta(ge=3, le=5)] = 5
    lease_s: Annotated[int, Meta(ge=10, le=900)] = 120
    sweep_minutes: Annotated[int, Meta(ge=1, le=5)] = 2
    day_cap_usd: Usd = ""
    max_records: Annotated[int, Meta(ge=1, le=100_000_000)] = 10_000_000
    max_unpacked_gb: Annotated[int, Meta(ge=1, le=1_000)] = 50
    max_expansion: Annotated[int, Meta(ge=10, le=1_100)] = 200
    planning_minutes: Annotated[int, Meta(ge=1, le=13)] = 10
    planners_per_recipe: Annotated[int, Meta(ge=1, le=5)] = 3
    secret_prefix: Annotated[str, Meta(pattern=r"^[\w/+=.@-]*$")] = ""
    models: tuple[ArnPattern, ...] = ()
    ner: bool = False
    comprehend: bool = False
    guardrails: tuple[GuardrailArn, ...] = ()
    reply_queues: tuple[ArnPattern, ...] = ()
    recipe_policies: tuple[RecipeName, ...] = ()
    subnets: tuple[SubnetId, ...] = ()
    security_groups: tuple[SecurityGroupId, ...] = ()
    private_ranges: tuple[str, ...] = ()
    shared_bodies_until: Moment = ""
    recipe_queues: Annotated[tuple[RecipeName, ...], Meta(max_length=MAX_RECIPE_QUEUES)] = ()
    common_queue_until: Moment = ""

    def __post_init__(self) -> None:
        if bool(self.subnets) != bool(self.security_groups):
            raise ValueError("subnets and security_groups go together")
        if self.name in STAGES:
            raise ValueError(f"name: {self.name} is the name of a stage")
        if self.stage == "local" and (self.comprehend or self.guardrails):
            raise ValueError("comprehend, guardrails: the local stage calls no real account")
        for block in self.private_ranges:
            _check_private(block)
        _check_differ("recipe_policies", self.recipe_policies)
        _check_differ("recipe_queues", self.recipe_queues)
        for recipe in self.recipe_queues:
            _check_queue_name(self.stack_name, recipe)
        if self.log_retention_days not in RETENTIONS:
            raise ValueError(f"log_retention_days must be one of {', '.join(map(str, RETENTIONS))} days")

    @property
    def stack_name(self) -> str:
        """The name that the CLI finds a deployment by. The names of all resources begin with it."""
        return stack_name(self.stage, self.name)

    @property
    def deployment(self) -> str:
        """The name that tells this deployment from others in the account: ``dev``, or ``search-dev``."""
        return deployment_name(self.stage, self.name)

    @property
    def secrets_begin_with(self) -> str:
        """What the names of this deployment's secrets begin with."""
        return self.secret_prefix or f"promptmill/{self.deployment}/"

    @property
    def engines(self) -> tuple[str, ...]:
        """The detectors that are deployed, beside the patterns that are always there."""
        offered = {"ner": self.ner, "comprehend": self.comprehend, "guardrail": bool(self.guardrails)}
        return tuple(name for name, there in offered.items() if there)


NER_MB = 1769
"""The memory of a whole CPU: the model needs 120 MB, and reads some 10 KB of text a second."""

LOCAL = StageValues(
    stage="local",
    log_retention_days=1,
    keep_data=False,
    chunk_workers=2,
    request_workers=2,
    max_receives=3,
    lease_s=10,
    sweep_minutes=1,
)
DEV = StageValues(stage="dev", day_cap_usd="10")
PROD = StageValues(
    stage="prod",
    log_retention_days=90,
    protect_data=True,
    chunk_workers=20,
    request_workers=20,
    sweep_minutes=1,
    day_cap_usd="200",
)


def stage_values(stage: str | None, overrides: Mapping[str, object] | None = None) -> StageValues:
    """Return the values of a stage. Maps are written ``tags=team=search,cost=42``; lists are separated by commas.

    Raises:
        SettingsError: no such stage, an unknown name or a value that does not fit; names the nearest.
    """
    for values in (LOCAL, DEV, PROD):
        if values.stage == stage:
            return _overridden(values, overrides or {})
    raise SettingsError(
        f"no stage {stage!r}" if stage else "no stage was named",
        code="unknown_stage",
        remedy=f"add -c stage=…, one of {', '.join(STAGES)}",
    )


def given_pairs(stage: str, pairs: Iterable[str]) -> dict[str, object]:
    """Return overrides as a command gives them: ``name=value``."""
    overrides = dict[str, object]()
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError(f"{pair!r} is not name=value", code="value_malformed", where=stage)
        overrides[name] = value
    return overrides


def _overridden(values: StageValues, overrides: Mapping[str, object]) -> StageValues:
    known = [f.name for f in msgspec.structs.fields(StageValues) if f.name != "stage"]
    for name in overrides:
        if name not in known:
            near = get_close_matches(name, known, n=3) or known
            raise SettingsError(
                f"there is no stage value {name!r}",
                code="unknown_value",
                where=values.stage,
                remedy=f"did you mean {', '.join(near)}?",
            )
    plain: dict[str, Any] = msgspec.structs.asdict(values) | {k: _parsed(k, v) for k, v in overrides.items()}
    try:
        return msgspec.convert(plain, StageValues, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(str(error), code="value_malformed", where=values.stage) from error


def _parsed(name: str, value: object) -> object:
    """Parse a value: ``-c`` gives strings only, while cdk.json may hold lists and maps."""
    if not isinstance(value, str):
        return value
    if name == "tags":
        return dict(_pair(part) for part in value.split(",") if part)
    if name in (
        "models",
        "guardrails",
        "reply_queues",
        "recipe_policies",
        "recipe_queues",
        "subnets",
        "security_groups",
        "private_ranges",
    ):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip()


__all__ = [
    "DEV",
    "LAMBDA_PYTHON",
    "LOCAL",
    "NER_MB",
    "PROD",
    "Settings",
    "StageValues",
    "given_pairs",
    "stage_values",
]
