"""The packs of cdk-nag judge the stage with every value set; ``make audit`` has them judge the others."""

from __future__ import annotations

import aws_cdk as cdk
import pytest
from aws_cdk import aws_sqs as sqs

from infra import audit as auditing
from infra.assets import Assets
from infra.audit import Audit, audit
from infra.constructs.acknowledge import acknowledge
from infra.stack import PromptmillStack
from infra.stages import StageValues
from tests.infra.templates import STAGES, fake_assets


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """The stage ``custom`` with a queue that breaks rules, and an acknowledgement that nothing needs."""

    def add_broken(app: cdk.App, values: StageValues, assets: Assets | None = None) -> PromptmillStack:
        assert assets is not None
        stack = PromptmillStack(app, values=values, assets=assets)
        acknowledge(sqs.Queue(stack, "Open"), {"AwsSolutions-S1": "A queue is no bucket."})
        return stack

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditing, "add_stack", add_broken)
        return audit(STAGES["custom"], fake_assets(tmp_path_factory.mktemp("audit")))


def test_only_the_broken_queue_is_found(broken: Audit) -> None:
    assert {finding.path.removesuffix("/Resource") for finding in broken.findings} == {"promptmill-prod/Open"}
    assert "AwsSolutions-SQS4" in {finding.rule for finding in broken.findings}


def test_needless_acknowledgement_is_found(broken: Audit) -> None:
    needless = [finding for finding in broken.findings if finding.rule == "AwsSolutions::AwsSolutions-S1"]
    assert [finding.text for finding in needless] == ["acknowledged, but nothing here breaks this rule"]


def test_every_acknowledged_finding_has_its_reason(broken: Audit) -> None:
    assert broken.acknowledged
    assert all(finding.text.endswith(".") for finding in broken.acknowledged)
