"""Who may do what in a deployed template: functions' roles, managed policies, and the policies of resources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tests.iam.policies import Request, Statement, is_allowed, read_statements
from tests.iam.template import DeployedTemplate, plain

_RESOURCE_POLICIES = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")


class Grant(Struct, frozen=True):
    """The smallest part of a policy: one action on one resource, in one statement.

    ``holder`` is a function or, in the policy of a resource, the principal that the statement names.
    """

    holder: str
    action: str
    resource: str
    statement: Statement

    def __str__(self) -> str:
        return f"{self.holder}: {self.action} on {self.resource}"


class DeployedPolicies:
    """The policies of a template.

    Attributes:
        identities: statements by the name of a function (``run_chunk``) or of a managed policy (``Operator``).
        resource_policies: statements of buckets, queues, topics, functions and keys.
    """

    def __init__(self, template: DeployedTemplate) -> None:
        self.template = template
        account = template.resolve({"Ref": "AWS::AccountId"})
        self.root = f"arn:{template.resolve({'Ref': 'AWS::Partition'})}:iam::{account}:root"
        self.functions = dict(self._read_roles())
        self.managed = dict(self._read_managed())
        self.identities: dict[str, list[Statement]] = self.functions | self.managed
        self.resource_policies = list(self._read_resource_policies())

    def allow(self, holder: str, request: Request, *, identity: Sequence[Statement] | None = None) -> bool:
        """Return True if a function's role, or whoever has a managed policy, may make the request.

        Args:
            identity: statements instead of the holder's own.
        """
        if request.action.startswith("kms:") and not self._account_decides(request):
            return False
        own = self.identities[holder] if identity is None else identity
        resource = [s for s in self.resource_policies if not self._names_account_only(s)]
        return is_allowed(request, f"role/{holder}", identity=own, resource=resource)

    def allow_service(self, principal: str, request: Request, *, without: Statement | None = None) -> bool:
        """Return True if an AWS service may make the request by the policies of resources."""
        resource = [s for s in self.resource_policies if s is not without]
        return is_allowed(request, principal, identity=(), resource=resource)

    def grants(self) -> Iterator[Grant]:
        """Yield every grant of the functions' roles, and every one that a resource gives to a service."""
        for function, statements in self.functions.items():
            yield from (grant for statement in statements for grant in _split(function, statement))
        for statement in self.resource_policies:
            if statement.effect == "Allow" and not self._names_account_only(statement):
                for principal in statement.principals or ():
                    yield from _split(principal, replace(statement, principals=(principal,)))

    def without(self, grant: Grant) -> list[Statement]:
        """Return the statements of a function without one of its grants."""
        taken = grant.statement
        others = [s for s in self.functions[grant.holder] if s is not taken]
        actions = tuple(a for a in taken.actions if a != grant.action)
        resources = tuple(r for r in taken.resources if r != grant.resource)
        return [*others, replace(taken, actions=actions), replace(taken, actions=(grant.action,), resources=resources)]

    def _account_decides(self, request: Request) -> bool:
        return is_allowed(request, self.root, identity=(), resource=self.resource_policies)

    def _names_account_only(self, statement: Statement) -> bool:
        return statement.principals is not None and all(p.endswith(":root") for p in statement.principals)

    def _read_roles(self) -> Iterator[tuple[str, list[Statement]]]:
        roles: dict[str, list[Statement]] = {}
        for _, policy in self.template.of_type("AWS::IAM::Policy"):
            for role in policy["Roles"]:
                roles.setdefault(role, []).extend(read_statements(policy["PolicyDocument"]))
        for _, function in self.template.of_type("AWS::Lambda::Function"):
            yield function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"], roles[function["Role"]]

    def _read_managed(self) -> Iterator[tuple[str, list[Statement]]]:
        for name, policy in self.template.of_type("AWS::IAM::ManagedPolicy"):
            yield re.sub(r"^ManagedPolicies", "", plain(name)), read_statements(policy["PolicyDocument"])

    def _read_resource_policies(self) -> Iterator[Statement]:
        for kind in _RESOURCE_POLICIES:
            for _, policy in self.template.of_type(kind):
                yield from read_statements(policy["PolicyDocument"])
        for name, key in self.template.of_type("AWS::KMS::Key"):
            yield from _on_itself(key["KeyPolicy"], self.template.arn(name))
        if not list(self.template.of_type("AWS::KMS::Key")):  # the key is its owner's, who lets the account decide
            yield Statement("Allow", ("kms:*",), ("*",), principals=(self.root,))
        for _, permission in self.template.of_type("AWS::Lambda::Permission"):
            yield _read_permission(permission)


def _split(holder: str, statement: Statement) -> Iterator[Grant]:
    for action in statement.actions:
        for resource in statement.resources:
            yield Grant(holder, action, resource, statement)


def _on_itself(document: dict[str, Any], arn: str) -> Iterable[Statement]:
    """Read a key's policy, in which "*" is the key."""
    return read_statements({"Statement": [{**s, "Resource": arn} for s in document["Statement"]]})


def _read_permission(permission: dict[str, Any]) -> Statement:
    source = {"ArnLike": {"aws:SourceArn": (permission["SourceArn"],)}}
    return Statement(
        "Allow", (permission["Action"],), (permission["FunctionName"],), source, (permission["Principal"],)
    )
