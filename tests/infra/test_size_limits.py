"""A stage with as many recipe queues as it may have still fits into what CloudFormation and IAM allow."""

from __future__ import annotations

import json
import re
from pathlib import Path

from msgspec.structs import replace

from infra.stages import MAX_RECIPE_QUEUES, PROD
from tests.iam.template import DeployedTemplate
from tests.infra.templates import ACCOUNT, synthesise_values

# CloudFormation's and IAM's quotas, read on 2026-11-28 in their user guides.
MAX_RESOURCES, MAX_OUTPUTS, MAX_TEMPLATE_BYTES = 500, 200, 1_000_000
MAX_ROLE_POLICY, MAX_MANAGED_POLICY = 10_240, 6_144


def test_the_most_recipe_queues_fit_into_a_stack_and_its_policies(tmp_path: Path) -> None:
    recipes = tuple(f"a-team-with-a-long-name-{number:02}" for number in range(MAX_RECIPE_QUEUES))
    values = replace(PROD, name="search4711", recipe_queues=recipes, recipe_policies=recipes)
    body = synthesise_values(values, tmp_path).body
    assert len(body["Resources"]) <= MAX_RESOURCES
    assert len(body["Outputs"]) <= MAX_OUTPUTS
    assert len(json.dumps(body)) <= MAX_TEMPLATE_BYTES
    names = {"AWS::Partition": "aws-us-gov", "AWS::Region": "us-gov-west-1", "AWS::AccountId": ACCOUNT}
    template = DeployedTemplate(body, {**names, "AWS::StackName": values.stack_name, "AWS::URLSuffix": "amazonaws.com"})
    for kind, most in (("AWS::IAM::Policy", MAX_ROLE_POLICY), ("AWS::IAM::ManagedPolicy", MAX_MANAGED_POLICY)):
        for name, policy in template.of_type(kind):
            written = re.sub(r"\s", "", json.dumps(policy["PolicyDocument"]))
            assert len(written) <= most, name
