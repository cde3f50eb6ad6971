"""Templates of four stages, synthesised once a session, and what the tests ask of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aws_cdk as cdk
import msgspec
from aws_cdk.assertions import Template

from infra.app import add_stack, cdk_context
from infra.assets import Assets
from infra.stages import DEV, LOCAL, PROD, StageValues
from tests.iam.template import EXISTING_KEY, GUARDRAIL, ONE_MODEL, plain

ACCOUNT = "111122223333"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/boundary"
FOREIGN_QUEUE = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:answers"

STAGES: dict[str, StageValues] = {
    "local": LOCAL,
    "dev": DEV,
    "prod": PROD,
    "custom": msgspec.structs.replace(
        PROD,
        bucket="team-data",
        key=EXISTING_KEY,
        permissions_boundary=BOUNDARY,
        bootstrap_qualifier="team1",
        tags={"team": "search"},
        alarm_email="ops@example.com",
        reply_queues=(FOREIGN_QUEUE,),
        models=(ONE_MODEL,),
        recipe_policies=("reviews", "claims-eu"),
        recipe_queues=("claims-eu",),
        secret_prefix="team/llm/",
        subnets=("subnet-0a1b2c3d", "subnet-4e5f6a7b"),
        security_groups=("sg-0a1b2c3d",),
        private_ranges=("10.0.0.0/16", "fd12:3456::/32"),
        ner=True,
        comprehend=True,
        guardrails=(GUARDRAIL,),
    ),
}


@dataclass(frozen=True)
class StageTemplate:
    """The JSON that CloudFormation gets."""

    body: dict[str, Any]
    values: StageValues = field(repr=False)

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """Properties by logical id without its hash: ``QueuesUploads``."""
        return {name: resource.get("Properties", {}) for name, resource in self.resources(kind)}

    def resources(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, resource in self.body["Resources"].items():
            if resource["Type"] == kind:
                yield plain(name), resource

    def only(self, kind: str) -> dict[str, Any]:
        (found,) = self.of_type(kind).values()
        return found

    def functions(self) -> dict[str, dict[str, Any]]:
        """Properties by the name of the folder: ``plan_job``."""
        found = self.of_type("AWS::Lambda::Function").values()
        return {p["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]: p for p in found}


def synthesise(stage: str, folder: Path) -> StageTemplate:
    return synthesise_values(STAGES[stage], folder)


def synthesise_values(values: StageValues, folder: Path) -> StageTemplate:
    app = cdk.App(outdir=str(folder / "out"), context=cdk_context(), analytics_reporting=False)
    stack = add_stack(app, values, fake_assets(folder, arm=values.stage != "local"))
    return StageTemplate(dict(Template.from_stack(stack).to_json()), values)


def fake_assets(folder: Path, *, arm: bool = True) -> Assets:
    """Put something in place of the layers: their content is no business of the template's."""
    for layer in ("core", "dependencies", "tables", "ner"):
        (folder / layer).mkdir(exist_ok=True)
        (folder / layer / "README").write_text(layer)
    return Assets(**{n: str(folder / n) for n in ("core", "dependencies", "tables", "ner")}, arm=arm)


def text(value: Any) -> str:
    """A value with its references in angle brackets: ``<StorageBucket>/inbox/*``."""
    match value:
        case str():
            return value
        case {"Ref": name}:
            return f"<{plain(name).removeprefix('AWS::')}>"
        case {"Fn::GetAtt": [name, *_]}:
            return f"<{plain(name)}>"
        case {"Fn::Join": [separator, parts]}:
            return cast("str", separator).join(text(part) for part in parts)
    raise AssertionError(f"not a string: {value}")


def listed(value: Any) -> list[str]:
    """IAM writes a list of one as a string."""
    return [text(v) for v in value] if isinstance(value, list) else [text(value)]


def dashboard_body(template: StageTemplate) -> dict[str, Any]:
    """Return the body of the dashboard, with the names of resources in angle brackets."""
    found: dict[str, Any] = json.loads(text(template.only("AWS::CloudWatch::Dashboard")["DashboardBody"]))
    return found
