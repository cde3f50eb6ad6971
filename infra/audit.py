"""Check the stages against cdk-nag's packs AwsSolutions and Serverless: ``python -m infra.audit dev prod``.

Every finding is mended, or acknowledged with its reason beside the construct (``infra/constructs/acknowledge.py``).
An acknowledgement that nothing needs any more is a finding too.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from cdk_nag import AwsSolutionsChecks, ServerlessChecks

from infra.app import add_stack, cdk_context
from infra.assets import Assets
from infra.stages import StageValues, given_pairs, stage_values
from promptmill.domain.errors import SettingsError
from promptmill.settings import STAGES

_REPORT = "validation-report.json"
_NEEDLESS = "acknowledged, but nothing here breaks this rule"


@dataclass(frozen=True, order=True)
class Finding:
    """A rule, and the path of the construct that breaks it. ``text`` says how, or why that is meant."""

    rule: str
    path: str
    text: str


@dataclass(frozen=True)
class Audit:
    """What nobody acknowledged, and what somebody did."""

    findings: tuple[Finding, ...]
    acknowledged: tuple[Finding, ...]


def audit(values: StageValues, assets: Assets | None = None) -> Audit:
    """Run both packs over a stage. Raises SettingsError if its layers are not built."""
    with tempfile.TemporaryDirectory() as out:
        app = cdk.App(outdir=out, context=cdk_context(), analytics_reporting=False)
        cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
        add_stack(app, values, assets)
        report = _synthesise(app, Path(out))
        reasons = set(_reasons(app))
    packs = report["pluginReports"]
    needed = {(found["acknowledgedId"], found["acknowledgedAt"]) for found in _listed(packs, "suppressedViolations")}
    needless = (Finding(rule, path, _NEEDLESS) for rule, path in reasons - needed)
    return Audit(
        findings=tuple(sorted((*_read(_listed(packs, "violations"), "description"), *needless))),
        acknowledged=tuple(sorted(_read(_listed(packs, "suppressedViolations"), "reason"))),
    )


def _synthesise(app: cdk.App, out: Path) -> dict[str, Any]:
    """Return the report of the packs. The CDK raises if they found something, after it wrote the report."""
    try:
        app.synth()
    except RuntimeError:
        if not (out / _REPORT).exists():
            raise
    report: dict[str, Any] = json.loads((out / _REPORT).read_text())
    return report


def _listed(packs: Iterable[Mapping[str, Any]], kind: str) -> Iterator[Mapping[str, Any]]:
    for pack in packs:
        yield from pack.get(kind, ())


def _read(violations: Iterable[Mapping[str, Any]], text: str) -> Iterator[Finding]:
    for violation in violations:
        for construct in violation["violatingConstructs"]:
            yield Finding(violation["ruleName"], construct["constructPath"], violation[text])


def _reasons(app: cdk.App) -> Iterator[tuple[str, str]]:
    """Yield the rule and the path of every acknowledgement in the tree."""
    for construct in app.node.find_all():
        for entry in construct.node.metadata:
            if entry.type == cdk.Validations.ACKNOWLEDGED_RULES_METADATA_KEY:
                yield from ((rule, construct.node.path) for rule in entry.data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="+", choices=STAGES, metavar="STAGE")
    parser.add_argument(
        "-c", "--context", action="append", default=[], metavar="NAME=VALUE", help="see infra/stages.py"
    )
    parser.add_argument("--verbose", action="store_true", help="list what is acknowledged, too")
    given = parser.parse_args()
    try:
        audits = {stage: audit(stage_values(stage, given_pairs(stage, given.context))) for stage in given.stages}
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for stage, made in audits.items():
        for finding in (*made.findings, *(made.acknowledged if given.verbose else ())):
            sys.stdout.write(f"{finding.path}: {finding.rule}: {finding.text}\n")
        sys.stdout.write(f"{stage}: {len(made.findings)} findings, {len(made.acknowledged)} acknowledged\n")
    return int(any(made.findings for made in audits.values()))


if __name__ == "__main__":
    sys.exit(main())
