"""A synthesised template whose references are resolved to the resources of a test."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SNAPSHOTS = Path(__file__).parents[1] / "infra" / "snapshots"
"""The templates of all stages; tests/infra/test_snapshots.py holds them to what infra synthesises."""
_OTHER_ACCOUNT = "111122223333"
EXISTING_KEY = f"arn:aws:kms:eu-west-1:{_OTHER_ACCOUNT}:key/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
GUARDRAIL = f"arn:aws:bedrock:eu-west-1:{_OTHER_ACCOUNT}:guardrail/gr4a5b6c7d8e"
ONE_MODEL = "arn:aws:bedrock:*::foundation-model/anthropic.claude-haiku-5-5"
"""What the stage ``custom`` names."""
_PLACES = {"AWS::CloudWatch::Alarm": "alarm:", "AWS::Events::Rule": "rule/", "AWS::Lambda::Function": "function:"}


def snapshot(stage: str) -> dict[str, Any]:
    """Return the template of a stage."""
    found: dict[str, Any] = json.loads((SNAPSHOTS / f"{stage}.json").read_text())
    return found


def plain(logical_id: str) -> str:
    """Return a logical id without the hash that the CDK appends."""
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)


class DeployedTemplate:
    """The resources of a template.

    Args:
        names: ARNs by logical id without its hash (``QueuesUploads``), and values of pseudo parameters
            (``AWS::Region``). Other resources get an ARN with a name as CloudFormation would generate it.
    """

    def __init__(self, body: Mapping[str, Any], names: Mapping[str, str]) -> None:
        self._resources: Mapping[str, Any] = body["Resources"]
        self._names = names

    def of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the logical ids and the resolved properties of all resources of a type."""
        for name, resource in self._resources.items():
            if resource["Type"] == kind:
                yield name, self.resolve(resource.get("Properties", {}))

    def arn(self, logical_id: str) -> str:
        """Return the ARN of a resource, or the value of a pseudo parameter."""
        if found := self._names.get(plain(logical_id)):
            return found
        if logical_id not in self._resources:  # a parameter
            return logical_id
        names, properties = self._names, self._resources[logical_id].get("Properties", {})
        if "LogGroupName" in properties:
            name = f"log-group:{self.resolve(properties['LogGroupName'])}"
            return f"arn:{names['AWS::Partition']}:logs:{names['AWS::Region']}:{names['AWS::AccountId']}:{name}"
        kind = self._resources[logical_id]["Type"]
        service, place = (
            kind.split("::")[1].lower(),
            f"{_PLACES.get(kind, '')}{names['AWS::StackName']}-{plain(logical_id)}-0A1B2C",
        )
        return f"arn:{names['AWS::Partition']}:{service}:{names['AWS::Region']}:{names['AWS::AccountId']}:{place}"

    def resolve(self, value: Any) -> Any:
        """Return a value with its references resolved."""
        match value:
            case {"Ref": name}:
                return self.arn(name)
            case {"Fn::GetAtt": [name, *_]}:
                is_log = ":log-group:" in self.arn(name)  # only the attribute ends in a wildcard for streams
                return self.arn(name) + (":*" if is_log else "")
            case {"Fn::Join": [separator, parts]}:
                return separator.join(str(self.resolve(part)) for part in parts)
            case dict():
                return {key: self.resolve(item) for key, item in value.items()}
            case list():
                return [self.resolve(item) for item in value]
        return value
