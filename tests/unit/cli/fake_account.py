"""An account as ``promptmill doctor`` asks it, in the shapes that AWS answers in."""

from __future__ import annotations

from typing import Any


class FakeAccount:
    """All services in one. ``denied`` holds the operations that the caller may not use; change the others by hand."""

    def __init__(self) -> None:
        self.concurrent = 1000
        self.state, self.decision, self.agreement = "Enabled", "allowed", "AVAILABLE"

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"ConcurrentExecutions": self.concurrent}}

    def get_paginator(self, operation: str) -> FakeAccount:
        assert operation == "list_event_source_mappings"
        return self

    def paginate(self) -> list[dict[str, Any]]:
        function = "arn:aws:lambda:eu-central-1:123456789012:function:promptmill-dev-run-chunk"
        queue = "arn:aws:sqs:eu-central-1:123456789012:promptmill-dev-chunks"
        mapping = {"EventSourceArn": queue, "State": self.state, "ScalingConfig": {"MaximumConcurrency": 20}}
        other = {"EventSourceArn": "x:other", "FunctionArn": "x:function:other", "State": "Disabled"}
        return [{"EventSourceMappings": [mapping | {"FunctionArn": function}]}, {"EventSourceMappings": [other]}]

    def get_foundation_model_availability(self, *, modelId: str) -> dict[str, Any]:  # noqa: N803  as AWS spells it
        return {
            "modelId": modelId,
            "agreementAvailability": {"status": self.agreement},
            "authorizationStatus": "AUTHORIZED",
            "entitlementAvailability": "AVAILABLE",
            "regionAvailability": "AVAILABLE",
        }

    def describe_secret(self, **asked: str) -> dict[str, Any]:
        return {"ARN": f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{asked['SecretId']}-AbCdEf"}

    def get_function_configuration(self, **_: str) -> dict[str, Any]:
        return {"Role": "arn:aws:iam::123456789012:role/run-chunk"}

    def simulate_principal_policy(self, **_: object) -> dict[str, Any]:
        return {"EvaluationResults": [{"EvalDecision": self.decision}]}
