"""Acknowledge what cdk-nag finds and we mean to keep, with the reason, beside the construct."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct

_WILDCARDS = "AwsSolutions-IAM5"


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Acknowledge findings below ``construct``. ``reasons`` has them by rule, as in ``AwsSolutions-S1``."""
    for rule, reason in reasons.items():
        pack = rule.partition("-")[0]
        Validations.of(construct).acknowledge(Acknowledgment(id=f"{pack}::{rule}", reason=reason))


def acknowledge_wildcards(
    construct: IConstruct, statements: Iterable[iam.PolicyStatement], reasons: Mapping[str, str]
) -> None:
    """Acknowledge the wildcards that ``statements`` hold, by the first pattern of ``reasons`` that fits one whole.

    A wildcard that no pattern fits stays a finding. The patterns see ``Action::…`` and ``Resource::…``, with
    references as ``<LogicalId.Arn>``.
    """
    for wildcard in sorted({w for statement in statements for w in _wildcards(Stack.of(construct), statement)}):
        if reason := next((text for pattern, text in reasons.items() if re.fullmatch(pattern, wildcard)), None):
            acknowledge(construct, {f"{_WILDCARDS}[{wildcard}]": reason})


def _wildcards(stack: Stack, statement: iam.PolicyStatement) -> Iterator[str]:
    written = stack.resolve(statement.to_json())
    for kind in ("Action", "Resource"):
        values = written.get(kind, ())
        for value in values if isinstance(values, list) else [values]:
            if "*" in (text := _flatten(value)):
                yield f"{kind}::{text}"


def _flatten(value: object) -> str:
    """Write a value of a template as cdk-nag does in the names of its findings."""
    match value:
        case {"Fn::Join": [str(separator), list(parts)]}:
            return separator.join(map(_flatten, parts))
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"<{name}.{attribute}>"
        case {"Ref": str(name)}:
            return f"<{name}>"
    return str(value)
