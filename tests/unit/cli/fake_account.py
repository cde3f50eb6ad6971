"""An account as ``promptmill doctor`` asks it, in the shapes that AWS answers in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class FakePages:
    """A paginator of botocore."""

    def __init__(self, pages: Callable[[], list[dict[str, Any]]]) -> None:
        self._pages = pages

    def paginate(self, **asked: str) -> list[dict[str, Any]]:
        assert asked in ({}, {"ServiceCode": "bedrock"})
        return self._pages()


def quota_pages(quotas: dict[str, float]) -> list[dict[str, Any]]:
    """Return a page for each quota."""
    return [{"Quotas": [{"QuotaName": name, "Value": value}]} for name, value in quotas.items()]


class FakeAccount:
    """All services in one. ``denied`` holds the operations that the caller may not use; change the others by hand."""

    def __init__(self) -> None:
        self.concurrent = 1000
        self.state, self.decision, self.agreement = "Enabled", "allowed", "AVAILABLE"
        self.reserved = 0
        self.secret_key = ""
        self.default_quotas, self.quotas = dict[str, float](), dict[str, float]()
        self.simulated: list[dict[str, Any]] = []

    def get_account_settings(self) -> dict[str, Any]:
        free = self.concurrent - self.reserved
        return {"AccountLimit": {"ConcurrentExecutions": self.concurrent, "UnreservedConcurrentExecutions": free}}

    def get_paginator(self, operation: str) -> FakePages:
        pages = {
            "list_event_source_mappings": self.event_source_mappings,
            "list_aws_default_service_quotas": lambda: quota_pages(self.default_quotas),
            "list_service_quotas": lambda: quota_pages(self.quotas),
        }
        return FakePages(pages[operation])

    def event_source_mappings(self) -> list[dict[str, Any]]:
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
        arn = f"arn:aws:secretsmanager:eu-central-1:123456789012:secret:{asked['SecretId']}-AbCdEf"
        return {"ARN": arn} | ({"KmsKeyId": self.secret_key} if self.secret_key else {})

    def get_function_configuration(self, **_: str) -> dict[str, Any]:
        return {"Role": "arn:aws:iam::123456789012:role/run-chunk"}

    def simulate_principal_policy(self, **asked: Any) -> dict[str, Any]:
        self.simulated.append(asked)
        if "kms:Decrypt" in asked["ActionNames"] and self.decision == "no key":
            return {"EvaluationResults": [{"EvalDecision": "implicitDeny"}]}
        if self.decision == "no key":
            return {"EvaluationResults": [{"EvalDecision": "allowed"}]}
        return {"EvaluationResults": [{"EvalDecision": self.decision}]}
