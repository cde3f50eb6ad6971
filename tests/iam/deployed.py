"""The policies of a synthesised template, with their references resolved to the resources of a test."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.iam.policies import Request, Statement, is_allowed, read_statements

SNAPSHOT = Path(__file__).parents[1] / "infra" / "snapshots" / "dev.json"
"""The template of the stage dev; tests/infra/test_snapshots.py holds it to what infra synthesises."""


def plain(logical_id: str) -> str:
    """Return a logical id without the hash that the CDK appends."""
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)


class DeployedPolicies:
    """What each function's role may do.

    Args:
        names: ARNs by logical id without its hash (``QueuesUploads``), and values of pseudo parameters (``AWS::Region``).
    """

    def __init__(self, template: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._resources, self._names = template["Resources"], names
        self.roles = self._read_roles()
        self.resource_policies = self._read_resource_policies()
        self.account_root = f"arn:{names['AWS::Partition']}:iam::{names['AWS::AccountId']}:root"

    def allow(self, function: str, request: Request) -> bool:
        """Return True if the function's role may make the request. A key's policy must let the account decide."""
        if request.action.startswith("kms:") and not self._account_decides(request):
            return False
        resource = [s for s in self.resource_policies if not self._names_account_only(s)]
        return is_allowed(request, f"role/{function}", identity=self.roles[function], resource=resource)

    def _account_decides(self, request: Request) -> bool:
        return is_allowed(request, self.account_root, identity=(), resource=self.resource_policies)

    def _names_account_only(self, statement: Statement) -> bool:
        return statement.principals is not None and all(p.endswith(":root") for p in statement.principals)

    def _read_roles(self) -> dict[str, list[Statement]]:
        functions = {
            r["Properties"]["Role"]["Fn::GetAtt"][0]: r["Properties"]["Environment"]["Variables"][
                "POWERTOOLS_SERVICE_NAME"
            ]
            for r in self._of_type("AWS::Lambda::Function")
        }
        roles: dict[str, list[Statement]] = {name: [] for name in functions.values()}
        for policy in self._of_type("AWS::IAM::Policy"):
            for role in policy["Properties"]["Roles"]:
                if role["Ref"] in functions:
                    roles[functions[role["Ref"]]] += read_statements(
                        self._resolve(policy["Properties"]["PolicyDocument"])
                    )
        return roles

    def _read_resource_policies(self) -> list[Statement]:
        kinds = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy")
        documents = [r["Properties"]["PolicyDocument"] for kind in kinds for r in self._of_type(kind)]
        found = [s for document in documents for s in read_statements(self._resolve(document))]
        for name, resource in self._resources.items():
            if resource["Type"] == "AWS::KMS::Key":
                key = self._names[plain(name)]
                policy = self._resolve(resource["Properties"]["KeyPolicy"])
                policy["Statement"] = [{**s, "Resource": key} for s in policy["Statement"]]
                found += read_statements(policy)
        return found

    def _of_type(self, kind: str) -> list[dict[str, Any]]:
        return [r for r in self._resources.values() if r["Type"] == kind]

    def _resolve(self, value: Any) -> Any:
        match value:
            case {"Ref": name}:
                return self._names[plain(name)]
            case {"Fn::GetAtt": [name, "Arn"]}:
                return self._names[plain(name)]
            case {"Fn::Join": [separator, parts]}:
                return separator.join(self._resolve(part) for part in parts)
            case dict():
                return {key: self._resolve(item) for key, item in value.items()}
            case list():
                return [self._resolve(item) for item in value]
        return value


def dev_template() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SNAPSHOT.read_text())
    return found
